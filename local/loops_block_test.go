package local_test

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// Blocking calls of a loop's socket, by goroutines and on the loop itself, with deadlines.
func TestLoopBlockingCalls(t *testing.T) {
	calls := map[string]func(t *testing.T, c, peer *local.Socket){
		"Read": func(t *testing.T, c, peer *local.Socket) {
			c.SetReadDeadline(time.Now().Add(small))
			_, err := c.Read(make([]byte, 1))
			wantIs(t, "Read", err, sock.SocketTimeoutError)
			c.SetReadDeadline(time.Time{})
			go peer.Write([]byte("hello"))
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Error(err)
			}
		},
		"Write": func(t *testing.T, c, peer *local.Socket) {
			c.SetWriteDeadline(time.Now().Add(small))
			n, err := c.Write(make([]byte, large))
			wantIs(t, "Write", err, sock.SocketTimeoutError)
			c.SetWriteDeadline(time.Time{})
			read := sockettest.Go(func() error { _, err := io.CopyN(io.Discard, peer, int64(n+large)); return err })
			if m, err := c.Write(make([]byte, large)); m != large || err != nil {
				t.Error(m, err)
			}
			if err := <-read; err != nil {
				t.Error(err)
			}
		},
		"WriteBuffered and waits": func(t *testing.T, c, peer *local.Socket) {
			c.WriteBuffered(make([]byte, large))
			for c.WaitForBytesWritten(small) == nil {
			}
			wantIs(t, "WaitForBytesWritten", c.Err(), sock.SocketTimeoutError)
			read := sockettest.Go(func() error { _, err := io.CopyN(io.Discard, peer, large); return err })
			for c.BytesToWrite() > 0 {
				if err := c.WaitForBytesWritten(sockettest.Long()); err != nil {
					t.Error(err)
					break
				}
			}
			if err := <-read; err != nil {
				t.Error(err)
			}
		},
		"WaitForReadyRead": func(t *testing.T, c, peer *local.Socket) {
			wantIs(t, "the wait", c.WaitForReadyRead(small), sock.SocketTimeoutError)
			go peer.Write([]byte("hello"))
			if err := c.WaitForReadyRead(sockettest.Long()); err != nil {
				t.Error(err)
			}
			wantIs(t, "a wait for more", c.WaitForReadyRead(small), sock.SocketTimeoutError)
			go peer.Close()
			wantIs(t, "a wait to the end", c.WaitForReadyRead(sockettest.Long()), local.PeerClosedError)
			if got := readAvailable(t, c); string(got) != "hello" {
				t.Errorf("%q can be read; want hello", got)
			}
		},
		"WaitForDisconnected": func(t *testing.T, c, peer *local.Socket) {
			wantIs(t, "the wait", c.WaitForDisconnected(small), sock.SocketTimeoutError)
			go func() { peer.Write(make([]byte, large)); peer.Close() }()
			if err := c.WaitForDisconnected(sockettest.Long()); err != nil {
				t.Error(err)
			}
			if n := len(readAvailable(t, c)); n != large {
				t.Errorf("%d bytes can be read; want %d", n, large)
			}
		},
		"the peer's end": func(t *testing.T, c, peer *local.Socket) {
			go peer.Close()
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
		},
		"own Close": func(t *testing.T, c, _ *local.Socket) {
			go c.Close()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, sock.OperationError) {
				t.Errorf("Read: %v", err)
			}
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Run("elsewhere", func(t *testing.T) {
				l := newLoop(t)
				run(t, l)
				c, peer := loopPair(t, l)
				call(t, c, peer)
			})
			t.Run("on the loop", func(t *testing.T) {
				l := newLoop(t)
				run(t, l)
				c, peer := loopPair(t, l)
				c.OnDisconnected(func() {})
				onLoop(t, l, func() { call(t, c, peer) })
			})
			t.Run("in a callback", func(t *testing.T) {
				l := newLoop(t)
				run(t, l)
				c, peer := loopPair(t, l)
				done := make(chan struct{})
				var once sync.Once
				c.OnReadyRead(func() {
					once.Do(func() {
						c.ReadAvailable(make([]byte, 1))
						call(t, c, peer)
						close(done)
					})
				})
				peer.Write([]byte("x"))
				sockettest.Done(t, "the callback returns", done)
			})
			t.Run("the loop does not run", func(t *testing.T) {
				l := newLoop(t)
				c, peer := loopPair(t, l)
				call(t, c, peer)
			})
		})
	}
}

// Whoever stands still on the loop, or waits beside it, is woken by Close, by Abort, and by the loop's own end.
func TestLoopCloseUnblocks(t *testing.T) {
	waits := map[string]func(c *local.Socket, srv *local.Server) error{
		"Read":                 func(c *local.Socket, _ *local.Server) error { _, err := c.Read(make([]byte, 1)); return err },
		"Write":                func(c *local.Socket, _ *local.Server) error { _, err := c.Write(make([]byte, large)); return err },
		"WaitForReadyRead":     func(c *local.Socket, _ *local.Server) error { return c.WaitForReadyRead(sock.Forever) },
		"WaitForDisconnected":  func(c *local.Socket, _ *local.Server) error { return c.WaitForDisconnected(sock.Forever) },
		"Accept":               func(_ *local.Socket, srv *local.Server) error { _, err := srv.Accept(); return err },
		"WaitForNewConnection": func(_ *local.Socket, srv *local.Server) error { return srv.WaitForNewConnection(sock.Forever) },
		"WaitForBytesWritten": func(c *local.Socket, _ *local.Server) error {
			c.WriteBuffered(make([]byte, large))
			for {
				if err := c.WaitForBytesWritten(sock.Forever); err != nil {
					return err
				}
			}
		},
	}
	ends := map[string]func(*local.Socket, *local.Server){
		"Close": func(c *local.Socket, srv *local.Server) { c.Close(); c.Abort(); srv.Close() },
		"Abort": func(c *local.Socket, srv *local.Server) { c.Abort(); srv.Close() },
	}
	for waitName, wait := range waits {
		for endName, end := range ends {
			for _, where := range []string{"elsewhere", "on the loop", "the loop does not run", "the loop is closed meanwhile", "the loop begins to run meanwhile"} {
				t.Run(waitName+", "+endName+", "+where, func(t *testing.T) {
					g, l := oneLoop(t)
					if where != "the loop does not run" && where != "the loop begins to run meanwhile" {
						run(t, l)
					}
					c, _ := loopPair(t, l)
					c.OnDisconnected(func() {})
					srv := new(local.Server)
					srv.SetLoops(g)
					listenWith(t, srv)
					began, ended := make(chan struct{}), make(chan struct{})
					f := func() {
						defer close(ended)
						close(began)
						wait(c, srv)
					}
					if where == "on the loop" {
						l.Post(f)
					} else {
						go f()
					}
					<-began
					switch where {
					case "the loop is closed meanwhile":
						g.Close()
					case "the loop begins to run meanwhile":
						run(t, l)
					}
					end(c, srv)
					sockettest.Done(t, "the wait ends", ended)
				})
			}
		}
	}
}

// A goroutine that waits for itself because the loop does not run is no hindrance when it does: both see what comes.
func TestLoopBeginsToRunBesideARead(t *testing.T) {
	for range 20 {
		l := newLoop(t)
		c, peer := loopPair(t, l)
		read := sockettest.Go(func() error { _, err := io.ReadFull(c, make([]byte, 10)); return err })
		peer.Write([]byte("hello"))
		stop := run(t, l)
		peer.Write([]byte("world"))
		must(t, sockettest.Done(t, "Read returns", read))
		told := make(chan struct{}, 100)
		c.OnReadyRead(func() { told <- struct{}{} })
		peer.Write([]byte("more"))
		sockettest.Done(t, "readyRead is told", told)
		gone := make(chan struct{})
		c.OnDisconnected(func() { close(gone) })
		peer.Close()
		sockettest.Done(t, "disconnected is told", gone)
		stop()
	}
}

// A callback that waits for the answer to what it has written gets one: the wait sends that first.
func TestLoopWaitSendsWhatTheCallbackHasWritten(t *testing.T) {
	for name, wait := range map[string]func(c *local.Socket) error{
		"WaitForReadyRead":    func(c *local.Socket) error { return c.WaitForReadyRead(sockettest.Long()) },
		"WaitForDisconnected": func(c *local.Socket) error { return c.WaitForDisconnected(sockettest.Long()) },
		"Read": func(c *local.Socket) error {
			c.SetReadDeadline(time.Now().Add(sockettest.Long()))
			_, err := c.Read(make([]byte, 10))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			run(t, l)
			c, peer := loopPair(t, l)
			waited := make(chan error, 1)
			var once sync.Once
			c.OnReadyRead(func() {
				once.Do(func() {
					c.ReadAvailable(make([]byte, 100))
					c.WriteBuffered([]byte("request"))
					waited <- wait(c)
				})
			})
			peer.Write([]byte("go"))
			peer.SetReadDeadline(time.Now().Add(sockettest.Long() / 2))
			if _, err := io.ReadFull(peer, make([]byte, len("request"))); err != nil {
				t.Errorf("the peer has no request: %v", err)
			}
			if name == "WaitForDisconnected" {
				peer.Close()
			} else {
				peer.Write([]byte("answer"))
			}
			must(t, sockettest.Done(t, "the wait returns", waited))
		})
	}
}
