package local_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
)

// oneLoop returns a group of one loop that does not run yet.
func oneLoop(t testing.TB) (*loop.Group, *loop.Loop) {
	t.Helper()
	sockettest.NeedLoops(t)
	g, err := loop.NewGroup(1)
	must(t, err)
	t.Cleanup(func() { g.Close() })
	return g, g.Next()
}

// A server whose loops do not run can be waited for: callbacks are told when they run.
func TestLoopServerThatDoesNotRun(t *testing.T) {
	g, l := oneLoop(t)
	srv := new(local.Server)
	srv.SetLoops(g)
	var told atomic.Int64
	srv.OnNewConnection(func() { told.Add(1) })
	listenWith(t, srv)
	for range 2 {
		dial(t, srv)
		next(t, srv)
	}
	wantIs(t, "a wait for one more", srv.WaitForNewConnection(small), sock.SocketTimeoutError)
	must(t, srv.SetDeadline(time.Now().Add(small)))
	_, err := srv.Accept()
	wantIs(t, "Accept with a deadline", err, sock.SocketTimeoutError)
	must(t, srv.SetDeadline(time.Time{}))
	dial(t, srv)
	c, err := srv.Accept()
	must(t, err)
	c.Close()
	if n := told.Load(); n != 0 {
		t.Errorf("newConnection was told %d times while the loop did not run", n)
	}
	run(t, l)
	sockettest.Eventually(t, "newConnection is told of each", func() bool { return told.Load() == 3 })
	dial(t, srv)
	next(t, srv)
}

// The same with an admission check, or with an override: whoever waits is not kept longer than he wants to be, and Close ends it.
func TestLoopServerThatDoesNotRunAndAsks(t *testing.T) {
	for name, set := range map[string]func(*local.Server){
		"SetAdmit":              func(srv *local.Server) { srv.SetAdmit(func(local.Peer) error { return nil }) },
		"SetIncomingConnection": func(srv *local.Server) { srv.SetIncomingConnection(srv.IncomingConnection) },
	} {
		t.Run(name, func(t *testing.T) {
			g, l := oneLoop(t)
			srv := new(local.Server)
			srv.SetLoops(g)
			set(srv)
			listenWith(t, srv)
			dial(t, srv)
			waited := sockettest.Go(func() error { return srv.WaitForNewConnection(small) })
			if err := sockettest.Done(t, "the wait ends", waited); err != nil {
				wantIs(t, "the wait", err, sock.SocketTimeoutError)
			}
			run(t, l)
			next(t, srv)
			accepted := sockettest.Go(func() error { _, err := srv.Accept(); return err })
			must(t, srv.Close())
			wantIs(t, "Accept", sockettest.Done(t, "Accept ends", accepted), net.ErrClosed)
		})
	}
}

// A loop that ends in the middle leaves whoever waits on his own feet.
func TestLoopEndsInTheMiddleOfWaits(t *testing.T) {
	g, l := oneLoop(t)
	srv := new(local.Server)
	srv.SetLoops(g)
	listenWith(t, srv)
	for range 20 {
		stop := run(t, l)
		c, peer := loopPair(t, l)
		accepted := sockettest.Go(func() error {
			s, err := srv.Accept()
			if err == nil {
				err = s.Close()
			}
			return err
		})
		read := sockettest.Go(func() error { _, err := io.ReadFull(c, make([]byte, 5)); return err })
		waited := sockettest.Go(func() error { return c.WaitForDisconnected(sock.Forever) })
		wrote := sockettest.Go(func() error { _, err := c.Write(make([]byte, large)); return err })
		stop()
		dial(t, srv)
		must(t, sockettest.Done(t, "Accept returns", accepted))
		peer.Write([]byte("hello"))
		must(t, sockettest.Done(t, "Read returns", read))
		_, err := io.CopyN(io.Discard, peer, large)
		must(t, err)
		must(t, sockettest.Done(t, "Write returns", wrote))
		peer.Close()
		must(t, sockettest.Done(t, "WaitForDisconnected returns", waited))
	}
}

// A loop that is closed leaves its sockets to whoever uses them; so does it its servers.
func TestLoopClosedWithSockets(t *testing.T) {
	g, l := oneLoop(t)
	srv := new(local.Server)
	srv.SetLoops(g)
	listenWith(t, srv)
	run(t, l)
	c, peer := loopPair(t, l)
	dial(t, srv)
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	must(t, g.Close())
	peer.Write([]byte("hello"))
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	if s := srv.NextPendingConnection(); s != nil {
		t.Error("a socket is brought to a loop that is closed")
	}
	dial(t, srv)
	s, err := srv.Accept()
	must(t, err)
	s.Close()
	must(t, c.Close())
	wantState(t, c, sock.UnconnectedState)
	err = c.ConnectToServer(srv.FullServerName(), 0)
	wantIs(t, "connecting at a closed loop", err, net.ErrClosed)
	wantState(t, c, sock.UnconnectedState)
	var other local.Server
	other.SetLoops(g)
	err = other.Listen(sockettest.Name(t))
	wantIs(t, "Listen at closed loops", err, net.ErrClosed, sock.OperationError)
	if other.IsListening() {
		t.Error("it listens")
	}
}

// A limit of 0 accepts only while somebody waits; a small one is kept.
func TestLoopServerLimits(t *testing.T) {
	g := runLoops(t, 2)
	srv := new(local.Server)
	srv.SetLoops(g)
	srv.SetMaxPendingConnections(0)
	var told atomic.Int64
	srv.OnNewConnection(func() { told.Add(1) })
	listenWith(t, srv)
	for range 4 {
		dial(t, srv)
	}
	sockettest.Stays(t, "nothing is accepted", func() bool { return told.Load() == 0 })
	next(t, srv)
	sockettest.Eventually(t, "one was accepted", func() bool { return told.Load() == 1 })
	sockettest.Stays(t, "nothing more is accepted", func() bool { return told.Load() == 1 })
	c, err := srv.Accept()
	must(t, err)
	c.Close()
	srv.SetMaxPendingConnections(1)
	sockettest.Eventually(t, "one more is accepted", func() bool { return told.Load() == 3 })
	sockettest.Stays(t, "nothing more is accepted", func() bool { return told.Load() == 3 })
	srv.PauseAccepting()
	next(t, srv)
	wantIs(t, "a wait while paused", srv.WaitForNewConnection(small), sock.SocketTimeoutError)
	srv.ResumeAccepting()
	next(t, srv)
}

// Waits on the loop itself see for themselves.
func TestLoopServerWaitsOnTheLoop(t *testing.T) {
	g, l := oneLoop(t)
	run(t, l)
	for _, limit := range []int{0, 1, 30} {
		srv := new(local.Server)
		srv.SetLoops(g)
		srv.SetMaxPendingConnections(limit)
		var told atomic.Int64
		srv.OnNewConnection(func() {
			if !l.OnLoop() {
				t.Error("newConnection is told elsewhere")
			}
			told.Add(1)
		})
		listenWith(t, srv)
		onLoop(t, l, func() {
			wantIs(t, "a wait", srv.WaitForNewConnection(small), sock.SocketTimeoutError)
			for range 3 {
				c, err := local.Dial(srv.FullServerName())
				if err != nil {
					t.Error(err)
					return
				}
				if err := srv.WaitForNewConnection(sockettest.Long()); err != nil {
					t.Error(err)
				}
				s := srv.NextPendingConnection()
				c.Write([]byte("x"))
				if err := s.WaitForReadyRead(sockettest.Long()); err != nil {
					t.Error(err)
				}
				c.Close()
				if err := s.WaitForDisconnected(sockettest.Long()); err != nil {
					t.Error(err)
				}
				c, err = local.Dial(srv.FullServerName())
				if err != nil {
					t.Error(err)
					return
				}
				a, err := srv.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				go c.Write([]byte("hello"))
				if _, err := io.ReadFull(a, make([]byte, 5)); err != nil {
					t.Error(err)
				}
				a.Close()
				c.Close()
			}
		})
		sockettest.Eventually(t, "newConnection is told of each", func() bool { return told.Load() == 6 })
		must(t, srv.Close())
	}
}

// Close, Listen and Close again, from callbacks and from elsewhere, while clients come: the name is free each time, and clients get an end.
func TestLoopServerListensAgain(t *testing.T) {
	g := runLoops(t, 2)
	srv := new(local.Server)
	srv.SetLoops(g)
	var taken atomic.Int64
	srv.OnNewConnection(func() {
		if c := srv.NextPendingConnection(); c != nil {
			c.OnDisconnected(func() {})
			c.Close()
			taken.Add(1)
		}
	})
	name := sockettest.Name(t)
	t.Cleanup(func() { srv.Close() })
	var ended atomic.Bool
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for !ended.Load() {
				if c, err := local.Dial(name); err == nil {
					c.SetReadDeadline(time.Now().Add(sockettest.Long()))
					if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, sock.SocketTimeoutError) {
						t.Errorf("a client read: %v", err)
					}
					c.Close()
				}
			}
		})
	}
	for range 10 {
		must(t, srv.Listen(name))
		waited := sockettest.Go(func() error { return srv.WaitForNewConnection(-1) }) // in vain, if the callback is always quicker
		before := taken.Load()
		sockettest.Eventually(t, "the callback takes a connection", func() bool { return taken.Load() > before })
		must(t, srv.Close())
		if err := sockettest.Done(t, "the wait ends", waited); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	ended.Store(true)
	clients.Wait()
}

// Accept beside a callback that takes to the loops: each connection goes to one of them, and is where it belongs.
func TestLoopServerTakersShare(t *testing.T) {
	g := runLoops(t, 2)
	srv := new(local.Server)
	srv.SetLoops(g)
	srv.SetMaxPendingConnections(3)
	const clients = 200
	var served atomic.Int64
	var wg sync.WaitGroup
	srv.OnNewConnection(func() {
		c := srv.NextPendingConnection()
		if c == nil {
			return
		}
		c.OnReadyRead(func() {
			b := make([]byte, 100)
			n, _ := c.ReadAvailable(b)
			c.WriteBuffered(b[:n])
		})
		c.OnDisconnected(func() { served.Add(1) })
	})
	listenWith(t, srv)
	for range 2 {
		wg.Go(func() {
			for {
				c, err := srv.Accept()
				if err != nil {
					return
				}
				wg.Go(func() { sockettest.Answer(c); served.Add(1) })
			}
		})
	}
	var callers sync.WaitGroup
	for range clients {
		callers.Go(func() {
			c, err := local.Dial(srv.FullServerName())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(sockettest.Long()))
			c.Write([]byte("hello"))
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	sockettest.Eventually(t, "each was served once", func() bool { return served.Load() == clients })
	srv.Close()
	wg.Wait()
	if n := served.Load(); n != clients {
		t.Errorf("%d were served; want %d", n, clients)
	}
}

// Admission and overrides run on the loop, in order; who is refused is closed.
func TestLoopServerAsksOnTheLoop(t *testing.T) {
	g, l := oneLoop(t)
	run(t, l)
	errNo := errors.New("not you")
	srv := new(local.Server)
	srv.SetLoops(g)
	var asked atomic.Int64
	srv.SetAdmit(func(p local.Peer) error {
		if !l.OnLoop() || !p.SameUser() {
			t.Errorf("asked of %+v, on the loop: %v", p, l.OnLoop())
		}
		if asked.Add(1)%2 == 0 {
			return errNo
		}
		return nil
	})
	told := make(chan error, 10)
	srv.OnAcceptError(func(err error) {
		if !l.OnLoop() {
			t.Error("an error is told elsewhere")
		}
		told <- err
	})
	srv.SetIncomingConnection(func(d sock.Descriptor) {
		if !l.OnLoop() {
			t.Error("the override is called elsewhere")
		}
		srv.IncomingConnection(d)
	})
	listenWith(t, srv)
	for range 3 {
		good := dial(t, srv)
		c := next(t, srv)
		good.Write([]byte("x"))
		must(t, c.WaitForReadyRead(sockettest.Long()))
		bad := dial(t, srv)
		bad.SetReadDeadline(time.Now().Add(sockettest.Long()))
		if _, err := bad.Read(make([]byte, 1)); err == nil || errors.Is(err, sock.SocketTimeoutError) {
			t.Errorf("who is refused read %v; want the end", err)
		}
		wantIs(t, "told", sockettest.Done(t, "the refusal is told", told), errNo, sock.SocketAccessError)
	}
}

// Many servers on one loop.
func TestLoopManyServers(t *testing.T) {
	g, l := oneLoop(t)
	run(t, l)
	var wg sync.WaitGroup
	for range 50 {
		srv := new(local.Server)
		srv.SetLoops(g)
		srv.SetHandler(local.Handler{ReadyRead: func(c *local.Socket) {
			b := make([]byte, 100)
			n, _ := c.ReadAvailable(b)
			c.WriteBuffered(append([]byte(srv.ServerName()+" "), b[:n]...))
		}})
		srv.OnNewConnection(func() {
			if c := srv.NextPendingConnection(); c != nil {
				closeLater(t, c)
			}
		})
		listenWith(t, srv)
		wg.Go(func() {
			c, err := local.Dial(srv.FullServerName())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(sockettest.Long()))
			c.Write([]byte("x"))
			want := srv.ServerName() + " x"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		})
	}
	wg.Wait()
}
