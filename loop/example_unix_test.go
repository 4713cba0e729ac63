//go:build unix

package loop_test

import (
	"context"
	"fmt"
	"os"

	"anteroom/loop"
)

// A Notifier says when a descriptor that is somebody else's can be read: here a pipe's, as it might be of a child's output.
func ExampleLoop_Notify() {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close() // after the Notifier
	l, err := loop.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	n, err := l.Notify(r.Fd(), loop.Readable, func(loop.Events) {
		buf := make([]byte, 100)
		n, err := r.Read(buf) // does not wait: there is something, or the end
		fmt.Printf("%q %v\n", buf[:n], err)
		if err != nil {
			l.Close() // ends Run
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer n.Close()
	l.Post(func() {
		fmt.Fprint(w, "hello")
		w.Close()
	})
	fmt.Println(l.Run(context.Background()))
	// Output:
	// "hello" <nil>
	// "" EOF
	// <nil>
}
