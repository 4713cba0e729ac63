package local_test

import (
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// letDown are the ways in which a callback may not return.
var letDown = map[string]func(){
	"panic":  func() { panic("from a callback") },
	"Goexit": runtime.Goexit,
}

// A callback that does not return ends Run; when the loop runs again, nothing has been lost: neither what it had written, nor the end that
// came with the bytes.
func TestLoopCallbackThatDoesNotReturn(t *testing.T) {
	for name, end := range letDown {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			c, peer := loopPair(t, l)
			var calls atomic.Int64
			gone := make(chan struct{})
			c.OnReadyRead(func() {
				b := make([]byte, 5)
				n, _ := c.ReadAvailable(b)
				c.WriteBuffered(b[:n])
				if calls.Add(1) == 1 {
					end()
				}
			})
			c.OnDisconnected(func() { close(gone) })
			peer.Write([]byte("hello"))
			must(t, peer.CloseWrite())
			runAgain(t, l)
			peer.SetReadDeadline(time.Now().Add(sockettest.Long()))
			if got, err := io.ReadAll(peer); string(got) != "hello" || err != nil {
				t.Errorf("the answer is %q, %v; want hello", got, err)
			}
			sockettest.Done(t, "the end is told", gone)
		})
	}
}

// A callback that does not return leaves the loop's other sockets, and their writing, alone.
func TestLoopCallbackThatDoesNotReturnHurtsNobody(t *testing.T) {
	for name, end := range letDown {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			bad, badPeer := loopPair(t, l)
			good, goodPeer := loopPair(t, l)
			bad.OnReadyRead(func() { bad.WriteBuffered([]byte("bad")); end() })
			good.OnReadyRead(func() {
				b := make([]byte, 5)
				n, _ := good.ReadAvailable(b)
				good.WriteBuffered(b[:n])
			})
			runAgain(t, l)
			for range 10 {
				badPeer.Write([]byte("x"))
				goodPeer.Write([]byte("hello"))
				goodPeer.SetReadDeadline(time.Now().Add(sockettest.Long()))
				if _, err := io.ReadFull(goodPeer, make([]byte, 5)); err != nil {
					t.Fatalf("the other socket does not answer: %v", err)
				}
			}
			bad.Abort()
		})
	}
}

// A handler's function that does not return wedges nothing.
func TestLoopHandlerThatDoesNotReturn(t *testing.T) {
	for name, end := range letDown {
		t.Run(name, func(t *testing.T) {
			g, l := oneLoop(t)
			srv := new(local.Server)
			srv.SetLoops(g)
			var calls atomic.Int64
			gone := make(chan struct{}, 1)
			srv.SetHandler(local.Handler{
				ReadyRead: func(c *local.Socket) {
					b := make([]byte, 5)
					n, _ := c.ReadAvailable(b)
					c.WriteBuffered(b[:n])
					if calls.Add(1) == 1 {
						end()
					}
				},
				Disconnected: func(*local.Socket) { gone <- struct{}{} },
			})
			srv.OnNewConnection(func() { srv.NextPendingConnection() })
			listenWith(t, srv)
			runAgain(t, l)
			c := dial(t, srv)
			c.SetDeadline(time.Now().Add(sockettest.Long()))
			for range 3 {
				c.Write([]byte("hello"))
				if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
					t.Fatalf("there is no answer: %v", err)
				}
			}
			c.Close()
			sockettest.Done(t, "the end is told", gone)
		})
	}
}

// A server's callback that does not return wedges nothing.
func TestLoopServerCallbackThatDoesNotReturn(t *testing.T) {
	for name, end := range letDown {
		t.Run(name, func(t *testing.T) {
			g, l := oneLoop(t)
			srv := new(local.Server)
			srv.SetLoops(g)
			var calls atomic.Int64
			srv.SetAdmit(func(local.Peer) error {
				if calls.Add(1) == 2 {
					end()
				}
				return nil
			})
			taken := make(chan struct{}, 10)
			srv.OnNewConnection(func() {
				for c := srv.NextPendingConnection(); c != nil; c = srv.NextPendingConnection() {
					closeLater(t, c)
					taken <- struct{}{}
				}
				end()
			})
			listenWith(t, srv)
			runAgain(t, l)
			for range 4 {
				dial(t, srv)
			}
			for range 3 {
				sockettest.Done(t, "a connection is taken", taken)
			}
		})
	}
}

// What a callback that does not return has left buffered is told of when the loop runs again.
func TestLoopBytesLeftByACallbackThatDoesNotReturn(t *testing.T) {
	for name, end := range letDown {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			c, peer := loopPair(t, l)
			lines := make(chan string, 10)
			var calls atomic.Int64
			c.OnReadyRead(func() {
				b, _ := c.ReadLine(0)
				lines <- string(b)
				if calls.Add(1) == 1 {
					end()
				}
			})
			peer.Write([]byte("a\nb\n"))
			runAgain(t, l)
			for _, want := range []string{"a\n", "b\n"} {
				if got := sockettest.Done(t, "a line is told of", lines); got != want {
					t.Errorf("it has read %q, want %q", got, want)
				}
			}
		})
	}
}

// A callback that is due when a socket leaves its loop may end the goroutine of SetLoop.
func TestLoopCallbackThatEndsSetLoop(t *testing.T) {
	l := newLoop(t)
	srv := listen(t)
	c := new(local.Socket)
	must(t, c.SetLoop(l))
	must(t, c.ConnectToServer(srv.FullServerName(), sock.ReadWrite))
	c.OnDisconnected(runtime.Goexit)
	c.Abort() // which leaves telling of it to the loop, which does not run
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.SetLoop(nil)
	}()
	sockettest.Done(t, "the goroutine ends", ended)
	wantState(t, c, sock.UnconnectedState)
}
