package sockettest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"anteroom/sock"
)

// A Server is what all of this module's servers have.
type Server interface {
	net.Listener
	IsListening() bool
	HasPendingConnections() bool
	WaitForNewConnection(time.Duration) error
	MaxPendingConnections() int
	SetMaxPendingConnections(int)
	PauseAccepting()
	ResumeAccepting()
	SetDeadline(time.Time) error
	OnNewConnection(func()) (stop func())
	Err() error
}

// Conform runs what every server must pass. Start returns a server that listens, and a function that connects to it.
func Conform(t *testing.T, start func(t *testing.T) (Server, func() (net.Conn, error))) {
	run := func(name string, f func(*testing.T, Server, func() net.Conn)) {
		t.Run(name, func(t *testing.T) {
			srv, dial := start(t)
			t.Cleanup(func() { srv.Close() })
			f(t, srv, func() net.Conn {
				t.Helper()
				c, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return c
			})
		})
	}
	accept := func(t *testing.T, srv Server) net.Conn {
		t.Helper()
		c, err := srv.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}

	run("Accept", func(t *testing.T, srv Server, dial func() net.Conn) {
		for range 3 {
			client := dial()
			conn := accept(t, srv)
			if _, err := client.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
				t.Fatalf("read %q, %v; want ping", got, err)
			}
		}
	})
	run("AcceptBeforeDial", func(t *testing.T, srv Server, dial func() net.Conn) {
		accepted := Go(func() error {
			c, err := srv.Accept()
			if err == nil {
				c.Close()
			}
			return err
		})
		dial()
		if err := Done(t, "Accept returns", accepted); err != nil {
			t.Fatal(err)
		}
	})
	run("CloseEndsAccept", func(t *testing.T, srv Server, _ func() net.Conn) {
		accepted := Go(func() error { _, err := srv.Accept(); return err })
		waited := Go(func() error { return srv.WaitForNewConnection(sock.Forever) })
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Done(t, "Accept returns", accepted); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v; want net.ErrClosed", err)
		}
		if err := Done(t, "the wait returns", waited); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WaitForNewConnection: %v; want net.ErrClosed", err)
		}
		if _, err := srv.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v; want net.ErrClosed", err)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if srv.IsListening() || srv.HasPendingConnections() || srv.Err() != nil {
			t.Errorf("after Close: listening %v, pending %v, error %v", srv.IsListening(), srv.HasPendingConnections(), srv.Err())
		}
	})
	run("CloseClosesPending", func(t *testing.T, srv Server, dial func() net.Conn) {
		taken, client := dial(), dial()
		conn := accept(t, srv)
		if err := srv.WaitForNewConnection(Long()); err != nil {
			t.Fatal(err)
		}
		srv.Close()
		client.SetReadDeadline(time.Now().Add(Long()))
		if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the client of a pending connection read %d, %v; want its end", n, err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Errorf("a connection that was taken: %v", err)
		}
		if _, err := io.ReadFull(taken, make([]byte, 1)); err != nil {
			t.Errorf("the client of a connection that was taken: %v", err)
		}
	})
	run("Deadline", func(t *testing.T, srv Server, dial func() net.Conn) {
		var ne net.Error
		for _, when := range []time.Duration{-time.Second, 5 * time.Millisecond} {
			srv.SetDeadline(time.Now().Add(when))
			if _, err := srv.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, sock.SocketTimeoutError) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("Accept with a deadline in %v: %v; want a timeout", when, err)
			}
		}
		srv.SetDeadline(time.Time{})
		dial()
		accept(t, srv)
		accepted := Go(func() error { _, err := srv.Accept(); return err })
		srv.SetDeadline(time.Now()) // in the middle
		if err := Done(t, "Accept returns", accepted); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Accept: %v; want a timeout", err)
		}
		if srv.Err() != nil {
			t.Errorf("a deadline is no error of the server's: %v", srv.Err())
		}
	})
	run("WaitTimesOut", func(t *testing.T, srv Server, dial func() net.Conn) {
		for _, d := range []time.Duration{0, 5 * time.Millisecond} {
			if err := srv.WaitForNewConnection(d); !errors.Is(err, sock.SocketTimeoutError) || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("WaitForNewConnection(%v): %v; want a timeout", d, err)
			}
		}
		dial()
		if err := srv.WaitForNewConnection(Long()); err != nil {
			t.Error(err)
		}
		if err := srv.WaitForNewConnection(0); err != nil || !srv.HasPendingConnections() {
			t.Errorf("with one pending: %v, pending %v", err, srv.HasPendingConnections())
		}
	})
	run("Limit", func(t *testing.T, srv Server, dial func() net.Conn) {
		const limit = 3
		if srv.MaxPendingConnections() != 30 {
			t.Errorf("the default limit is %d; want 30", srv.MaxPendingConnections())
		}
		srv.SetMaxPendingConnections(limit)
		pending := make(chan struct{}, 100)
		srv.OnNewConnection(func() { pending <- struct{}{} })
		for range limit + 3 {
			dial()
		}
		Eventually(t, "as many are pending as the limit allows", func() bool { return len(pending) >= limit })
		Stays(t, "no more are pending than the limit allows", func() bool { return len(pending) == limit })
		accept(t, srv)
		Eventually(t, "another one is pending when one was taken", func() bool { return len(pending) > limit })
		Stays(t, "one more is pending when one was taken", func() bool { return len(pending) == limit+1 })
	})
	run("Pause", func(t *testing.T, srv Server, dial func() net.Conn) {
		srv.PauseAccepting()
		dial()
		if err := srv.WaitForNewConnection(Short()); !errors.Is(err, sock.SocketTimeoutError) {
			t.Errorf("a wait while accepting is paused: %v; want a timeout", err)
		}
		srv.ResumeAccepting()
		if err := srv.WaitForNewConnection(Long()); err != nil {
			t.Error(err)
		}
	})
}
