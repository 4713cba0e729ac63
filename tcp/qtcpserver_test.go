package tcp_test

// The cases of Qt's own test of its TCP server, tst_qtcpserver, one by one: what they do and what they expect, told in this package's
// words. Each comment says where we differ on purpose. Where Qt says false, we return an error; where Qt's error is UnknownSocketError
// though nothing went wrong, ours is NoError. Ports are the system's choice throughout. Two cases stand in qtcpserver_unix_test.go.
//
// Qt runs the whole test a second time behind a SOCKS5 proxy, and skips most of that because its server takes one connection there,
// ever. Ours binds anew for each, so more cases run twice.

import (
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

// A qtRun is one of the two runs of a case.
type qtRun struct {
	*testing.T
	proxy *fakeProxy // nil in the first
}

// twice runs a case without a proxy, and behind one that is the application's.
func twice(t *testing.T, f func(qtRun)) {
	t.Run("WithoutProxy", func(t *testing.T) { f(qtRun{t, nil}) })
	t.Run("WithSocks5Proxy", func(t *testing.T) {
		p := socks(t)
		setApplicationProxy(t, p.Proxy)
		f(qtRun{t, p})
	})
}

// listen makes a server listen on every address, which the application's proxy, if there is one, does in its place.
func (t qtRun) listen(srv *tcp.Server) {
	t.Helper()
	t.Cleanup(func() { srv.Close() })
	must(t, srv.Listen(netip.Addr{}, 0))
	if want := "::"; t.proxy == nil && srv.ServerAddress().String() != want {
		t.Errorf("the server's address is %v; want %s", srv.ServerAddress(), want)
	}
}

// connect connects to a server.
func (t qtRun) connect(srv *tcp.Server) *tcp.Socket {
	t.Helper()
	c := closeLater(t, new(tcp.Socket))
	if t.proxy != nil {
		t.proxy.visit(t, c, srv)
		return c
	}
	must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
	must(t, c.WaitForConnected(sockettest.Long()))
	return c
}

// counted returns how often a server has said newConnection, from now on.
func counted(srv *tcp.Server) *atomic.Int64 {
	n := new(atomic.Int64)
	srv.OnNewConnection(func() { n.Add(1) })
	return n
}

// wantCount waits until a count is reached, and looks whether it is passed.
func wantCount(t testing.TB, n *atomic.Int64, want int64) {
	t.Helper()
	sockettest.Eventually(t, "newConnection was said often enough", func() bool { return n.Load() >= want })
	sockettest.Stays(t, "newConnection was not said too often", func() bool { return n.Load() == want })
}

// waitLine waits until a whole line has arrived, in Qt's way, and reads it.
func waitLine(t testing.TB, c *tcp.Socket) string {
	t.Helper()
	for !c.CanReadLine() {
		must(t, c.WaitForReadyRead(sockettest.Long()))
	}
	line, err := c.ReadLine(0)
	must(t, err)
	return string(line)
}

// 1.
func TestQTcpServer_getSetCheck(t *testing.T) {
	var srv tcp.Server
	for _, n := range []int{0, math.MinInt, math.MaxInt} {
		if srv.SetMaxPendingConnections(n); srv.MaxPendingConnections() != n {
			t.Errorf("set %d: read %d", n, srv.MaxPendingConnections())
		}
	}
}

// 2.
func TestQTcpServer_constructing(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		if srv.IsListening() || srv.ServerPort() != 0 || srv.ServerAddress() != (netip.Addr{}) || srv.MaxPendingConnections() != 30 ||
			srv.HasPendingConnections() || srv.SocketDescriptor().IsValid() || srv.ServerError() != sock.NoError || srv.ErrorString() != "" {
			t.Errorf("listening %v, at %v:%d, limit %d, error %v", srv.IsListening(), srv.ServerAddress(), srv.ServerPort(), srv.MaxPendingConnections(), srv.Err())
		}
	})
}

// 3.
func TestQTcpServer_clientServerLoop(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		news := counted(&srv)
		if srv.IsListening() || srv.HasPendingConnections() {
			t.Error("it listens, or has something pending")
		}
		t.listen(&srv)
		if !srv.IsListening() || srv.HasPendingConnections() {
			t.Error("it does not listen, or has something pending")
		}
		client := t.connect(&srv)
		must(t, srv.WaitForNewConnection(sockettest.Long()))
		if !srv.HasPendingConnections() {
			t.Error("nothing is pending")
		}
		wantCount(t, news, 1)
		server := closeLater(t, srv.NextPendingConnection())
		const greeting, answer = "Greetings, client!\n", "Well, hello to you!\n"
		server.WriteBuffered([]byte(greeting))
		must(t, server.WaitForBytesWritten(sockettest.Long()))
		if got := waitLine(t, client); got != greeting {
			t.Errorf("the client read %q", got)
		}
		client.WriteBuffered([]byte(answer))
		must(t, client.WaitForBytesWritten(sockettest.Long()))
		if got := waitLine(t, server); got != answer {
			t.Errorf("the server read %q", got)
		}
	})
}

// 4. A loopback address is listened on without the proxy, but the client goes through it, in either.
func TestQTcpServer_ipv6Server(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		listenOn(t, &srv, loopback6)
		if srv.ServerAddress() != loopback6 || srv.ServerPort() == 0 {
			t.Errorf("it listens at %v:%d", srv.ServerAddress(), srv.ServerPort())
		}
		client := closeLater(t, new(tcp.Socket))
		must(t, client.ConnectToHost("::1", srv.ServerPort(), 0))
		must(t, client.WaitForConnected(sockettest.Long()))
		must(t, srv.WaitForNewConnection(sockettest.Long()))
		server := closeLater(t, srv.NextPendingConnection())
		if server.PeerAddress() != loopback6 {
			t.Errorf("the peer is at %v", server.PeerAddress())
		}
	})
}

// 5.
func TestQTcpServer_dualStack(t *testing.T) {
	needIPv6(t)
	for name, row := range map[string]struct {
		bind   string
		v4, v6 bool
	}{"any": {"", true, true}, "anyIPv4": {"0.0.0.0", true, false}, "anyIPv6": {"::", false, true}} {
		t.Run(name, func(t *testing.T) {
			var addr netip.Addr
			if row.bind != "" {
				addr = netip.MustParseAddr(row.bind)
			}
			var srv tcp.Server
			listenOn(t, &srv, addr)
			for host, reached := range map[string]bool{"127.0.0.1": row.v4, "::1": row.v6} {
				client := closeLater(t, new(tcp.Socket))
				must(t, client.ConnectToHost(host, srv.ServerPort(), 0))
				err := client.WaitForConnected(sockettest.Long())
				if !reached {
					wantIs(t, host, err, sock.ConnectionRefusedError)
					continue
				}
				must(t, err)
				if server := next(t, &srv); server.PeerAddress() != netip.MustParseAddr(host) { // Qt says ::ffff:127.0.0.1 under any
					t.Errorf("the peer is %v; want %s", server.PeerAddress(), host)
				}
			}
		})
	}
}

// 6.
func TestQTcpServer_ipv6ServerMapped(t *testing.T) {
	srv := listen(t)
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "::ffff:7F00:0001"} {
		client := closeLater(t, new(tcp.Socket))
		must(t, client.ConnectToHost(host, srv.ServerPort(), 0))
		must(t, client.WaitForConnected(sockettest.Long()))
		if server := next(t, srv); server.PeerAddress() != loopback || client.PeerAddress() != loopback {
			t.Errorf("%s: the ends are %v and %v", host, client.PeerAddress(), server.PeerAddress())
		}
	}
	client := closeLater(t, new(tcp.Socket))
	must(t, client.ConnectToHost("::1", srv.ServerPort(), 0))
	if client.WaitForConnected(sockettest.Long()) == nil {
		t.Error("::1 has reached a server on 127.0.0.1")
	}
	if srv.HasPendingConnections() {
		t.Error("something is pending")
	}
}

// 7.
func TestQTcpServer_crashTests(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		must(t, srv.Close())
		t.listen(&srv)
	})
}

// 8. Behind a proxy Qt's server takes one connection, and skips this. There, the proxy decides what becomes of the third client.
func TestQTcpServer_maxPendingConnections(t *testing.T) {
	srv := listen(t)
	news := counted(srv)
	srv.SetMaxPendingConnections(2)
	for range 3 {
		dial(t, srv)
	}
	wantCount(t, news, 2)
	closeLater(t, srv.NextPendingConnection())
	closeLater(t, srv.NextPendingConnection())
	// Ours accepts the third as soon as there is room, and so may have it already, which Qt's has after a wait only.
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	if !srv.HasPendingConnections() {
		t.Error("nothing is pending")
	}
	closeLater(t, srv.NextPendingConnection())
	if srv.NextPendingConnection() != nil {
		t.Error("there is a fourth")
	}
}

// 9.
func TestQTcpServer_listenError(t *testing.T) {
	var srv tcp.Server
	err := srv.Listen(netip.MustParseAddr("1.2.3.4"), 0)
	wantIs(t, "Listen", err, sock.SocketAddressNotAvailableError)
	if srv.ServerError() != sock.SocketAddressNotAvailableError || srv.ErrorString() == "" || srv.IsListening() || srv.ServerPort() != 0 {
		t.Errorf("error %v, listening %v", srv.Err(), srv.IsListening())
	}
}

// 10. Qt does not run it behind a proxy.
func TestQTcpServer_waitForConnectionTest(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		t.listen(&srv)
		wantIs(t, "WaitForNewConnection", srv.WaitForNewConnection(small), sock.SocketTimeoutError)
		if srv.ServerError() != sock.SocketTimeoutError {
			t.Errorf("the last error is %v", srv.Err())
		}
		waited := sockettest.Go(func() error { return srv.WaitForNewConnection(sockettest.Long()) })
		t.connect(&srv)
		if err := sockettest.Done(t, "the wait returns", waited); err != nil {
			t.Errorf("WaitForNewConnection: %v", err)
		}
	})
}

// 12. Nothing is said on stderr.
func TestQTcpServer_listenWhileListening(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		t.listen(&srv)
		port := srv.ServerPort()
		wantIs(t, "a second Listen", srv.Listen(netip.Addr{}, 0), sock.OperationError)
		if !srv.IsListening() || srv.ServerPort() != port || srv.Err() != nil {
			t.Errorf("listening %v, on port %d and before on %d, error %v", srv.IsListening(), srv.ServerPort(), port, srv.Err())
		}
	})
}

// 13.
func TestQTcpServer_addressReusable(t *testing.T) {
	srv := listen(t)
	port := srv.ServerPort()
	must(t, srv.Close())
	crashing := sockettest.Start(t, "crashingServer", srv.Addr().String())
	crashing.Expect("Listening")
	client := closeLater(t, dialTo(t, srv.Addr().String()))
	wantEnd(t, client) // the crash
	client.Close()
	crashing.Kill()
	must(t, srv.Listen(loopback, port))
}

var _ = sockettest.Child("crashingServer", func() {
	srv, err := tcp.Listen(os.Args[1])
	mustChild(err)
	os.Stdout.WriteString("Listening\n")
	mustChild(srv.WaitForNewConnection(sockettest.Long()))
	os.Exit(1)
})

// 15. FTP's proxy is of a type that there is none of. Qt's HTTP server says nothing when it is asked in SOCKS5's words, so that the time passes;
// this one answers, which is no SOCKS5. TestMuteProxy has the other.
func TestQTcpServer_invalidProxy(t *testing.T) {
	web := serveEach(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 3))
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	for name, row := range map[string]struct {
		proxy proxy.Proxy
		want  sock.SocketError
	}{
		"ftp-proxy":             {proxy.Proxy{Type: 5, HostName: web.HostName, Port: web.Port}, sock.UnsupportedSocketOperationError},
		"http-proxy":            {proxy.Proxy{Type: proxy.HttpProxy, HostName: web.HostName, Port: web.Port}, sock.UnsupportedSocketOperationError},
		"no such host":          {proxy.Proxy{Type: proxy.Socks5Proxy, HostName: "no-such-host.invalid", Port: 1080}, sock.ProxyNotFoundError},
		"socks5 on http server": {web, sock.ProxyProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			var srv tcp.Server
			srv.SetProxy(row.proxy)
			wantIs(t, "Listen", srv.Listen(netip.Addr{}, 0), row.want)
			if srv.ServerError() != row.want || srv.ErrorString() == "" || srv.IsListening() {
				t.Errorf("error %v, listening %v", srv.Err(), srv.IsListening())
			}
		})
	}
}

// 16. There is no factory: the application has one proxy or none. A server's own stands before it.
func TestQTcpServer_proxyFactory(t *testing.T) {
	through := socks(t)
	http := proxy.Proxy{Type: proxy.HttpProxy, HostName: through.HostName, Port: through.Port}
	caching := proxy.Proxy{Type: 4, HostName: through.HostName, Port: through.Port} // no type of ours
	for name, row := range map[string]struct {
		application, own proxy.Proxy
		ok, proxied      bool
	}{
		"socks5":             {through.Proxy, proxy.Proxy{}, true, true},
		"cachinghttp+socks5": {caching, through.Proxy, true, true},
		"socks5, own none":   {through.Proxy, proxy.Proxy{Type: proxy.NoProxy}, true, false},
		"http":               {http, proxy.Proxy{}, false, false},
		"cachinghttp":        {caching, proxy.Proxy{}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			setApplicationProxy(t, row.application)
			before := through.binds.Load()
			var srv tcp.Server
			srv.SetProxy(row.own)
			defer srv.Close()
			err := srv.Listen(netip.Addr{}, 0)
			if row.ok {
				must(t, err)
			} else {
				wantIs(t, "Listen", err, sock.UnsupportedSocketOperationError)
			}
			if srv.Proxy() != row.own || (srv.ErrorString() == "") != row.ok {
				t.Errorf("its proxy is %v, its error %v", srv.Proxy(), srv.Err())
			}
			if got := through.binds.Load() - before; got != 1 && row.proxied || got != 0 && !row.proxied {
				t.Errorf("the proxy was asked %d times", got)
			}
		})
	}
}

// 17.
func TestQTcpServer_qtbug14268_peek(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		t.listen(&srv)
		client := t.connect(&srv)
		server := next(t, &srv)
		ready := make(chan struct{}, 100)
		server.OnReadyRead(func() { ready <- struct{}{} })
		sent := ""
		for i, part := range []string{"abc\n", "def\n", "ghi\n"} {
			sent += part
			client.WriteBuffered([]byte(part))
			client.Flush()
			sockettest.Done(t, "readyRead is said for each write", ready)
			if got, err := server.Peek(128); err != nil || string(got) != sent {
				t.Errorf("after write %d: Peek: %q, %v; want %q", i, got, err, sent)
			}
		}
		buf := make([]byte, 128)
		if n, err := server.ReadAvailable(buf); err != nil || string(buf[:n]) != sent {
			t.Errorf("ReadAvailable: %q, %v; want %q", buf[:n], err, sent)
		}
	})
}

// qtAddresses lists what a server can listen on: the special addresses, and each that an interface has. Multicast is none of them.
func qtAddresses(t *testing.T) map[string]netip.Addr {
	t.Helper()
	rows := map[string]netip.Addr{"any": {}, "any-ipv4": netip.IPv4Unspecified()}
	if l, err := net.Listen("tcp6", "[::]:0"); err == nil {
		l.Close()
		rows["any-ipv6"] = netip.IPv6Unspecified()
	}
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, ifi := range interfaces {
		addrs, err := ifi.Addrs()
		must(t, err)
		for _, a := range addrs {
			ipnet, ok := a.(*net.IPNet)
			if !ok || ifi.Flags&net.FlagUp == 0 {
				continue
			}
			addr, _ := netip.AddrFromSlice(ipnet.IP)
			if addr = addr.Unmap(); addr.IsLinkLocalUnicast() && addr.Is6() {
				addr = addr.WithZone(ifi.Name)
			}
			if l, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String()); err != nil { // tentative, or of a torn down interface
				t.Logf("package net cannot listen on %v either: %v", addr, err)
				continue
			} else {
				l.Close()
			}
			rows[addr.String()] = addr
		}
	}
	return rows
}

// 18. Of every address, both families, ours says "::", because netip has no address for Qt's Any.
func TestQTcpServer_serverAddress(t *testing.T) {
	rows := qtAddresses(t)
	for name, addr := range rows {
		t.Run(name, func(t *testing.T) {
			want := addr
			if name == "any" {
				want = netip.IPv4Unspecified()
				if _, ok := rows["any-ipv6"]; ok {
					want = netip.IPv6Unspecified()
				}
			}
			var srv tcp.Server
			t.Cleanup(func() { srv.Close() })
			must(t, srv.Listen(addr, 0))
			if srv.ServerAddress() != want {
				t.Errorf("it listens on %v; want %v", srv.ServerAddress(), want)
			}
			if got := srv.Addr().(*net.TCPAddr).AddrPort(); got != netip.AddrPortFrom(want, srv.ServerPort()) {
				t.Errorf("its Addr is %v", got)
			}
		})
	}
}

// 19.
func TestQTcpServer_qtbug6305(t *testing.T) {
	for name, addr := range qtAddresses(t) {
		t.Run(name, func(t *testing.T) {
			var first, second tcp.Server
			t.Cleanup(func() { first.Close(); second.Close() })
			must(t, first.Listen(addr, 0))
			wantIs(t, "a second server", second.Listen(addr, first.ServerPort()), sock.AddressInUseError)
		})
	}
}

// 20.
func TestQTcpServer_linkLocal(t *testing.T) {
	seen := false
	var port uint16
	for name, addr := range qtAddresses(t) {
		if !addr.Is6() || !addr.IsLinkLocalUnicast() {
			continue
		}
		seen = true
		t.Run(name, func(t *testing.T) {
			var srv tcp.Server
			t.Cleanup(func() { srv.Close() })
			must(t, srv.Listen(addr, port))
			port = srv.ServerPort() // the same for all of them
			bound := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))}
			plain, err := bound.Dial("tcp", srv.Addr().String())
			must(t, err)
			client := closeLater(t, new(tcp.Socket))
			must(t, client.SetSocketDescriptor(sock.FromConn(plain), sock.ConnectedState, 0))
			unbound := dial(t, &srv)
			for _, c := range []*tcp.Socket{client, unbound} {
				if c.PeerAddress() != addr || c.LocalAddress() != addr {
					t.Errorf("the client's ends are %v and %v; want %v", c.LocalAddress(), c.PeerAddress(), addr)
				}
				if s := next(t, &srv); s.PeerAddress() != addr || s.LocalAddress() != addr {
					t.Errorf("the server's ends are %v and %v; want %v", s.LocalAddress(), s.PeerAddress(), addr)
				}
			}
		})
	}
	if !seen {
		t.Skip("needs an interface with a link-local IPv6 address")
	}
}

// 21.
func TestQTcpServer_eagainBlockingAccept(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		news := counted(&srv)
		t.listen(&srv)
		for i := range int64(2) {
			client := t.connect(&srv)
			wantCount(t, news, i+1)
			closeLater(t, srv.NextPendingConnection())
			client.Abort()
		}
	})
}

// 22.
func TestQTcpServer_canAccessPendingConnectionsWhileNotListening(t *testing.T) {
	_, server := pair(t)
	var srv tcp.Server
	srv.AddPendingConnection(server)
	if !srv.HasPendingConnections() || srv.NextPendingConnection() != server || srv.HasPendingConnections() {
		t.Error("it is not pending, or not taken")
	}
}

// 23. Behind a proxy Qt expects it to fail: it "does weird things after accepting the first connection". Behind one, ours has room for one
// client, and the proxy for another.
func TestQTcpServer_pauseAccepting(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		news := counted(&srv)
		t.listen(&srv)
		t.connect(&srv)
		wantCount(t, news, 1)
		srv.PauseAccepting()
		more := 5
		if t.proxy != nil {
			more = 1
		}
		for range more {
			t.connect(&srv)
		}
		wantCount(t, news, 1)
		srv.ResumeAccepting()
		wantCount(t, news, int64(1+more))
	})
}

// 24. Ours has one signal in place of newConnection and pendingConnectionAvailable, which is said when a connection is pending, and then
// only; Qt says newConnection though its derived server has queued nothing yet.
func TestQTcpServer_pendingConnectionAvailable(t *testing.T) {
	twice(t, func(t qtRun) {
		for _, later := range []bool{false, true} {
			name := "QTcpServer"
			if later {
				name = "derived"
			}
			t.Run(name, func(plain *testing.T) {
				t := qtRun{plain, t.proxy}
				var srv tcp.Server
				kept := make(chan *tcp.Socket, 1)
				if later {
					srv.SetIncomingConnection(func(d sock.Descriptor) {
						c := new(tcp.Socket)
						if err := c.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite); err != nil {
							t.Error(err)
							d.Close()
						}
						kept <- c
					})
				}
				news := counted(&srv)
				t.listen(&srv)
				client := t.connect(&srv)
				if later {
					c := closeLater(t, sockettest.Done(t, "the override is called", kept))
					wantCount(t, news, 0)
					srv.AddPendingConnection(c)
				}
				wantCount(t, news, 1)
				if !srv.HasPendingConnections() {
					t.Error("nothing is pending")
				}
				server := closeLater(t, srv.NextPendingConnection())
				exchange(t, client, server)
				if want := client.LocalAddr().String(); !strings.HasPrefix(want, "127.0.0.1:") || server.RemoteAddr().String() != want {
					t.Errorf("the peer's address is %v; want %s", server.RemoteAddr(), want)
				}
			})
		}
	})
}
