package tcp_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"
)

// Who is let in is decided by the address that the socket has then.
func TestServerSetAdmit(t *testing.T) {
	stranger := errors.New("a stranger")
	var srv tcp.Server
	asked := make(chan netip.AddrPort, 10)
	srv.SetAdmit(func(peer netip.AddrPort) error {
		asked <- peer
		if peer.Addr() == loopback {
			return nil
		}
		return stranger
	})
	told := make(chan error, 10)
	srv.OnAcceptError(func(err error) { told <- err })
	news := counted(&srv)
	listenOn(t, &srv, netip.Addr{})
	for _, host := range []string{"127.0.0.1", "::1", "127.0.0.1", "127.0.0.5"} {
		from := netip.MustParseAddr(host)
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		client, err := d.Dial("tcp", at(host, &srv))
		must(t, err)
		defer client.Close()
		peer := sockettest.Done(t, "the function is asked", asked)
		if peer != client.LocalAddr().(*net.TCPAddr).AddrPort() {
			t.Errorf("it was asked about %v; want %v", peer, client.LocalAddr())
		}
		if from == loopback {
			if server := next(t, &srv); server.PeerAddress() != peer.Addr() || server.PeerPort() != peer.Port() {
				t.Errorf("the peer is %v:%d; want %v", server.PeerAddress(), server.PeerPort(), peer)
			}
			continue
		}
		refused := sockettest.Done(t, "OnAcceptError is told", told)
		wantIs(t, "OnAcceptError", refused, sock.SocketAccessError, stranger)
		if e, ok := errors.AsType[*sock.Error](refused); !ok || e.Addr.String() != peer.String() {
			t.Errorf("it does not say who was refused: %v", refused)
		}
		if srv.Err() != refused {
			t.Errorf("the last error is %v; want %v", srv.Err(), refused)
		}
		wantEnd(t, client)
	}
	wantCount(t, news, 2)
	if srv.HasPendingConnections() {
		t.Error("something is pending still")
	}
}

func TestServerSetAdmitCountsFromTheNextListen(t *testing.T) {
	srv := listen(t)
	srv.SetAdmit(func(netip.AddrPort) error { return errors.New("nobody") })
	dial(t, srv)
	next(t, srv)
	must(t, srv.Close())
	listenWith(t, srv)
	told := make(chan error, 1)
	srv.OnAcceptError(func(err error) { told <- err })
	dial(t, srv)
	sockettest.Done(t, "the client is refused", told)
	srv.SetAdmit(nil)
	must(t, srv.Close())
	listenWith(t, srv)
	dial(t, srv)
	next(t, srv)
}

// An override owns the descriptor, and does with it what it wants.
func TestServerIncomingConnectionOverride(t *testing.T) {
	var srv tcp.Server
	given := make(chan sock.Descriptor, 1)
	srv.SetIncomingConnection(func(d sock.Descriptor) { given <- d })
	news := counted(&srv)
	listenWith(t, &srv)
	client := dial(t, &srv)
	d := sockettest.Done(t, "the override is called", given)
	if !d.IsValid() || d.IsLent() || srv.HasPendingConnections() || news.Load() != 0 {
		t.Errorf("valid %v, lent %v, pending %v, %d signals", d.IsValid(), d.IsLent(), srv.HasPendingConnections(), news.Load())
	}
	// It outlives the server.
	must(t, srv.Close())
	server := closeLater(t, new(tcp.Socket))
	must(t, server.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite))
	exchange(t, client, server)
	if server.PeerPort() != client.LocalPort() || server.PeerAddress() != loopback || server.PeerName() != "" {
		t.Errorf("its peer is %q, %v:%d", server.PeerName(), server.PeerAddress(), server.PeerPort())
	}

	listenWith(t, &srv)
	client = dial(t, &srv)
	must(t, sockettest.Done(t, "the override is called", given).Close())
	wantEnd(t, client)

	for _, base := range []func(sock.Descriptor){srv.IncomingConnection, nil} {
		srv.SetIncomingConnection(base)
		client := dial(t, &srv)
		sockettest.Eventually(t, "it is pending", srv.HasPendingConnections) // a wait may be told of the last override's
		exchange(t, client, closeLater(t, srv.NextPendingConnection()))
	}
	wantCount(t, news, 2)
}

func TestServerIncomingConnectionOfWhatIsNone(t *testing.T) {
	var srv tcp.Server
	told := make(chan error, 10)
	srv.OnAcceptError(func(err error) { told <- err })
	client, server := net.Pipe()
	defer client.Close()
	for _, d := range []sock.Descriptor{{}, sock.FromConn(server)} {
		srv.IncomingConnection(d)
		wantIs(t, "OnAcceptError", sockettest.Done(t, "OnAcceptError is told", told), sock.UnsupportedSocketOperationError)
		if srv.HasPendingConnections() || srv.ServerError() != sock.UnsupportedSocketOperationError {
			t.Errorf("pending %v, error %v", srv.HasPendingConnections(), srv.Err())
		}
	}
	if n, err := client.Read(make([]byte, 1)); err != io.EOF { // it was owned, and closed
		t.Errorf("read %d, %v; want the end", n, err)
	}
}

func TestServerAddPendingConnection(t *testing.T) {
	client, server := pair(t)
	var srv tcp.Server
	news := counted(&srv)
	srv.AddPendingConnection(nil)
	srv.AddPendingConnection(server)
	if news.Load() != 1 || !srv.HasPendingConnections() {
		t.Errorf("%d signals, pending %v; want 1, true", news.Load(), srv.HasPendingConnections())
	}
	if got := srv.NextPendingConnection(); got != server {
		t.Errorf("NextPendingConnection: %p; want %p", got, server)
	}
	if srv.HasPendingConnections() || srv.NextPendingConnection() != nil {
		t.Error("it is pending still")
	}
	exchange(t, client, server)

	listenWith(t, &srv)
	srv.SetMaxPendingConnections(0) // it counts whatever the limit
	accepted := sockettest.Go(func() net.Conn { c, _ := srv.Accept(); return c })
	srv.AddPendingConnection(server)
	if got := sockettest.Done(t, "Accept returns", accepted); got != server {
		t.Errorf("Accept: %v; want the one that was added", got)
	}
}

func TestServerPauseAccepting(t *testing.T) {
	var srv tcp.Server
	srv.PauseAccepting() // before Listen, and over it
	news := counted(&srv)
	listenWith(t, &srv)
	for range 3 {
		dial(t, &srv)
	}
	accepted := sockettest.Go(func() net.Conn { c, _ := srv.Accept(); return c })
	wantIs(t, "a wait", srv.WaitForNewConnection(sockettest.Short()), sock.SocketTimeoutError)
	if len(accepted) > 0 || news.Load() > 0 {
		t.Error("something was accepted")
	}
	srv.ResumeAccepting()
	sockettest.Done(t, "Accept returns", accepted).Close()
	next(t, &srv)
	next(t, &srv)
	srv.PauseAccepting()
	must(t, srv.Close())
	listenWith(t, &srv)
	dial(t, &srv)
	wantIs(t, "a wait after Close and Listen", srv.WaitForNewConnection(sockettest.Short()), sock.SocketTimeoutError)
	srv.ResumeAccepting()
	next(t, &srv)
}

// A connection that its peer has reset before anybody took it is taken all the same, and knows who that was.
func TestServerPeerHasResetBeforeItIsTaken(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		name := "before it is accepted"
		if accepted {
			name = "before it is taken"
		}
		t.Run(name, func(t *testing.T) {
			var srv tcp.Server
			if !accepted {
				srv.PauseAccepting()
			}
			listenWith(t, &srv)
			client, err := net.Dial("tcp", srv.Addr().String())
			must(t, err)
			peer := client.LocalAddr().(*net.TCPAddr).AddrPort()
			if accepted {
				must(t, srv.WaitForNewConnection(sockettest.Long()))
			}
			must(t, client.(*net.TCPConn).SetLinger(0)) // a reset
			must(t, client.Close())
			srv.ResumeAccepting()
			if !accepted && !sockettest.HasExactBacklog {
				t.Skip("whether the system keeps a connection that was reset is known on Linux only")
			}
			must(t, srv.WaitForNewConnection(sockettest.Long()))
			server := closeLater(t, srv.NextPendingConnection())
			if server.RemoteAddr().String() != peer.String() || server.PeerAddress() != peer.Addr() || server.PeerPort() != peer.Port() {
				t.Errorf("the peer is %v, %v:%d; want %v", server.RemoteAddr(), server.PeerAddress(), server.PeerPort(), peer)
			}
			if server.LocalAddr() == nil {
				t.Error("LocalAddr is nil")
			}
			wantEnd(t, server)
			server.Close()
			if server.RemoteAddr().String() != peer.String() || server.PeerAddress().IsValid() || server.PeerPort() != 0 {
				t.Errorf("after Close: %v, %v:%d; want %v, none, 0", server.RemoteAddr(), server.PeerAddress(), server.PeerPort(), peer)
			}
			if a, ok := server.LocalAddr().(*net.TCPAddr); !ok || a == nil {
				t.Errorf("after Close LocalAddr is %#v", server.LocalAddr())
			}
			client, err = net.Dial("tcp", srv.Addr().String()) // it goes on
			must(t, err)
			defer client.Close()
			next(t, &srv)
		})
	}
}

func TestServerCloseClosesPendingAndLeavesTaken(t *testing.T) {
	srv := listen(t)
	first, second := dial(t, srv), dial(t, srv)
	taken := next(t, srv)
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	must(t, srv.Close())
	if srv.HasPendingConnections() || srv.NextPendingConnection() != nil {
		t.Error("something is pending after Close")
	}
	wantEnd(t, second)
	exchange(t, first, taken)
}

// Takers that meet Close leave the next Listen to the server, though it has begun while they were still there.
func TestServerListensAgainWhileTakersLeave(t *testing.T) {
	for range 20 {
		srv := listen(t)
		var all sync.WaitGroup
		var begun, taken atomic.Int32
		for range 4 {
			all.Go(func() {
				begun.Add(1)
				if c, err := srv.Accept(); err == nil { // it was late
					taken.Add(1)
					c.Close()
				}
			})
		}
		sockettest.Eventually(t, "the takers wait, or nearly", func() bool { return begun.Load() == 4 })
		srv.Close()
		must(t, srv.Listen(loopback, 0))
		c := dial(t, srv)
		sockettest.Eventually(t, "the connection is accepted", func() bool { return taken.Load() > 0 || srv.HasPendingConnections() })
		c.Close()
		srv.Close()
		all.Wait()
	}
}

func TestServerDeadlineDoesNotBoundWaits(t *testing.T) {
	srv := listen(t)
	must(t, srv.SetDeadline(time.Now().Add(-time.Second)))
	waited := sockettest.Go(func() error { return srv.WaitForNewConnection(sockettest.Long()) })
	_, err := srv.Accept()
	wantIs(t, "Accept", err, os.ErrDeadlineExceeded)
	dial(t, srv)
	if err := sockettest.Done(t, "the wait returns", waited); err != nil {
		t.Errorf("WaitForNewConnection: %v", err)
	}
	must(t, srv.SetDeadline(time.Time{}))
	c, err := srv.Accept()
	must(t, err)
	c.Close()
	if srv.ServerError() != sock.NoError {
		t.Errorf("the last error is %v", srv.Err())
	}
}

// Callbacks of a server run one at a time, in order with the admission check and the override.
func TestServerCallbacksRunOneAtATime(t *testing.T) {
	var srv tcp.Server
	var running, overlaps atomic.Int64
	alone := func() func() {
		if running.Add(1) > 1 {
			overlaps.Add(1)
		}
		return func() { running.Add(-1) }
	}
	srv.SetAdmit(func(netip.AddrPort) error { defer alone()(); return nil })
	srv.SetIncomingConnection(func(d sock.Descriptor) { defer alone()(); srv.IncomingConnection(d) })
	const clients = 50
	done := make(chan struct{})
	n := 0
	srv.OnNewConnection(func() {
		defer alone()()
		if c := srv.NextPendingConnection(); c != nil {
			c.Abort()
		}
		if n++; n == clients {
			close(done)
		}
	})
	listenWith(t, &srv)
	for range clients {
		go func() {
			if c, err := tcp.Dial(srv.Addr().String()); err == nil {
				c.Close()
			}
		}()
	}
	sockettest.Done(t, "all clients are told", done)
	if overlaps.Load() > 0 {
		t.Errorf("%d times two ran at once", overlaps.Load())
	}
}
