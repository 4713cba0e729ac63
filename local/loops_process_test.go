//go:build unix

package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
)

// The child has one loop that accepts and echoes, and a socket on it, and then no descriptors any more. It says what still works.
var _ = sockettest.Child("a loop without descriptors", func() {
	g, err := loop.NewGroup(1)
	mustChild(err)
	l := g.Next()
	go g.Run(context.Background())
	var srv local.Server
	srv.SetLoops(g)
	srv.SetHandler(local.Handler{ReadyRead: func(c *local.Socket) {
		b := make([]byte, 100)
		n, _ := c.ReadAvailable(b)
		c.WriteBuffered(b[:n])
	}})
	taken := 0
	srv.OnNewConnection(func() {
		if srv.NextPendingConnection() != nil {
			taken++
		}
	})
	told := make(chan error, 100)
	srv.OnAcceptError(func(err error) { told <- err })
	mustChild(srv.Listen(os.Args[1]))
	call := func(f func()) {
		done := make(chan struct{})
		l.Post(func() { defer close(done); f() })
		<-done
	}
	pipe := new(local.Socket)
	mustChild(pipe.SetLoop(l))
	mustChild(pipe.ConnectContext(context.Background(), os.Args[2]))

	srv.PauseAccepting()
	giveBack, err := sockettest.LeaveDescriptors(0)
	mustChild(err)
	srv.ResumeAccepting()
	fmt.Println("full")
	fmt.Println(errors.Is(<-told, sock.SocketResourceError), srv.IsListening())
	buf := make([]byte, 5)
	call(func() {
		pipe.SetReadDeadline(time.Now().Add(small))
		_, err := pipe.Read(buf)
		fmt.Println("Read with a deadline:", errors.Is(err, sock.SocketTimeoutError))
		pipe.SetReadDeadline(time.Time{})
		fmt.Println("WaitForNewConnection:", errors.Is(srv.WaitForNewConnection(small), sock.SocketTimeoutError))
		fmt.Println("write now")
		n, err := pipe.Read(buf)
		fmt.Println("Read:", string(buf[:n]), err)
	})
	giveBack()
	fmt.Println("free")
	var line string
	fmt.Scanln(&line)
	call(func() { fmt.Println("taken:", taken, "told:", 1+len(told)) })
})

// Out of descriptors, what there is goes on, on the loop, too; and the server goes on by itself when there are some again.
func TestLoopOutOfDescriptors(t *testing.T) {
	sockettest.NeedLoops(t)
	name := sockettest.Name(t)
	srv := listen(t)
	p := sockettest.Start(t, "a loop without descriptors", name, srv.FullServerName())
	pipe := next(t, srv)
	p.Expect("full")
	var clients []*local.Socket
	for range 8 {
		clients = append(clients, closeLater(t, dialName(t, name)))
	}
	p.Expect("true true")
	p.Expect("Read with a deadline: true")
	p.Expect("WaitForNewConnection: true")
	p.Expect("write now")
	pipe.Write([]byte("hello"))
	p.Expect("Read: hello <nil>")
	p.Expect("free")
	for _, c := range clients {
		c.SetDeadline(time.Now().Add(sockettest.Long()))
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("a client that came meanwhile: %v", err)
		}
	}
	p.Say("go on")
	p.Expect("taken: 8 told: 1")
}

// The child stands still on its loop in waits for what does not come, and says how much processor time each takes.
var _ = sockettest.Child("a loop that stands still", func() {
	g, err := loop.NewGroup(1)
	mustChild(err)
	l := g.Next()
	go g.Run(context.Background())
	var srv local.Server
	srv.SetLoops(g)
	srv.PauseAccepting()
	mustChild(srv.Listen(os.Args[1]))
	peer, err := local.Dial(os.Args[1])
	mustChild(err)
	defer peer.Close()
	pipe := new(local.Socket)
	mustChild(pipe.SetLoop(l))
	pipe.SetReadBufferSize(10)
	mustChild(pipe.ConnectContext(context.Background(), os.Args[2]))
	fmt.Scanln(new(string)) // something has been written to pipe, and is more than it may buffer
	const look = 500 * time.Millisecond
	for name, wait := range map[string]func() error{
		"a wait for the end with more than may be buffered":    func() error { return pipe.WaitForDisconnected(look) },
		"a wait for a connection while accepting is paused":    func() error { return srv.WaitForNewConnection(look) },
		"a wait for bytes when the read buffer is full":        func() error { pipe.BytesAvailable(); pipe.WaitForReadyRead(0); return pipe.WaitForReadyRead(look) },
		"a wait for the end with more than may be buffered, 2": func() error { return pipe.WaitForDisconnected(look) },
	} {
		done := make(chan struct{})
		l.Post(func() {
			defer close(done)
			before, _ := sockettest.CPUTime()
			err := wait()
			after, _ := sockettest.CPUTime()
			if !errors.Is(err, sock.SocketTimeoutError) || after-before > look/4 {
				fmt.Printf("%s: %v, after %v of processor time in %v\n", name, err, after-before, look)
			}
		})
		<-done
	}
	fmt.Println("done")
})

// Who waits on the loop itself for what does not come sleeps meanwhile, whatever else the descriptor is ready for.
func TestLoopStandsStillAsleep(t *testing.T) {
	sockettest.NeedLoops(t)
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux: it looks at processor time")
	}
	srv := listen(t)
	p := sockettest.Start(t, "a loop that stands still", sockettest.Name(t), srv.FullServerName())
	next(t, srv).Write(make([]byte, 100))
	p.Say("go on")
	for line := p.Line(); line != "done"; line = p.Line() {
		t.Error(line)
	}
}
