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
