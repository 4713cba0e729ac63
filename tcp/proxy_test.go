package tcp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

func TestSocketSetProxy(t *testing.T) {
	p := socks(t)
	srv := listen(t)
	c := closeLater(t, new(tcp.Socket))
	c.SetProxy(p.Proxy)
	if c.Proxy() != p.Proxy {
		t.Errorf("its proxy is %v", c.Proxy())
	}
	must(t, c.SetSocketOption(tcp.LowDelayOption, 0)) // of the connection to the proxy
	log := watch(c)
	must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
	must(t, c.WaitForConnected(sockettest.Long()))
	log.comes(t, "HostLookupState", "ConnectingState", "ConnectedState", "connected")
	server := next(t, srv)
	exchange(t, c, server)
	if p.connects.Load() != 1 {
		t.Errorf("the proxy was asked %d times", p.connects.Load())
	}
	// The ends are those that the two peers know, and not the proxy's.
	if c.PeerAddress() != loopback || c.PeerPort() != srv.ServerPort() || c.PeerName() != "127.0.0.1" || c.RemoteAddr().String() != srv.Addr().String() {
		t.Errorf("the peer is %q, %v:%d, %v", c.PeerName(), c.PeerAddress(), c.PeerPort(), c.RemoteAddr())
	}
	if c.LocalPort() != server.PeerPort() || c.LocalAddress() != server.PeerAddress() || c.LocalAddr().String() != server.RemoteAddr().String() {
		t.Errorf("this end is %v, and %v over there", c.LocalAddr(), server.RemoteAddr())
	}
	if c.SocketDescriptor().IsValid() {
		t.Error("its descriptor leads to the proxy")
	}
	if v, err := c.SocketOption(tcp.LowDelayOption); v != 0 || err != nil {
		t.Errorf("LowDelayOption is %d, %v; want 0", v, err)
	}
	server.WriteBuffered([]byte("bye\n")) // in Qt's way, too
	server.DisconnectFromHost()
	if got := waitLine(t, c); got != "bye\n" {
		t.Errorf("read %q", got)
	}
	if err := c.WaitForDisconnected(sockettest.Long()); err != nil && !errors.Is(err, sock.RemoteHostClosedError) {
		t.Errorf("WaitForDisconnected: %v", err)
	}

	c.SetProxy(proxy.Proxy{Type: proxy.NoProxy}) // the next connection
	must(t, c.ConnectContext(t.Context(), srv.Addr().String()))
	if !c.SocketDescriptor().IsValid() || p.connects.Load() != 1 {
		t.Errorf("descriptor %v, the proxy was asked %d times", c.SocketDescriptor(), p.connects.Load())
	}
	next(t, srv)
}

// The proxy looks names up: this machine need not know them.
func TestSocketProxyLooksUpNames(t *testing.T) {
	asked := make(chan string, 1)
	p := serveEach(t, func(c *net.TCPConn) {
		b := make([]byte, 5)
		io.ReadFull(c, b[:3])
		c.Write([]byte{5, 0})
		if _, err := io.ReadFull(c, b); err != nil || b[3] != 3 {
			return
		}
		name := make([]byte, int(b[4])+2)
		io.ReadFull(c, name)
		asked <- string(name[:b[4]])
		reply(c, 0, nil) // and does not tell from where it is connected
		sockettest.Copy(c, c)
	})
	setApplicationProxy(t, p)
	c := closeLater(t, dialTo(t, "no-such-host.invalid:1234"))
	if got := sockettest.Done(t, "the proxy is asked", asked); got != "no-such-host.invalid" {
		t.Errorf("the proxy was asked for %q", got)
	}
	if c.PeerName() != "no-such-host.invalid" || c.PeerAddress().IsValid() || c.PeerPort() != 1234 || c.RemoteAddr().String() != "no-such-host.invalid:1234" {
		t.Errorf("the peer is %q, %v:%d, %v", c.PeerName(), c.PeerAddress(), c.PeerPort(), c.RemoteAddr())
	}
	c.Write([]byte("hello"))
	wantRead(t, c, "hello")
	other := closeLater(t, new(tcp.Socket))
	err := other.SetSocketDescriptor(sock.FromConn(c), sock.ConnectedState, 0)
	if runtime.GOOS == "windows" { // where a Socket's connection is not handed over
		wantIs(t, "SetSocketDescriptor", err, sock.UnsupportedSocketOperationError)
		return
	}
	must(t, err)
	if other.PeerAddress().IsValid() || other.PeerPort() != 1234 || other.RemoteAddr().String() != "no-such-host.invalid:1234" {
		t.Errorf("the peer of one that goes on with it is %v:%d, %v", other.PeerAddress(), other.PeerPort(), other.RemoteAddr())
	}
}

// proxies lists what goes wrong with a proxy, and what that is called.
func proxies(t *testing.T) map[string]struct {
	proxy.Proxy
	want sock.SocketError
} {
	answer := func(b ...byte) proxy.Proxy { // after the greeting, this, and the end
		return serveEach(t, func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 3))
			c.Write(b)
			c.CloseWrite()
			io.Copy(io.Discard, c)
		})
	}
	refused := proxy.Proxy{Type: proxy.Socks5Proxy, HostName: "127.0.0.1", Port: sockettest.Refusing(t).Port()}
	unknown := proxy.Proxy{Type: proxy.Socks5Proxy, HostName: "no-such-proxy.invalid", Port: 1080}
	return map[string]struct {
		proxy.Proxy
		want sock.SocketError
	}{
		"refused":               {refused, sock.ProxyConnectionRefusedError},
		"unknown":               {unknown, sock.ProxyNotFoundError},
		"no host":               {proxy.Proxy{Type: proxy.Socks5Proxy}, sock.ProxyNotFoundError},
		"no type":               {proxy.Proxy{Type: 9, HostName: "127.0.0.1"}, sock.UnsupportedSocketOperationError},
		"ends":                  {answer(), sock.ProxyConnectionClosedError},
		"ends in the middle":    {answer(5, 0, 5, 0), sock.ProxyConnectionClosedError},
		"nonsense":              {answer(4, 0), sock.ProxyProtocolError},
		"wants a user":          {answer(5, 0xff), sock.ProxyAuthenticationRequiredError},
		"general failure":       {answer(5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0), sock.NetworkError},
		"not allowed":           {answer(5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0), sock.SocketAccessError},
		"host unreachable":      {answer(5, 0, 5, 4, 0, 1, 0, 0, 0, 0, 0, 0), sock.HostNotFoundError},
		"connection refused":    {answer(5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0), sock.ConnectionRefusedError},
		"command not supported": {answer(5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0), sock.UnsupportedSocketOperationError},
	}
}

func TestProxyErrors(t *testing.T) {
	for name, test := range proxies(t) {
		t.Run(name, func(t *testing.T) {
			var c tcp.Socket
			c.SetProxy(test.Proxy)
			log := watch(&c)
			must(t, c.ConnectToHost("127.0.0.1", 80, 0))
			err := c.WaitForConnected(sockettest.Long())
			wantIs(t, "WaitForConnected", err, test.want)
			if c.SocketError() != test.want || c.Err() == nil {
				t.Errorf("the last error is %v; want %v", c.Err(), err)
			}
			log.comes(t, "HostLookupState", "ConnectingState", test.want.Name(), "UnconnectedState")
			var srv tcp.Server
			srv.SetProxy(test.Proxy)
			err = srv.Listen(netip.Addr{}, 0)
			wantIs(t, "Listen", err, test.want)
			if srv.Err() != err || srv.IsListening() || srv.ServerPort() != 0 {
				t.Errorf("the last error is %v, listening %v", srv.Err(), srv.IsListening())
			}
			listenWith(t, &srv) // a loopback address is listened on without the proxy
		})
	}
}

func TestMuteProxy(t *testing.T) {
	p := serveEach(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	var c tcp.Socket
	c.SetProxy(p)
	var srv tcp.Server
	srv.SetProxy(p)
	for how, want := range map[string]error{"expired": context.DeadlineExceeded, "cancelled": context.Canceled} {
		for what, f := range map[string]func(context.Context) error{
			"ConnectContext": func(ctx context.Context) error { return c.ConnectContext(ctx, "127.0.0.1:80") },
			"ListenContext":  func(ctx context.Context) error { return srv.ListenContext(ctx, netip.Addr{}, 0) },
		} {
			t.Run(what+" "+how, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), small)
				if how == "cancelled" {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(small, cancel)
				}
				defer cancel()
				wantIs(t, what, f(ctx), want, sock.SocketTimeoutError)
			})
		}
	}
	for name, end := range map[string]func(){"Abort": c.Abort, "DisconnectFromHost": c.DisconnectFromHost, "Close": func() { c.Close() }} {
		must(t, c.ConnectToHost("127.0.0.1", 80, 0))
		end()
		wantIs(t, name, c.WaitForConnected(sock.Forever), net.ErrClosed)
	}
}

// listenThrough makes a server listen through a new proxy.
func listenThrough(t *testing.T, srv *tcp.Server) *fakeProxy {
	t.Helper()
	p := socks(t)
	srv.SetProxy(p.Proxy)
	t.Cleanup(func() { srv.Close() })
	must(t, srv.Listen(netip.Addr{}, 0))
	return p
}

// visit connects to a server that listens through a proxy.
func visit(t *testing.T, p *fakeProxy, srv *tcp.Server) *tcp.Socket {
	t.Helper()
	c := closeLater(t, new(tcp.Socket))
	p.visit(t, c, srv)
	return c
}

func TestServerThroughProxy(t *testing.T) {
	var srv tcp.Server
	admitted := make(chan netip.AddrPort, 10)
	srv.SetAdmit(func(peer netip.AddrPort) error { admitted <- peer; return nil })
	news := counted(&srv)
	p := listenThrough(t, &srv)
	port := srv.ServerPort()
	if srv.ServerAddress() != loopback || port == 0 || !srv.IsListening() || srv.Err() != nil { // the proxy's
		t.Errorf("it is at %v:%d, error %v", srv.ServerAddress(), port, srv.Err())
	}
	if srv.SocketDescriptor().IsValid() {
		t.Error("there is a descriptor")
	}
	_, err := srv.SyscallConn()
	wantIs(t, "SyscallConn", err, sock.UnsupportedSocketOperationError)
	_, err = srv.File()
	wantIs(t, "File", err, sock.UnsupportedSocketOperationError)
	wantIs(t, "a second Listen", srv.Listen(netip.Addr{}, 0), sock.OperationError)
	for i, take := range []func() *tcp.Socket{
		func() *tcp.Socket { return next(t, &srv) },
		func() *tcp.Socket { c, err := srv.Accept(); must(t, err); return c.(*tcp.Socket) },
		func() *tcp.Socket { c, err := srv.AcceptContext(t.Context()); must(t, err); return c },
	} {
		client := visit(t, p, &srv)
		peer := client.LocalAddr().(*net.TCPAddr).AddrPort()
		server := closeLater(t, take())
		if got := sockettest.Done(t, "the peer is asked about", admitted); got != peer {
			t.Errorf("SetAdmit's function was asked about %v; want %v", got, peer)
		}
		if server.RemoteAddr().String() != peer.String() || server.PeerAddress() != peer.Addr() || server.PeerPort() != peer.Port() || server.PeerName() != "" {
			t.Errorf("client %d: the peer is %v, %q; want %v", i, server.RemoteAddr(), server.PeerName(), peer)
		}
		if server.LocalPort() != port || server.LocalAddr().String() != srv.Addr().String() || server.SocketDescriptor().IsValid() {
			t.Errorf("client %d: its own end is %v", i, server.LocalAddr())
		}
		exchange(t, client, server)
		if srv.ServerPort() != port {
			t.Errorf("client %d: the port is %d now, and was %d", i, srv.ServerPort(), port)
		}
	}
	wantIs(t, "WaitForNewConnection", srv.WaitForNewConnection(0), sock.SocketTimeoutError)
	sockettest.Eventually(t, "the proxy is asked once for each, and once more", func() bool { return p.binds.Load() == 4 })
	wantCount(t, news, 3)
	kept := srv.Addr().String()
	must(t, srv.Close())
	if srv.IsListening() || srv.ServerPort() != 0 || srv.ServerAddress().IsValid() || srv.Addr().String() != kept {
		t.Errorf("after Close: %v:%d, %v", srv.ServerAddress(), srv.ServerPort(), srv.Addr())
	}
	sockettest.Eventually(t, "it listens again on the same port, which the proxy has free soon", func() bool { return srv.Listen(netip.Addr{}, port) == nil })
	if srv.ServerPort() != port {
		t.Errorf("it asked for port %d, and listens on %d", port, srv.ServerPort())
	}
	client := visit(t, p, &srv)
	exchange(t, client, next(t, &srv))
}

// An override gets a descriptor without a native handle, and a Socket takes it.
func TestServerThroughProxyIncomingConnection(t *testing.T) {
	var srv tcp.Server
	given := make(chan sock.Descriptor, 1)
	srv.SetIncomingConnection(func(d sock.Descriptor) { given <- d })
	p := listenThrough(t, &srv)
	client := visit(t, p, &srv)
	d := sockettest.Done(t, "the override is called", given)
	if fd, ok := d.Fd(); ok || !d.IsValid() || d.Conn() == nil {
		t.Errorf("handle %d, valid %v, connection %v", fd, d.IsValid(), d.Conn())
	}
	var taken tcp.Server
	wantIs(t, "ListenDescriptor", taken.ListenDescriptor(d), sock.UnsupportedSocketOperationError)
	taken.IncomingConnection(d) // any server's
	server := closeLater(t, taken.NextPendingConnection())
	exchange(t, client, server)
	if server.RemoteAddr().String() != client.LocalAddr().String() || server.SocketDescriptor().IsValid() {
		t.Errorf("its peer is %v; want %v", server.RemoteAddr(), client.LocalAddr())
	}
	client = visit(t, p, &srv)
	must(t, sockettest.Done(t, "the override is called", given).Close())
	wantEnd(t, client)
}

func TestServerSetProxyRebindFalse(t *testing.T) {
	var srv tcp.Server
	srv.SetProxyRebind(false)
	told := make(chan error, 10)
	srv.OnAcceptError(func(err error) { told <- err })
	p := listenThrough(t, &srv)
	client := visit(t, p, &srv)
	err := sockettest.Done(t, "the end is told", told)
	wantIs(t, "OnAcceptError", err, net.ErrClosed)
	// The one that has come can be taken all the same.
	if srv.IsListening() || !srv.HasPendingConnections() {
		t.Errorf("listening %v, pending %v", srv.IsListening(), srv.HasPendingConnections())
	}
	must(t, srv.WaitForNewConnection(0))
	c, err := srv.Accept()
	must(t, err)
	exchange(t, client, closeLater(t, c.(*tcp.Socket)))
	for range 2 {
		_, err = srv.Accept()
		wantIs(t, "Accept", err, net.ErrClosed)
		wantIs(t, "WaitForNewConnection", srv.WaitForNewConnection(sock.Forever), net.ErrClosed)
	}
	if p.binds.Load() != 1 {
		t.Errorf("the proxy was asked %d times; want once", p.binds.Load())
	}
	must(t, srv.Close())
	if srv.Err() != nil {
		t.Errorf("after Close: %v", srv.Err())
	}
}

// A proxy that refuses to bind again ends the server: what has come is taken first, and then there is the reason.
func TestServerThroughProxyThatRefuses(t *testing.T) {
	for name, wait := range map[string]func(*tcp.Server) error{
		"Accept": func(s *tcp.Server) error {
			c, err := s.Accept()
			if err == nil {
				c.Close()
			}
			return err
		},
		"WaitForNewConnection": func(s *tcp.Server) error {
			err := s.WaitForNewConnection(sock.Forever)
			if c := s.NextPendingConnection(); c != nil {
				c.Abort()
			}
			return err
		},
		"Connections": func(s *tcp.Server) (last error) {
			for c, err := range s.Connections(t.Context()) {
				if last = err; err == nil {
					c.Abort()
				}
			}
			return last
		},
	} {
		t.Run(name, func(t *testing.T) {
			var srv tcp.Server
			told := make(chan error, 10)
			srv.OnAcceptError(func(err error) { told <- err })
			p := listenThrough(t, &srv)
			p.refuse.Store(2)
			client := visit(t, p, &srv)
			err := sockettest.Done(t, "the end is told", told)
			wantIs(t, "OnAcceptError", err, sock.SocketAccessError)
			if srv.Err() != err || srv.ServerError() != sock.SocketAccessError || srv.IsListening() || srv.ServerPort() != 0 {
				t.Errorf("error %v, listening %v on port %d", srv.Err(), srv.IsListening(), srv.ServerPort())
			}
			exchange(t, client, next(t, &srv))
			wantIs(t, name, wait(&srv), sock.SocketAccessError)
			if len(told) > 0 {
				t.Errorf("it was told once more: %v", <-told)
			}
			p.refuse.Store(0)
			must(t, srv.Listen(netip.Addr{}, 0)) // without Close
			if srv.Err() != nil {
				t.Errorf("after Listen: %v", srv.Err())
			}
			client = visit(t, p, &srv)
			exchange(t, client, next(t, &srv))
			// This time somebody waits when it happens.
			sockettest.Eventually(t, "it has bound anew", func() bool { return p.granted.Load() == 3 })
			p.refuse.Store(2)
			waiting := sockettest.Go(func() (err error) {
				for err == nil {
					err = wait(&srv)
				}
				return err
			})
			visit(t, p, &srv)
			wantIs(t, name, sockettest.Done(t, "the wait ends", waiting), sock.SocketAccessError)
		})
	}
}

func TestServerThroughProxyLimits(t *testing.T) {
	var srv tcp.Server
	srv.SetMaxPendingConnections(1)
	news := counted(&srv)
	p := listenThrough(t, &srv)
	first := visit(t, p, &srv)
	wantCount(t, news, 1)
	second := visit(t, p, &srv) // waits in the binding, or one step further
	wantCount(t, news, 1)
	exchange(t, first, next(t, &srv))
	exchange(t, second, next(t, &srv))
	must(t, srv.SetDeadline(time.Now().Add(-time.Second)))
	_, err := srv.Accept()
	wantIs(t, "Accept", err, sock.SocketTimeoutError)
	must(t, srv.SetDeadline(time.Time{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = srv.AcceptContext(ctx)
	wantIs(t, "AcceptContext", err, context.Canceled)
	accepted := sockettest.Go(func() error { _, err := srv.Accept(); return err })
	waited := sockettest.Go(func() error { return srv.WaitForNewConnection(sock.Forever) })
	must(t, srv.Close())
	wantIs(t, "Accept", sockettest.Done(t, "Accept returns", accepted), net.ErrClosed)
	wantIs(t, "WaitForNewConnection", sockettest.Done(t, "the wait returns", waited), net.ErrClosed)
}

// Pending connections that nobody took are closed with the server, and so is one that waits in the binding.
func TestServerThroughProxyCloseClosesPending(t *testing.T) {
	var srv tcp.Server
	srv.SetMaxPendingConnections(1)
	p := listenThrough(t, &srv)
	clients := []*tcp.Socket{visit(t, p, &srv), visit(t, p, &srv)}
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	must(t, srv.Close())
	for _, c := range clients {
		wantEnd(t, c)
	}
	if srv.HasPendingConnections() {
		t.Error("something is pending")
	}
}

func TestServerThroughProxyListenAndCloseAgainstEverything(t *testing.T) {
	p := socks(t)
	var srv tcp.Server
	srv.SetProxy(p.Proxy)
	var stop atomic.Bool
	var wg sync.WaitGroup
	run := func(f func()) {
		wg.Go(func() {
			for !stop.Load() {
				f()
				time.Sleep(50 * time.Microsecond) // the others' turn
			}
		})
	}
	run(func() {
		if c, err := srv.Accept(); err == nil {
			c.Close()
		}
	})
	run(func() { srv.WaitForNewConnection(time.Millisecond) })
	run(func() {
		if c := srv.NextPendingConnection(); c != nil {
			c.Abort()
		}
	})
	run(func() {
		if c, err := net.Dial("tcp", srv.Addr().String()); err == nil {
			c.Close()
		}
	})
	run(func() { srv.ServerAddress(); srv.SocketDescriptor(); srv.File(); srv.ErrorString() })
	run(func() { srv.SetProxyRebind(false); srv.SetProxyRebind(true) })
	run(func() { // listening at once, twice
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		defer cancel()
		srv.ListenContext(ctx, netip.Addr{}, 0)
	})
	for range 100 {
		if err := srv.Listen(netip.Addr{}, 0); err != nil && !errors.Is(err, sock.OperationError) {
			t.Error(err)
		}
		time.Sleep(200 * time.Microsecond)
		must(t, srv.Close())
	}
	stop.Store(true)
	srv.Close()
	wg.Wait()
	srv.Close()
}

// A server that somebody else closes just when Listen finds it listening does not listen without the proxy.
func TestServerListenNeverGoesAroundTheProxy(t *testing.T) {
	var srv tcp.Server
	srv.SetProxy(proxy.Proxy{Type: proxy.HttpProxy, HostName: "127.0.0.1", Port: 1}) // which cannot listen
	var stop atomic.Bool
	var other sync.WaitGroup
	defer other.Wait()
	defer stop.Store(true)
	other.Go(func() {
		for !stop.Load() {
			srv.Listen(loopback, 0) // without the proxy, as it is a loopback address
			srv.Close()
		}
	})
	for n := range 50000 {
		if err := srv.Listen(netip.IPv4Unspecified(), 0); err == nil {
			t.Fatalf("after %d times it listens, and not through the proxy", n)
		}
	}
}

// The proxy is asked for the address, unmapped; 0.0.0.0 stands for any.
func TestServerThroughProxyAsksForItsAddress(t *testing.T) {
	asked := make(chan string, 10)
	p := serveEach(t, func(c *net.TCPConn) {
		b := make([]byte, 30)
		io.ReadFull(c, b[:3])
		c.Write([]byte{5, 0})
		n, _ := c.Read(b)
		asked <- string(b[:n])
		reply(c, 0, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 4242})
		io.Copy(io.Discard, c)
	})
	for addr, want := range map[string]string{
		"":                   "\x05\x02\x00\x01\x00\x00\x00\x00\x04\xd2",
		"0.0.0.0":            "\x05\x02\x00\x01\x00\x00\x00\x00\x04\xd2",
		"192.0.2.9":          "\x05\x02\x00\x01\xc0\x00\x02\x09\x04\xd2",
		"::ffff:192.0.2.9":   "\x05\x02\x00\x01\xc0\x00\x02\x09\x04\xd2",
		"2001:db8::1":        "\x05\x02\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x04\xd2",
		"fe80::1%nosuchzone": "", // a zone of ours is none of the proxy's
	} {
		t.Run(addr, func(t *testing.T) {
			var a netip.Addr
			if addr != "" {
				a = netip.MustParseAddr(addr)
			}
			var srv tcp.Server
			srv.SetProxy(p)
			t.Cleanup(func() { srv.Close() })
			err := srv.Listen(a, 1234)
			if want == "" {
				wantIs(t, "Listen", err, sock.UnsupportedSocketOperationError)
				return
			}
			must(t, err)
			if got := sockettest.Done(t, "the proxy is asked", asked); got != want {
				t.Errorf("it was asked for % x; want % x", got, want)
			}
			if srv.ServerAddress().String() != "203.0.113.7" || srv.ServerPort() != 4242 {
				t.Errorf("it listens at %v:%d", srv.ServerAddress(), srv.ServerPort())
			}
		})
	}
}
