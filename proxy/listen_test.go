package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
)

// listen listens through a proxy, and closes the listener when the test ends.
func listen(t testing.TB, p proxy.Proxy, addr string) *proxy.Listener {
	t.Helper()
	l, err := p.Listen(long(t), addr)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l.(*proxy.Listener)
}

// accept accepts a connection, and closes it when the test ends.
func accept(t testing.TB, l net.Listener) *proxy.Conn {
	t.Helper()
	return accepted(t, accepting(l))
}

type result struct {
	c   net.Conn
	err error
}

// accepting calls Accept in a goroutine.
func accepting(l net.Listener) <-chan result {
	return sockettest.Go(func() result {
		c, err := l.Accept()
		return result{c, err}
	})
}

func accepted(t testing.TB, c <-chan result) *proxy.Conn {
	t.Helper()
	r := sockettest.Done(t, "Accept returns", c)
	must(t, r.err)
	t.Cleanup(func() { r.c.Close() })
	return r.c.(*proxy.Conn)
}

func refused(t testing.TB, c <-chan result) error {
	t.Helper()
	r := sockettest.Done(t, "Accept returns", c)
	if r.err == nil {
		r.c.Close()
		t.Fatal("Accept returns a connection; want an error")
	}
	return r.err
}

func startServer(t testing.TB) *socksServer {
	t.Helper()
	s, err := startSocksServer()
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// connect connects to where a listener listens, without a proxy.
func connect(t testing.TB, l net.Listener) {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
}

var from = netip.MustParseAddrPort("10.9.8.7:6666") // a peer's address
var at = netip.MustParseAddrPort("10.0.0.1:4000")   // a binding's

func TestListenTakesOnePeerAfterTheOther(t *testing.T) {
	s := startServer(t)
	l := listen(t, s.proxy(), ":0")
	first := l.Addr().String()
	for n := 1; n <= 3; n++ {
		sockettest.Eventually(t, "the listener has bound anew", func() bool { return s.bindings() == n })
		var peer *net.TCPConn
		sockettest.Eventually(t, "the proxy listens", func() bool { // it counts before it does
			c, err := net.Dial("tcp", first)
			if err == nil {
				peer = c.(*net.TCPConn)
			}
			return err == nil
		})
		t.Cleanup(func() { peer.Close() })
		io.WriteString(peer, "question") // before anybody accepts
		c := accept(t, l)
		if got, want := c.RemoteAddr().String(), peer.LocalAddr().String(); got != want {
			t.Errorf("peer %d comes from %s; want %s", n, got, want)
		}
		if got := c.LocalAddr().String(); got != first {
			t.Errorf("peer %d came to %s; want %s", n, got, first)
		}
		got := make([]byte, len("question"))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "question" {
			t.Errorf("read %q, %v", got, err)
		}
		io.WriteString(c, "answer")
		must(t, c.CloseWrite())
		if got, err := io.ReadAll(peer); err != nil || string(got) != "answer" {
			t.Errorf("the peer read %q, %v", got, err)
		}
	}
	if l.Addr().String() != first {
		t.Errorf("the address has changed from %s to %v", first, l.Addr())
	}
	must(t, l.Close())
	must(t, l.Close())
	wantCode(t, refused(t, accepting(l)), sock.OperationError, net.ErrClosed)
}

func TestListenRequestAndReplies(t *testing.T) {
	own := func(port string) string { return "127.0.0.1:" + port } // the fake's own address
	for _, tt := range []struct {
		addr, request string // after version, command and 0
		first, second string // replies, after version and code
		at, from      string
	}{
		{":0", "\x01\x00\x00\x00\x00\x00\x00", "\x00\x01\x0a\x00\x00\x01\x0f\xa0", "\x00\x01\x0a\x09\x08\x07\x1a\x0a", "10.0.0.1:4000", "10.9.8.7:6666"},
		{"0.0.0.0:1234", "\x01\x00\x00\x00\x00\x04\xd2", "\x00\x01\x00\x00\x00\x00\x04\xd2", "\x00\x01\x00\x00\x00\x00\x00\x00", own("1234"), "0.0.0.0:0"},
		{"[::]:80", "\x04" + strings.Repeat("\x00", 16) + "\x00\x50", "\x00\x04" + strings.Repeat("\x00", 16) + "\x00\x50",
			"\x00\x04\xfd" + strings.Repeat("\x00", 14) + "\x01\x00\x01", own("80"), "[fd00::1]:1"},
		{"an.example:80", "\x03\x0aan.example\x00\x50", "\x00\x03\x05proxy\x00\x50", "\x00\x03\x04peer\x00\x01", own("80"), "peer:1"},
		{"10.0.0.1:1", "\x01\x0a\x00\x00\x01\x00\x01", "\x00\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x0a\x00\x00\x01\x00\x02", "\x00\x03\x00\x00\x01", "10.0.0.1:2", ":1"},
	} {
		t.Run(tt.addr, func(t *testing.T) {
			come := make(chan struct{})
			f := startFake(t, func(n int, c *fakeConn) bool {
				if n == 0 && c.expect(5, 1, 0) {
					c.Write([]byte{5, 0})
					c.expect([]byte("\x05\x02\x00" + tt.request)...)
					io.WriteString(c, "\x05\x00"+tt.first)
					<-come
					io.WriteString(c, "\x05\x00"+tt.second+"payload")
				} else {
					c.gone()
				}
				return false
			})
			l := listen(t, f.socks(), tt.addr)
			l.SetRebind(false)
			if got := l.Addr().String(); got != tt.at {
				t.Errorf("the address is %s; want %s", got, tt.at)
			}
			close(come)
			c := accept(t, l)
			if got := c.RemoteAddr().String(); got != tt.from || c.LocalAddr().String() != tt.at {
				t.Errorf("from %s to %v; want %s to %s", got, c.LocalAddr(), tt.from, tt.at)
			}
			if got, err := io.ReadAll(c); err != nil || string(got) != "payload" {
				t.Errorf("read %q, %v; want payload", got, err)
			}
		})
	}
}

func TestListenFails(t *testing.T) {
	for _, tt := range []struct {
		say  string // to the request
		want sock.SocketError
	}{
		{"\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", sock.NetworkError},
		{"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", sock.SocketAccessError},
		{"\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", sock.UnsupportedSocketOperationError},
		{"\x05\x63\x00\x01\x00\x00\x00\x00\x00\x00", sock.ProxyProtocolError},
		{"\x05\x00\x00\x01\x0a\x00\x00\x01\x00\x00", sock.ProxyProtocolError}, // port 0
		{"\x05\x00\x00\x09\x0a\x00\x00\x01\x00\x01", sock.ProxyProtocolError},
		{"nonsense", sock.ProxyProtocolError},
		{"\x05\x00\x00\x01", sock.ProxyConnectionClosedError},
		{"", sock.ProxyConnectionClosedError},
	} {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			c.greet()
			io.WriteString(c, tt.say)
			return false
		})
		_, err := f.socks().Listen(long(t), "10.0.0.1:4000")
		if e := wantCode(t, err, tt.want); e.Op != "listen" || e.Net != "tcp" || e.Addr == nil {
			t.Errorf("%v: %q %q %v", err, e.Op, e.Net, e.Addr)
		}
	}
}

func TestListenWithAMuteProxy(t *testing.T) {
	for say := range 3 {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			switch say {
			case 1:
				c.read(3)
				c.Write([]byte{5, 0})
			case 2:
				c.greet()
				c.Write([]byte{5, 0, 0})
			}
			return true
		})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		_, err := f.socks().Listen(ctx, ":0")
		cancel()
		wantCode(t, err, sock.ProxyConnectionTimeoutError, sock.SocketTimeoutError, os.ErrDeadlineExceeded, context.DeadlineExceeded)
	}
}

func TestListenWithoutASocks5Proxy(t *testing.T) {
	_, err := proxy.Proxy{Type: proxy.HttpProxy, HostName: "127.0.0.1"}.Listen(long(t), ":0")
	wantCode(t, err, sock.UnsupportedSocketOperationError, errors.ErrUnsupported)
	l, err := proxy.Proxy{}.Listen(long(t), "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	if _, ok := l.(*net.TCPListener); !ok {
		t.Errorf("a %T; want a *net.TCPListener", l)
	}
	_, err = proxy.Proxy{}.Listen(long(t), l.Addr().String())
	wantCode(t, err, sock.AddressInUseError)
	for addr, want := range map[string]sock.SocketError{"x": sock.HostNotFoundError, "h:99999": sock.HostNotFoundError, "[fe80::1%lo]:0": sock.UnsupportedSocketOperationError} {
		_, err := proxy.Proxy{Type: proxy.Socks5Proxy, HostName: "127.0.0.1"}.Listen(long(t), addr)
		wantCode(t, err, want)
	}
}

func TestTheEndOfTheContextDoesNotReachTheListener(t *testing.T) {
	s := startServer(t)
	ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long())
	l, err := s.proxy().Listen(ctx, ":0")
	cancel()
	must(t, err)
	defer l.Close()
	connect(t, l)
	accept(t, l)
}

func TestSetRebindOff(t *testing.T) {
	s := startServer(t)
	l := listen(t, s.proxy(), ":0")
	l.SetRebind(false)
	connect(t, l)
	accept(t, l)
	for range 2 {
		err := refused(t, accepting(l))
		wantCode(t, err, sock.OperationError, net.ErrClosed)
		if !strings.Contains(err.Error(), "SetRebind") {
			t.Errorf("%v: want one that says why", err)
		}
	}
	if n := s.bindings(); n != 1 {
		t.Errorf("there were %d bindings", n)
	}
}

// SetRebind is in time for a peer that has come at once.
func TestSetRebindOffBeforeTheFirstAccept(t *testing.T) {
	b := startBinder(t, func(_ int, c *fakeConn) bool {
		_, err := c.Write(append(append(socksReply(0, at), socksReply(0, from)...), "payload"...))
		return err == nil
	})
	l := listen(t, b.socks(), ":0")
	b.next(t)
	sockettest.Stays(t, "there is no other binding", func() bool { return len(b.bindings) == 0 })
	l.SetRebind(false)
	accept(t, l)
	wantCode(t, refused(t, accepting(l)), sock.OperationError, net.ErrClosed)
	if n := len(b.bindings); n != 0 {
		t.Errorf("there were %d more bindings", n)
	}
}
