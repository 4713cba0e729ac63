//go:build unix

package local_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"anteroom/local"
	"anteroom/loop"
)

// A server on event loops, one for each core: its connections have no goroutine, and share one handler.
func ExampleServer_SetLoops() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	loops, err := loop.NewGroup(0)
	if err != nil {
		log.Fatal(err)
	}
	defer loops.Close()
	go loops.Run(context.Background())

	var srv local.Server
	srv.SetLoops(loops)
	gone := make(chan struct{}, 1)
	srv.SetHandler(local.Handler{
		ReadyRead: func(c *local.Socket) { // on the connection's loop
			buf := make([]byte, 4096)
			n, _ := c.ReadAvailable(buf)
			c.WriteBuffered(buf[:n]) // is sent when this has returned
		},
		Disconnected: func(*local.Socket) { gone <- struct{}{} },
	})
	srv.OnNewConnection(func() {
		for srv.HasPendingConnections() {
			srv.NextPendingConnection()
		}
	})
	if err := srv.Listen(filepath.Join(dir, "echo")); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	conn, err := local.Dial(srv.FullServerName())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(conn, "hello")
	answer := make([]byte, 5)
	_, err = io.ReadFull(conn, answer)
	fmt.Printf("%s %v\n", answer, err)
	conn.Close()
	<-gone // before the loops are closed, which would tell of nothing any more
	// Output: hello <nil>
}

// A client on a loop: its callbacks run one at a time, with the loop's timers and whatever else is posted to it, and need no locks.
func ExampleSocket_SetLoop() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	srv, err := local.Listen(filepath.Join(dir, "greeter"))
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	go func() {
		if conn, err := srv.Accept(); err == nil {
			fmt.Fprintln(conn, "welcome")
			conn.Close()
		}
	}()

	l, err := loop.New()
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	var c local.Socket
	if err := c.SetLoop(l); err != nil {
		log.Fatal(err)
	}
	c.OnConnected(func() { fmt.Println("connected") })
	c.OnReadyRead(func() {
		for c.CanReadLine() {
			line, _ := c.ReadLine(0)
			fmt.Printf("%s", line)
		}
	})
	c.OnDisconnected(func() {
		fmt.Println("disconnected:", c.SocketError().Name())
		l.Close() // ends Run
	})
	if err := c.ConnectToServer(srv.FullServerName(), 0); err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Run(context.Background()))
	// Output:
	// connected
	// welcome
	// disconnected: RemoteHostClosedError
	// <nil>
}
