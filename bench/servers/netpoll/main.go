// Command netpoll is the server of github.com/cloudwego/netpoll.
//
//	netpoll ADDRESS echo|sink
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/cloudwego/netpoll"
)

func main() {
	network, addr := "tcp", "127.0.0.1:"+os.Args[1]
	if strings.HasPrefix(os.Args[1], "/") {
		network, addr = "unix", os.Args[1]
	}
	echo := os.Args[2] == "echo"
	l, err := netpoll.CreateListener(network, addr)
	if err != nil {
		fail(err)
	}
	events, err := netpoll.NewEventLoop(func(_ context.Context, c netpoll.Connection) error {
		r := c.Reader()
		b, err := r.Next(r.Len())
		if err != nil {
			return err
		}
		if echo {
			w := c.Writer()
			to, err := w.Malloc(len(b))
			if err != nil {
				return err
			}
			copy(to, b)
			if err := w.Flush(); err != nil {
				return err
			}
		}
		return r.Release()
	})
	if err != nil {
		fail(err)
	}
	fmt.Println("ready")
	fail(events.Serve(l))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "netpoll:", err)
	os.Exit(1)
}
