//go:build linux

// Package serve is what the benchmark's servers in Go have in common: how they are called, and what they say.
//
//	server unix:PATH|tcp:HOST:PORT echo|sink|push|close
//
// A server prints "ready" when it listens. On SIGUSR1 it collects garbage, gives memory back to the system, and prints how many bytes of heap
// and of stacks are in use: "memory HEAP STACKS".
package serve

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

// MessageSize is how long a message is that a server pushes.
const MessageSize = 64

// Batch is how many messages a server hands to a buffer before it looks whether they leave.
const Batch = 1024

// Message is what a server pushes.
var Message = append([]byte("one message of the stream"), make([]byte, MessageSize-25)...)

// Args returns what the command line asks for, or ends the program. Network is "unix" or "tcp".
func Args() (network, address, mode string) {
	if len(os.Args) != 3 || !slices.Contains([]string{"echo", "sink", "push", "close"}, os.Args[2]) {
		fmt.Fprintln(os.Stderr, "usage: server unix:PATH|tcp:HOST:PORT echo|sink|push|close")
		os.Exit(2)
	}
	network, address, _ = strings.Cut(os.Args[1], ":")
	return network, address, os.Args[2]
}

// Ready says that the server listens, and answers SIGUSR1 from then on.
func Ready() {
	ask := make(chan os.Signal, 1)
	signal.Notify(ask, syscall.SIGUSR1)
	go func() {
		for range ask {
			var m runtime.MemStats
			debug.FreeOSMemory()
			debug.FreeOSMemory() // what pools kept over the first collection
			runtime.ReadMemStats(&m)
			fmt.Println("memory", m.HeapInuse, m.StackInuse)
		}
	}()
	fmt.Println("ready")
}

// Check ends the program if err is not nil.
func Check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
