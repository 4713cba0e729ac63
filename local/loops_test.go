package local_test

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
	"golang.org/x/net/nettest"
)

// runLoops returns loops that run until the test ends.
func runLoops(t testing.TB, n int) *loop.Group {
	sockettest.NeedLoops(t)
	t.Helper()
	g, err := loop.NewGroup(n)
	if err != nil {
		t.Fatal(err)
	}
	ended := sockettest.Go(func() error { return g.Run(context.Background()) })
	running := make(chan struct{}, n)
	for range n {
		g.Next().Post(func() { running <- struct{}{} })
	}
	for range n {
		sockettest.Done(t, "a loop runs", running)
	}
	t.Cleanup(func() {
		g.Close()
		if err := sockettest.Done(t, "the loops end", ended); err != nil {
			t.Error(err)
		}
	})
	return g
}

// eachWay runs f with a pair whose server's end lives at the runtime's poller, and with one whose server's end lives on a loop.
func eachWay(t *testing.T, f func(t *testing.T, client, server *local.Socket)) {
	t.Run("at the runtime's poller", func(t *testing.T) {
		client, server := pair(t)
		f(t, client, server)
	})
	t.Run("on a loop", func(t *testing.T) {
		srv := new(local.Server)
		srv.SetLoops(runLoops(t, 1))
		listenWith(t, srv)
		client := dial(t, srv)
		f(t, client, next(t, srv))
	})
}

// A server on loops is what every server must be.
func TestServerOnLoopsConforms(t *testing.T) {
	sockettest.Conform(t, func(t *testing.T) (sockettest.Server, func() (net.Conn, error)) {
		srv := new(local.Server)
		srv.SetLoops(runLoops(t, 2))
		listenWith(t, srv)
		return srv, func() (net.Conn, error) { return local.Dial(srv.FullServerName()) }
	})
}

// Sockets on loops are what net.Conn promises, in goroutines that are not the loop's.
func TestConnOnLoopsConforms(t *testing.T) {
	sockettest.NeedLoops(t)
	for _, swap := range []bool{false, true} {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			g := runLoops(t, 2)
			srv := new(local.Server)
			srv.SetLoops(g)
			if err := srv.Listen(sockettest.Name(t)); err != nil {
				return nil, nil, nil, err
			}
			defer srv.Close()
			client := new(local.Socket)
			if err := client.SetLoop(g.Next()); err != nil {
				return nil, nil, nil, err
			}
			if err := client.ConnectContext(context.Background(), srv.FullServerName()); err != nil {
				return nil, nil, nil, err
			}
			if err := srv.WaitForNewConnection(sockettest.Long()); err != nil {
				return nil, nil, nil, err
			}
			server := srv.NextPendingConnection()
			a, b := client, server
			if swap {
				a, b = b, a
			}
			return a, b, func() { client.Close(); server.Close() }, nil
		})
	}
}

// An echo server by callbacks: every byte comes back, whatever the sizes, and every connection ends.
func TestEchoOnLoops(t *testing.T) {
	g := runLoops(t, 2)
	srv := new(local.Server)
	srv.SetLoops(g)
	const clients = 20
	gone := make(chan struct{}, clients)
	srv.OnNewConnection(func() {
		c := srv.NextPendingConnection()
		if c == nil {
			return
		}
		buf := make([]byte, 4096)
		c.OnReadyRead(func() {
			n, _ := c.ReadAvailable(buf)
			c.WriteBuffered(buf[:n])
		})
		c.OnDisconnected(func() { gone <- struct{}{} })
	})
	listenWith(t, srv)
	done := make(chan error, clients)
	for i := range clients {
		go func() {
			c, err := local.Dial(srv.FullServerName())
			if err != nil {
				done <- err
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(sockettest.Long()))
			sent := bytes.Repeat([]byte{byte(i)}, 1+i*10_000)
			go c.Write(sent)
			got := make([]byte, len(sent))
			for n := 0; n < len(got); {
				k, err := c.Read(got[n:])
				if err != nil {
					done <- err
					return
				}
				n += k
			}
			if !bytes.Equal(got, sent) {
				t.Error("what came back is something else")
			}
			done <- nil
		}()
	}
	for range clients {
		if err := sockettest.Done(t, "a client ends", done); err != nil {
			t.Error(err)
		}
		sockettest.Done(t, "a server's socket has gone", gone)
	}
}

// Callbacks run on the loop, also those of what others have brought about.
func TestCallbacksRunOnTheLoop(t *testing.T) {
	g := runLoops(t, 1)
	l := g.Next()
	srv := listen(t)
	c := new(local.Socket)
	if err := c.SetLoop(l); err != nil {
		t.Fatal(err)
	}
	events := make(chan string, 100)
	note := func(what string) func() {
		return func() {
			if !l.OnLoop() {
				t.Errorf("%s is told elsewhere", what)
			}
			events <- what
		}
	}
	c.OnConnected(note("connected"))
	c.OnReadyRead(func() {
		note("readyRead")()
		c.ReadAvailable(make([]byte, 10))
	})
	c.OnDisconnected(note("disconnected"))
	c.OnStateChanged(func(st sock.State) { note(st.String())() })
	if err := c.ConnectToServer(srv.FullServerName(), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.SetLoop(l); err == nil {
		t.Error("a connected socket can be moved")
	}
	server := next(t, srv)
	for _, want := range []string{"ConnectingState", "ConnectedState", "connected"} {
		if got := sockettest.Done(t, want, events); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	server.Write([]byte("x"))
	if got := sockettest.Done(t, "readyRead", events); got != "readyRead" {
		t.Errorf("%s, want readyRead", got)
	}
	server.Close()
	for _, want := range []string{"ClosingState", "UnconnectedState", "disconnected"} {
		if got := sockettest.Done(t, want, events); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
