package tcp_test

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

func TestServerZeroValueIsReady(t *testing.T) {
	var srv tcp.Server
	if srv.IsListening() || srv.HasPendingConnections() || srv.NextPendingConnection() != nil {
		t.Error("it listens, or has something pending")
	}
	if srv.ServerAddress().IsValid() || srv.ServerPort() != 0 || srv.Proxy() != (proxy.Proxy{}) {
		t.Errorf("it is at %v:%d, proxy %v", srv.ServerAddress(), srv.ServerPort(), srv.Proxy())
	}
	if srv.MaxPendingConnections() != 30 || srv.ListenBacklogSize() != 0 {
		t.Errorf("limit %d, backlog %d; want 30, 0", srv.MaxPendingConnections(), srv.ListenBacklogSize())
	}
	if srv.ServerError() != sock.NoError || srv.ErrorString() != "" || srv.Err() != nil {
		t.Errorf("its error is %v, %q, %v", srv.ServerError(), srv.ErrorString(), srv.Err())
	}
	if srv.SocketDescriptor().IsValid() {
		t.Error("it has a descriptor")
	}
	if a, ok := srv.Addr().(*net.TCPAddr); !ok || a == nil || a.Port != 0 || a.IP != nil {
		t.Errorf("its address is %#v", srv.Addr())
	}
	must(t, srv.Close())
	_, err := srv.Accept()
	wantIs(t, "Accept", err, net.ErrClosed, sock.OperationError)
	_, err = srv.AcceptContext(context.Background())
	wantIs(t, "AcceptContext", err, net.ErrClosed, sock.OperationError)
	wantIs(t, "WaitForNewConnection", srv.WaitForNewConnection(sock.Forever), net.ErrClosed, sock.OperationError)
	wantIs(t, "SetDeadline", srv.SetDeadline(time.Now()), net.ErrClosed)
	_, err = srv.SyscallConn()
	wantIs(t, "SyscallConn", err, net.ErrClosed)
	_, err = srv.File()
	wantIs(t, "File", err, net.ErrClosed)
	srv.PauseAccepting()
	srv.ResumeAccepting()
	if srv.Err() != nil {
		t.Errorf("asking has left an error: %v", srv.Err())
	}
}

func TestServerSettersReadBack(t *testing.T) {
	var srv tcp.Server
	for _, n := range []int{0, 1, -1, math.MaxInt32, math.MinInt32, math.MaxInt, math.MinInt} {
		srv.SetMaxPendingConnections(n)
		srv.SetListenBacklogSize(n)
		if srv.MaxPendingConnections() != n || srv.ListenBacklogSize() != n {
			t.Errorf("set %d: read %d and %d", n, srv.MaxPendingConnections(), srv.ListenBacklogSize())
		}
		must(t, srv.Listen(loopback, 0)) // with these
		must(t, srv.Close())
	}
	for _, p := range []proxy.Proxy{{Type: proxy.Socks5Proxy, HostName: "proxy.invalid", Port: 1}, {Type: proxy.NoProxy}, {}} {
		if srv.SetProxy(p); srv.Proxy() != p {
			t.Errorf("set %v: read %v", p, srv.Proxy())
		}
	}
}

// A server is reached by the addresses on which it listens, and its sockets call peers by unmapped ones.
func TestServerAddresses(t *testing.T) {
	needIPv6(t)
	for name, test := range map[string]struct {
		addr, want string
		by         []string
	}{
		"zero":        {"", "::", []string{"127.0.0.1", "::1", "127.0.0.2"}},
		"IPv4":        {"0.0.0.0", "0.0.0.0", []string{"127.0.0.1", "127.0.0.2"}},
		"IPv6":        {"::", "::", []string{"::1"}},
		"one IPv4":    {"127.0.0.3", "127.0.0.3", []string{"127.0.0.3"}},
		"one IPv6":    {"::1", "::1", []string{"::1"}},
		"mapped IPv4": {"::ffff:127.0.0.1", "127.0.0.1", []string{"127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var addr netip.Addr
			if test.addr != "" {
				addr = netip.MustParseAddr(test.addr)
			}
			var srv tcp.Server
			listenOn(t, &srv, addr)
			if srv.ServerAddress() != netip.MustParseAddr(test.want) || srv.ServerPort() == 0 || srv.Addr().String() != at(test.want, &srv) {
				t.Errorf("it listens at %v:%d, %v; want %s", srv.ServerAddress(), srv.ServerPort(), srv.Addr(), test.want)
			}
			for _, host := range test.by {
				client, server := closeLater(t, dialTo(t, at(host, &srv))), next(t, &srv)
				ends := func(c *tcp.Socket) (local, remote netip.AddrPort) {
					return netip.AddrPortFrom(c.LocalAddress(), c.LocalPort()), netip.AddrPortFrom(c.PeerAddress(), c.PeerPort())
				}
				clientLocal, clientRemote := ends(client)
				serverLocal, serverRemote := ends(server)
				if clientLocal != serverRemote || clientRemote != serverLocal {
					t.Errorf("the client is %v to %v, the server %v to %v", clientLocal, clientRemote, serverLocal, serverRemote)
				}
				if clientRemote != netip.AddrPortFrom(netip.MustParseAddr(host), srv.ServerPort()) {
					t.Errorf("the server's end is %v; want %s", clientRemote, host)
				}
				for _, c := range []*tcp.Socket{client, server} {
					l, r := ends(c)
					if c.LocalAddr().String() != l.String() || c.RemoteAddr().String() != r.String() || c.LocalAddr().Network() != "tcp" {
						t.Errorf("LocalAddr %v, RemoteAddr %v; want %v, %v", c.LocalAddr(), c.RemoteAddr(), l, r)
					}
				}
				if client.PeerName() != host || server.PeerName() != "" {
					t.Errorf("the peers' names are %q and %q", client.PeerName(), server.PeerName())
				}
				exchange(t, client, server)
			}
			old := srv.Addr()
			must(t, srv.Close())
			if srv.ServerAddress().IsValid() || srv.ServerPort() != 0 || srv.Addr().String() != old.String() {
				t.Errorf("after Close: %v:%d, %v; want none, 0, %v", srv.ServerAddress(), srv.ServerPort(), srv.Addr(), old)
			}
		})
	}
}

func TestListenHostports(t *testing.T) {
	for _, test := range []struct {
		hostport string
		want     []string // any of these
	}{
		{":0", []string{"::", "0.0.0.0"}},
		{"127.0.0.1:0", []string{"127.0.0.1"}},
		{"0.0.0.0:0", []string{"0.0.0.0"}},
		{"[::1]:0", []string{"::1"}},
		{"[::]:0", []string{"::"}},
		{"localhost:0", []string{"127.0.0.1"}},
		{"both.test:0", []string{"127.0.0.1"}}, // IPv4 first
	} {
		t.Run(test.hostport, func(t *testing.T) {
			if strings.HasPrefix(test.hostport, "[") {
				needIPv6(t)
			}
			srv, err := tcp.Listen(test.hostport)
			must(t, err)
			defer srv.Close()
			ok := false
			for _, want := range test.want {
				ok = ok || srv.ServerAddress().String() == want
			}
			if !ok || srv.ServerPort() == 0 || !srv.IsListening() {
				t.Errorf("it listens at %v:%d; want one of %q", srv.ServerAddress(), srv.ServerPort(), test.want)
			}
		})
	}
}

// What is no address is told in the same words to who listens and to who dials.
func TestBadHostports(t *testing.T) {
	for _, test := range []struct{ hostport, says string }{
		{"", `"" is no address such as .*port`},
		{"x", `"x" is no address such as .*port`},
		{"localhost:", `"localhost:" has no port after the colon`},
		{"localhost:99999", `"99999" is neither a port's number`},
		{"localhost:-1", `"-1" is neither a port's number`},
		{"localhost:no-such-service", `"no-such-service" is neither a port's number`},
		{"::1:80", `"::1:80" is no address such as`},
		{"[::1", `"\[::1" is no address such as`},
		{"[::1]", `"\[::1\]" is no address such as`},
		{"[::1]80", `is no address such as`},
		{"a\x00b:1", `not found`},
		{"no-such-host.invalid:80", `not found: .*no such host`},
	} {
		t.Run(test.hostport, func(t *testing.T) {
			check := func(op string, err error) {
				t.Helper()
				wantIs(t, op, err, sock.HostNotFoundError)
				if err != nil && !regexp.MustCompile(`(?s)^`+op+` tcp.*: .*`+test.says).MatchString(err.Error()) {
					t.Errorf("%s says\n\t%v\nwant what matches\n\t%s", op, err, test.says)
				}
			}
			_, err := tcp.Listen(test.hostport)
			check("listen", err)
			_, err = tcp.Dial(test.hostport)
			check("connect", err)
			var c tcp.Socket
			log := watch(&c)
			err = c.ConnectContext(t.Context(), test.hostport)
			check("connect", err)
			if c.Err() != err {
				t.Errorf("the last error is %v; want %v", c.Err(), err)
			}
			log.want(t, "HostLookupState", "HostNotFoundError", "UnconnectedState")
		})
	}
	t.Run("a host is needed", func(t *testing.T) {
		_, err := tcp.Dial(":80")
		wantIs(t, "Dial", err, sock.HostNotFoundError)
		var c tcp.Socket
		must(t, c.ConnectToHost("", 80, 0))
		wantIs(t, "ConnectToHost", c.WaitForConnected(sockettest.Long()), sock.HostNotFoundError)
	})
	t.Run("a service", func(t *testing.T) {
		needIPv6(t)
		srv, err := tcp.Listen("[::1]:http")
		if err == nil {
			defer srv.Close()
			if srv.ServerPort() != 80 {
				t.Errorf("http is %d", srv.ServerPort())
			}
		} else if code := sock.CodeOf(err); code != sock.SocketAccessError && code != sock.AddressInUseError || !strings.Contains(err.Error(), "[::1]:80") {
			t.Error(err)
		}
	})
}

func TestServerListenErrors(t *testing.T) {
	used := listen(t)
	for name, test := range map[string]struct {
		addr string
		port uint16
		code sock.SocketError
		is   error
	}{
		"in use":           {"127.0.0.1", used.ServerPort(), sock.AddressInUseError, syscall.EADDRINUSE},
		"in use by part":   {"0.0.0.0", used.ServerPort(), sock.AddressInUseError, syscall.EADDRINUSE},
		"not ours":         {"192.0.2.123", 0, sock.SocketAddressNotAvailableError, syscall.EADDRNOTAVAIL},
		"not ours, IPv6":   {"2001:db8::1", 0, sock.SocketAddressNotAvailableError, syscall.EADDRNOTAVAIL},
		"no such zone":     {"fe80::1%nosuchzone", 0, sock.SocketAddressNotAvailableError, nil},
		"no such zone, ::": {"fe80::1%99999", 0, sock.SocketAddressNotAvailableError, nil},
	} {
		t.Run(name, func(t *testing.T) {
			addr := netip.MustParseAddr(test.addr)
			if addr.Is6() {
				needIPv6(t)
			}
			var srv tcp.Server
			err := srv.Listen(addr, test.port)
			wantIs(t, "Listen", err, test.code)
			if test.is != nil {
				wantIs(t, "Listen", err, test.is)
			}
			if err == nil {
				srv.Close()
				return
			}
			if srv.Err() != err || srv.ServerError() != test.code || srv.ErrorString() != err.Error() {
				t.Errorf("the last error is %v, %v, %q", srv.Err(), srv.ServerError(), srv.ErrorString())
			}
			if !strings.Contains(err.Error(), netip.AddrPortFrom(addr, test.port).String()) {
				t.Errorf("it does not say where: %v", err)
			}
			if srv.IsListening() || srv.ServerAddress().IsValid() || srv.ServerPort() != 0 || srv.SocketDescriptor().IsValid() {
				t.Error("it looks as if it listens")
			}
			listenWith(t, &srv) // it can do that still, and has no error then
			if srv.Err() != nil || srv.ServerError() != sock.NoError || srv.ErrorString() != "" {
				t.Errorf("after a successful Listen: %v", srv.Err())
			}
			srv.WaitForNewConnection(0)
			if srv.ServerError() != sock.SocketTimeoutError {
				t.Errorf("after a wait that timed out: %v", srv.Err())
			}
			wantIs(t, "a second Listen", srv.Listen(addr, test.port), sock.OperationError)
			if srv.ServerError() != sock.SocketTimeoutError {
				t.Errorf("a second Listen has changed the error: %v", srv.Err())
			}
			must(t, srv.Close())
			if srv.Err() != nil {
				t.Errorf("after Close: %v", srv.Err())
			}
		})
	}
}

func TestServerListenAfterCloseWorks(t *testing.T) {
	srv := listen(t)
	port := srv.ServerPort()
	for range 20 {
		c := dial(t, srv)
		s := next(t, srv)
		s.Abort() // first: its end stays in TIME_WAIT
		wantEnd(t, c)
		c.Abort()
		must(t, srv.Close())
		must(t, srv.Listen(loopback, port))
	}
}

// A listener is opened and closed in one goroutine while others accept, wait, connect and ask; nothing must wedge or leak.
func TestServerListenAndCloseAgainstEverything(t *testing.T) {
	var srv tcp.Server
	var stop atomic.Bool
	var wg sync.WaitGroup
	run := func(f func()) {
		wg.Go(func() {
			for !stop.Load() {
				f()
				time.Sleep(20 * time.Microsecond) // the others' turn
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
			c.PeerAddress()
			c.Abort()
		}
	})
	run(func() {
		if c, err := net.Dial("tcp", srv.Addr().String()); err == nil {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
	run(func() {
		srv.ServerAddress()
		srv.ServerPort()
		srv.SocketDescriptor()
		srv.HasPendingConnections()
		srv.ErrorString()
		if f, err := srv.File(); err == nil {
			f.Close()
		}
	})
	run(func() { srv.SetDeadline(time.Now().Add(time.Millisecond)); srv.SetMaxPendingConnections(2) })
	run(func() { srv.PauseAccepting(); srv.ResumeAccepting() })
	run(func() { srv.OnNewConnection(func() {})() })
	run(func() { srv.SetAdmit(func(netip.AddrPort) error { return nil }); srv.SetAdmit(nil) })
	for range 100 {
		must(t, srv.Listen(loopback, 0))
		time.Sleep(100 * time.Microsecond)
		must(t, srv.Close())
	}
	stop.Store(true)
	wg.Wait()
}

func TestServerAcceptContext(t *testing.T) {
	srv := listen(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := srv.AcceptContext(cancelled)
	wantIs(t, "cancelled before", err, context.Canceled, sock.SocketTimeoutError)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Error("cancelling counts as a timeout")
	}
	ctx, cancel := context.WithCancel(t.Context())
	accepted := sockettest.Go(func() error { _, err := srv.AcceptContext(ctx); return err })
	cancel()
	wantIs(t, "cancelled meanwhile", sockettest.Done(t, "AcceptContext returns", accepted), context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = srv.AcceptContext(ctx)
	wantIs(t, "expired", err, context.DeadlineExceeded, sock.SocketTimeoutError, os.ErrDeadlineExceeded)
	dial(t, srv)
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	if _, err := srv.AcceptContext(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, and one is pending: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	dial(t, srv)
	n := 0
	for c, err := range srv.Connections(ctx) {
		if err != nil {
			wantIs(t, "Connections", err, context.Canceled)
			break
		}
		c.Abort()
		if n++; n == 2 {
			cancel()
		}
	}
	if n != 2 || srv.Err() != nil {
		t.Errorf("there were %d connections, error %v; want 2", n, srv.Err())
	}
}
