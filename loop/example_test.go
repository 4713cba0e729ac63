package loop_test

import (
	"context"
	"fmt"
	"time"

	"anteroom/loop"
)

// One goroutine runs what was posted, and timers, in order.
func ExampleLoop() {
	l, err := loop.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	l.AfterFunc(time.Millisecond, func() {
		fmt.Println("a millisecond later")
		l.Close() // ends Run
	})
	l.Post(func() { fmt.Println("first") })
	fmt.Println(l.Run(context.Background()))
	// Output:
	// first
	// a millisecond later
	// <nil>
}

// Work is shared among the loops of a group. What comes of it is gathered on one of them, where functions run one at a time and need no lock.
func ExampleGroup() {
	const n = 10
	g, err := loop.NewGroup(2) // 0: one for each core
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	home := g.Next()
	sum, done := 0, 0
	for i := range n {
		g.Next().Post(func() {
			square := i * i
			home.Post(func() {
				sum += square
				if done++; done == n {
					fmt.Println("the sum is", sum)
					g.Close() // ends Run
				}
			})
		})
	}
	fmt.Println(g.Run(context.Background()))
	// Output:
	// the sum is 285
	// <nil>
}
