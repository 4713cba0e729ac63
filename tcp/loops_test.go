package tcp_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/sock"
	"anteroom/tcp"
	"golang.org/x/net/nettest"
)

// runLoops returns loops that run until the test ends.
func runLoops(t testing.TB, n int) *loop.Group {
	t.Helper()
	sockettest.NeedLoops(t)
	g, err := loop.NewGroup(n)
	must(t, err)
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
		must(t, sockettest.Done(t, "the loops end", ended))
	})
	return g
}

// loopPair returns the two ends of a connection, of which the first lives on a loop.
func loopPair(t testing.TB, l *loop.Loop) (c, peer *tcp.Socket) {
	t.Helper()
	srv := listen(t)
	c = closeLater(t, new(tcp.Socket))
	must(t, c.SetLoop(l))
	must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
	must(t, c.WaitForConnected(sockettest.Long()))
	return c, next(t, srv)
}

// A server on loops is what every server must be.
func TestServerOnLoopsConforms(t *testing.T) {
	sockettest.Conform(t, func(t *testing.T) (sockettest.Server, func() (net.Conn, error)) {
		srv := new(tcp.Server)
		srv.SetLoops(runLoops(t, 2))
		listenWith(t, srv)
		return srv, func() (net.Conn, error) { return tcp.Dial(srv.Addr().String()) }
	})
}

// Sockets on loops are what net.Conn promises, in goroutines that are not the loop's.
func TestConnOnLoopsConforms(t *testing.T) {
	sockettest.NeedLoops(t)
	for _, swap := range []bool{false, true} {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			g := runLoops(t, 2)
			srv := new(tcp.Server)
			srv.SetLoops(g)
			if err := srv.Listen(loopback, 0); err != nil {
				return nil, nil, nil, err
			}
			defer srv.Close()
			client := new(tcp.Socket)
			if err := client.SetLoop(g.Next()); err != nil {
				return nil, nil, nil, err
			}
			if err := client.ConnectContext(context.Background(), srv.Addr().String()); err != nil {
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

// An echo server by one handler: every byte comes back, whatever the sizes, to who has ended his side, too; and every connection ends once.
func TestEchoOnLoops(t *testing.T) {
	srv := new(tcp.Server)
	srv.SetLoops(runLoops(t, 2))
	const clients = 20
	gone := make(chan struct{}, 2*clients)
	srv.SetHandler(tcp.Handler{
		ReadyRead: func(c *tcp.Socket) {
			buf := make([]byte, 4096)
			n, _ := c.ReadAvailable(buf)
			c.WriteBuffered(buf[:n])
		},
		Disconnected: func(*tcp.Socket) { gone <- struct{}{} },
	})
	srv.OnNewConnection(func() {
		for srv.NextPendingConnection() != nil {
		}
	})
	listenWith(t, srv)
	done := make(chan error, clients)
	for i := range clients {
		go func() {
			done <- func() error {
				c, err := tcp.Dial(srv.Addr().String())
				if err != nil {
					return err
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(sockettest.Long()))
				sent := bytes.Repeat([]byte{byte(i)}, 1+i*10_000)
				wrote := sockettest.Go(func() error { _, err := c.Write(sent); return err })
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(c, got); err != nil {
					return err
				}
				if !bytes.Equal(got, sent) {
					t.Error("what came back is something else")
				}
				return <-wrote
			}()
		}()
	}
	for range clients {
		if err := sockettest.Done(t, "a client ends", done); err != nil {
			t.Error(err)
		}
		sockettest.Done(t, "a server's socket has gone", gone)
	}
	if len(gone) > 0 {
		t.Error("an end is told twice")
	}
}

// The order of a connection's signals on a loop, where connecting takes a goroutine.
func TestLoopCallbacksInOrder(t *testing.T) {
	l := runLoops(t, 1).Next()
	srv := listen(t)
	c := closeLater(t, new(tcp.Socket))
	must(t, c.SetLoop(l))
	log := watch(c)
	c.OnStateChanged(func(sock.State) {
		if !l.OnLoop() {
			t.Error("a callback runs elsewhere")
		}
	})
	must(t, c.ConnectToHost("localhost", srv.ServerPort(), 0))
	log.comes(t, "HostLookupState", "ConnectingState", "ConnectedState", "connected")
	server := next(t, srv)
	exchange(t, c, server)
	server.Close()
	log.comes(t, "HostLookupState", "ConnectingState", "ConnectedState", "connected",
		"RemoteHostClosedError", "ClosingState", "UnconnectedState", "disconnected")

	refused := closeLater(t, new(tcp.Socket))
	must(t, refused.SetLoop(l))
	log = watch(refused)
	must(t, refused.ConnectToHost("127.0.0.1", sockettest.Refusing(t).Port(), 0))
	wantIs(t, "WaitForConnected", refused.WaitForConnected(sockettest.Long()), sock.ConnectionRefusedError)
	log.comes(t, "HostLookupState", "ConnectingState", "ConnectionRefusedError", "UnconnectedState")
}

// A socket that is waited for on the loop's own goroutine while it connects.
func TestLoopConnectsOnTheLoop(t *testing.T) {
	l := runLoops(t, 1).Next()
	srv := listen(t)
	c := closeLater(t, new(tcp.Socket))
	must(t, c.SetLoop(l))
	log := watch(c)
	done := make(chan struct{})
	l.Post(func() {
		defer close(done)
		for range 3 {
			if err := c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0); err != nil {
				t.Error(err)
			}
			if err := c.WaitForConnected(sockettest.Long()); err != nil {
				t.Error(err)
			}
			c.WriteBuffered([]byte("x"))
			if err := c.WaitForBytesWritten(sockettest.Long()); err != nil {
				t.Error(err)
			}
			c.DisconnectFromHost()
		}
	})
	sockettest.Done(t, "the loop goes on", done)
	one := []string{"HostLookupState", "ConnectingState", "ConnectedState", "connected", "ClosingState", "UnconnectedState", "disconnected"}
	log.comes(t, append(append(append([]string{}, one...), one...), one...)...)
}

// What is queued, however much, is sent in parts, between which others on the loop have their turn; and all of it arrives.
func TestLoopSendsInParts(t *testing.T) {
	const part, all = 2 << 20, 64 << 20 // two parts may be told of at once
	l := runLoops(t, 1).Next()
	c, peer := loopPair(t, l)
	sent, told := 0, make(chan struct{})
	c.OnBytesWritten(func(n int64) {
		if n > part {
			t.Errorf("%d bytes are sent at once; want parts of a megabyte", n)
		}
		if sent += int(n); sent == all {
			close(told)
		}
	})
	received := sockettest.Go(func() int64 { n, _ := io.Copy(io.Discard, peer); return n })
	l.Post(func() { c.WriteBuffered(make([]byte, all)) })
	sockettest.Done(t, "all is sent", told)
	must(t, c.Close())
	if n := sockettest.Done(t, "all is received", received); n != all {
		t.Errorf("%d bytes are received; want %d", n, all)
	}
}

// A reset is the end, and tells an error once; what came before it can be read if the system has kept it.
func TestLoopReset(t *testing.T) {
	l := runLoops(t, 1).Next()
	c, peer := loopPair(t, l)
	ends := make(chan error, 10)
	c.OnErrorOccurred(func(sock.SocketError) { ends <- c.Err() })
	var disconnected atomic.Int64
	c.OnDisconnected(func() { disconnected.Add(1) })
	c.Write([]byte("unread")) // so that the peer's end is a reset
	must(t, peer.WaitForReadyRead(sockettest.Long()))
	peer.Abort()
	wantIs(t, "the error", sockettest.Done(t, "the error is told", ends), sock.RemoteHostClosedError)
	sockettest.Eventually(t, "disconnected is told", func() bool { return disconnected.Load() == 1 })
	if len(ends) > 0 || disconnected.Load() != 1 {
		t.Errorf("%d more errors are told, and disconnected %d times", len(ends), disconnected.Load())
	}
}

// What a callback that reads on after its bytes is told: that there is nothing yet, the end, or a reset.
func TestLoopHandlerReadsOn(t *testing.T) {
	const stays = 1
	for _, c := range []struct {
		name   string
		linger int // the peer closes, 0: with a reset; or it does not
		reason error
	}{
		{"nothing", stays, nil},
		{"end", -1, nil},
		{"reset", 0, syscall.ECONNRESET},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := new(tcp.Server)
			srv.SetLoops(runLoops(t, 1))
			read := make(chan string, 3)
			goOn := make(chan struct{})
			tried := make(chan error, 1)
			causes := make(chan error, 10)
			srv.SetHandler(tcp.Handler{
				ReadyRead: func(s *tcp.Socket) {
					var b [16]byte
					n, _ := s.ReadAvailable(b[:])
					read <- string(b[:n])
					if string(b[:n]) != "second" { // after the first read the socket's reads are the short ones
						return
					}
					<-goOn
					n, err := s.ReadAvailable(b[:])
					for c.linger != stays && n == 0 && err == nil { // it is on its way
						runtime.Gosched()
						n, err = s.ReadAvailable(b[:])
					}
					if n != 0 {
						t.Errorf("there were %d bytes more", n)
					}
					tried <- err
				},
				ErrorOccurred: func(s *tcp.Socket, code sock.SocketError) {
					if code != sock.RemoteHostClosedError {
						t.Errorf("told of %v", code)
					}
					causes <- s.Err()
				},
			})
			srv.OnNewConnection(func() { closeLater(t, srv.NextPendingConnection()) })
			listenWith(t, srv)
			conn, err := net.Dial("tcp", srv.Addr().String())
			must(t, err)
			defer conn.Close()
			peer := conn.(*net.TCPConn)
			for _, text := range []string{"first", "second"} {
				peer.Write([]byte(text))
				if got := sockettest.Done(t, "the callback reads", read); got != text {
					t.Fatalf("it has read %q, want %q", got, text)
				}
			}
			if c.linger != stays {
				must(t, peer.SetLinger(c.linger))
				must(t, peer.Close())
			}
			close(goOn)
			switch err := sockettest.Done(t, "the callback has read on", tried); {
			case c.linger == stays && err != nil:
				t.Errorf("where there is nothing yet it fails: %v", err)
			case c.linger == stays:
				peer.Write([]byte("third"))
				if got := sockettest.Done(t, "the callback reads", read); got != "third" {
					t.Errorf("what follows is %q", got)
				}
			case err != io.EOF:
				t.Errorf("at the end it says %v, want io.EOF", err)
			default:
				cause := sockettest.Done(t, "the error is told", causes)
				if wantIs(t, "the error", cause, sock.RemoteHostClosedError); c.reason != nil {
					wantIs(t, "the error", cause, c.reason)
				}
			}
		})
	}
}

// A server that listens through a proxy has no descriptor to watch: it accepts in a goroutine, and tells on the loop. Its sockets are no
// descriptors of this process's own either, and do not come to the loops.
func TestLoopServerThroughProxy(t *testing.T) {
	g := runLoops(t, 1)
	l := g.Next()
	srv := new(tcp.Server)
	srv.SetLoops(g)
	told := make(chan struct{}, 10)
	srv.OnNewConnection(func() {
		if !l.OnLoop() {
			t.Error("newConnection is told elsewhere")
		}
		told <- struct{}{}
	})
	p := listenThrough(t, srv)
	c := visit(t, p, srv)
	sockettest.Done(t, "newConnection is told", told)
	server, err := srv.Accept()
	must(t, err)
	defer server.Close()
	c.Write([]byte("hello"))
	wantRead(t, server, "hello")
	c = visit(t, p, srv)
	sockettest.Done(t, "newConnection is told", told)
	if s := srv.NextPendingConnection(); s != nil {
		closeLater(t, s)
		exchange(t, c, s)
	} else {
		t.Error("a connection is dropped")
	}
	waited := sockettest.Go(func() error { return srv.WaitForNewConnection(sock.Forever) })
	must(t, srv.Close())
	wantIs(t, "the wait", sockettest.Done(t, "the wait ends", waited), net.ErrClosed)
}
