package proxy_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
)

// echo starts a server that sends back what it is sent, until it is closed at the end of the test.
func echo(t testing.TB, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("needs an address %s: %v", addr, err)
	}
	ended := sockettest.Go(func() error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			sockettest.Copy(c, c)
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		sockettest.Done(t, "the echo server ends", ended)
	})
	return l.Addr().String()
}

func TestDialThroughSocks5(t *testing.T) {
	s, err := startSocksServer()
	must(t, err)
	t.Cleanup(s.Close)
	at := echo(t, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(at)
	for _, addr := range []string{at, "localhost:" + port, "[::ffff:127.0.0.1]:" + port} {
		t.Run(addr, func(t *testing.T) {
			c := dial(t, s.proxy(), addr)
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			must(t, c.CloseWrite())
			if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
				t.Errorf("read %q, %v", got, err)
			}
			if c.LocalAddr().String() == c.NetConn().LocalAddr().String() {
				t.Errorf("the local address is %v, this end's of the connection to the proxy", c.LocalAddr())
			}
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		c := dial(t, s.proxy(), echo(t, "[::1]:0"))
		io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
	t.Run("DefaultProxy", func(t *testing.T) {
		proxy.SetApplicationProxy(s.proxy())
		t.Cleanup(func() { proxy.SetApplicationProxy(proxy.Proxy{}) })
		dial(t, proxy.Proxy{}, at)
	})
	t.Run("refused", func(t *testing.T) {
		_, err := s.proxy().DialContext(long(t), "tcp", refusing(t))
		wantCode(t, err, sock.ConnectionRefusedError)
	})
}

// refusing returns an address where nobody listens.
func refusing(t testing.TB) string { return sockettest.Refusing(t).String() }

func TestSocks5Request(t *testing.T) {
	name255 := strings.Repeat("n", 255)
	for _, tt := range []struct {
		addr   string
		want   string // after version, command and 0
		remote net.Addr
	}{
		{"10.1.2.3:80", "\x01\x0a\x01\x02\x03\x00\x50", &net.TCPAddr{IP: net.IP{10, 1, 2, 3}, Port: 80}},
		{"[::ffff:10.1.2.3]:80", "\x01\x0a\x01\x02\x03\x00\x50", &net.TCPAddr{IP: net.IP{10, 1, 2, 3}, Port: 80}},
		{"[fd00::1]:443", "\x04\xfd\x00" + strings.Repeat("\x00", 13) + "\x01\x01\xbb", &net.TCPAddr{IP: net.ParseIP("fd00::1"), Port: 443}},
		{"an.example:1000", "\x03\x0aan.example\x03\xe8", proxy.Addr{Host: "an.example", Port: 1000}},
		{"an.example:http", "\x03\x0aan.example\x00\x50", proxy.Addr{Host: "an.example", Port: 80}},
		{name255 + ":1", "\x03\xff" + name255 + "\x00\x01", proxy.Addr{Host: name255, Port: 1}},
	} {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			if c.expect(5, 1, 0) {
				c.Write([]byte{5, 0})
				c.expect([]byte("\x05\x01\x00" + tt.want)...)
				c.Write(socksReply(0, netip.MustParseAddrPort("1.2.3.4:5")))
			}
			return true
		})
		c := dial(t, f.socks(), tt.addr)
		if got := c.RemoteAddr(); got.String() != tt.remote.String() || fmt.Sprintf("%T", got) != fmt.Sprintf("%T", tt.remote) || got.Network() != "tcp" {
			t.Errorf("%s: the remote address is %T %v; want %T %v", tt.addr, got, got, tt.remote, tt.remote)
		}
		if got := c.LocalAddr().String(); got != "1.2.3.4:5" {
			t.Errorf("%s: the local address is %s", tt.addr, got)
		}
	}
}

func TestSocks5Authentication(t *testing.T) {
	x256 := strings.Repeat("x", 256)
	for _, tt := range []struct {
		name           string
		user, password string
		methods        []byte // what is offered
		method         byte
		auth, answer   []byte
		want           sock.SocketError
	}{
		{"unasked", "me", "pw", []byte{5, 2, 0, 2}, 0, nil, nil, sock.NoError},
		{"right", "me", "pw", []byte{5, 2, 0, 2}, 2, []byte("\x01\x02me\x02pw"), []byte{1, 0}, sock.NoError},
		{"longest", x256[1:], x256[1:], []byte{5, 2, 0, 2}, 2, []byte("\x01\xff" + x256[1:] + "\xff" + x256[1:]), []byte{1, 0}, sock.NoError},
		{"no password", "me", "", []byte{5, 2, 0, 2}, 2, []byte("\x01\x02me\x00"), []byte{1, 0}, sock.NoError},
		{"wrong", "me", "no", []byte{5, 2, 0, 2}, 2, []byte("\x01\x02me\x02no"), []byte{1, 1}, sock.ProxyAuthenticationRequiredError},
		{"wrong version", "me", "pw", []byte{5, 2, 0, 2}, 2, []byte("\x01\x02me\x02pw"), []byte{5, 0}, sock.ProxyProtocolError},
		{"none set", "", "pw", []byte{5, 1, 0}, 0xff, nil, nil, sock.ProxyAuthenticationRequiredError},
		{"none taken", "me", "pw", []byte{5, 2, 0, 2}, 0xff, nil, nil, sock.ProxyAuthenticationRequiredError},
		{"not offered", "", "", []byte{5, 1, 0}, 2, nil, nil, sock.ProxyProtocolError},
		{"GSSAPI", "me", "pw", []byte{5, 2, 0, 2}, 1, nil, nil, sock.ProxyProtocolError},
		{"user too long", x256, "", nil, 0, nil, nil, sock.ProxyAuthenticationRequiredError},
		{"password too long", "me", x256, nil, 0, nil, nil, sock.ProxyAuthenticationRequiredError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, func(_ int, c *fakeConn) bool {
				if !c.expect(tt.methods...) {
					return false
				}
				c.Write([]byte{5, tt.method})
				if tt.auth != nil && c.expect(tt.auth...) {
					c.Write(tt.answer)
				}
				if tt.want == sock.NoError {
					c.read(10)
					c.Write(socksReply(0, netip.AddrPort{}))
				}
				return true
			})
			p := f.socks()
			p.User, p.Password = tt.user, tt.password
			c, err := p.DialContext(long(t), "tcp", "10.0.0.1:80")
			if err == nil {
				c.Close()
			}
			if tt.want == sock.NoError {
				must(t, err)
				return
			}
			if e := wantCode(t, err, tt.want); e.Op != "connect" || e.Net != "tcp" || e.Addr.String() != f.listener.Addr().String() {
				t.Errorf("%v: %s %s %v; want the proxy's address", err, e.Op, e.Net, e.Addr)
			}
			if tt.password != "" && strings.Contains(err.Error(), `"`+tt.password) {
				t.Errorf("%v tells the password", err)
			}
		})
	}
}

func TestSocks5RepliesThatSayNo(t *testing.T) {
	for reply, want := range map[byte]sock.SocketError{
		1: sock.NetworkError, 2: sock.SocketAccessError, 3: sock.NetworkError, 4: sock.HostNotFoundError, 5: sock.ConnectionRefusedError, 6: sock.NetworkError,
		7: sock.UnsupportedSocketOperationError, 8: sock.UnsupportedSocketOperationError, 9: sock.ProxyProtocolError, 255: sock.ProxyProtocolError,
	} {
		for _, whole := range []bool{true, false} {
			f := startFake(t, func(_ int, c *fakeConn) bool {
				c.greet()
				if whole {
					c.Write(socksReply(reply, netip.AddrPort{}))
				} else {
					c.Write([]byte{5, reply})
				}
				return false
			})
			_, err := f.socks().DialContext(long(t), "tcp", "10.0.0.1:80")
			if e := wantCode(t, err, want); e.Addr.String() != "10.0.0.1:80" || !strings.Contains(err.Error(), f.socks().String()) {
				t.Errorf("%v: want the address that was asked for, and the proxy's", err)
			}
		}
	}
}

func TestHttpConnect(t *testing.T) {
	for _, tt := range []struct{ addr, user, password, want string }{
		{"an.example:80", "", "", "CONNECT an.example:80 HTTP/1.1\r\nHost: an.example:80\r\n\r\n"},
		{"10.0.0.1:1", "", "unused", "CONNECT 10.0.0.1:1 HTTP/1.1\r\nHost: 10.0.0.1:1\r\n\r\n"},
		{"[fd00::1]:1", "me", "a:b", "CONNECT [fd00::1]:1 HTTP/1.1\r\nHost: [fd00::1]:1\r\nProxy-Authorization: Basic " +
			base64.StdEncoding.EncodeToString([]byte("me:a:b")) + "\r\n\r\n"},
	} {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			if got := c.readHead(); got != tt.want {
				t.Errorf("the proxy was sent %q; want %q", got, tt.want)
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			return true
		})
		p := f.http()
		p.User, p.Password = tt.user, tt.password
		c := dial(t, p, tt.addr)
		if c.RemoteAddr().String() != tt.addr || c.LocalAddr() != c.NetConn().LocalAddr() {
			t.Errorf("%s: from %v to %v", tt.addr, c.LocalAddr(), c.RemoteAddr())
		}
	}
}

func TestHttpAnswersThatSayNo(t *testing.T) {
	for answer, want := range map[string]sock.SocketError{
		"HTTP/1.1 407 Who\r\nProxy-Authenticate: Digest realm=\"x\"\r\n\r\n":                sock.ProxyAuthenticationRequiredError,
		"HTTP/1.0 407 Who\r\nproxy-authenticate: Digest realm=\"x\", basic realm=y\r\n\r\n": sock.ProxyAuthenticationRequiredError,
		"HTTP/1.1 401 x\r\n\r\n":                                 sock.ProxyAuthenticationRequiredError,
		"HTTP/1.1 403\r\n\r\n":                                   sock.SocketAccessError,
		"HTTP/1.1 404 x\n\n":                                     sock.HostNotFoundError,
		"HTTP/1.1 405 x\r\n\r\n":                                 sock.SocketAccessError,
		"HTTP/1.1 408 x\r\n\r\n":                                 sock.ProxyConnectionTimeoutError,
		"HTTP/1.1 500 x\r\n\r\n":                                 sock.NetworkError,
		"HTTP/1.1 501 x\r\n\r\n":                                 sock.UnsupportedSocketOperationError,
		"HTTP/1.1 502 x\r\n\r\n":                                 sock.NetworkError,
		"HTTP/1.1 503 x\r\n\r\n":                                 sock.ConnectionRefusedError,
		"HTTP/1.1 504 x\r\n\r\n":                                 sock.ProxyConnectionTimeoutError,
		"HTTP/1.1 302 x\r\n\r\n":                                 sock.ProxyProtocolError,
		"HTTP/1.1 418 " + strings.Repeat("x", 5000) + "\r\n\r\n": sock.ProxyProtocolError,
	} {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			c.readHead()
			io.WriteString(c, answer)
			return true
		})
		_, err := f.http().DialContext(long(t), "tcp", "an.example:80")
		e := wantCode(t, err, want)
		if len(err.Error()) > 500 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
		if want == sock.ProxyConnectionTimeoutError && (!errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, sock.SocketTimeoutError) || !e.Timeout()) {
			t.Errorf("%v is no timeout", err)
		}
	}
	f := startFake(t, func(_ int, c *fakeConn) bool {
		c.readHead()
		io.WriteString(c, "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n")
		return true
	})
	for user, want := range map[string]string{"": "none is set", "me": `does not accept the user "me"`} {
		p := f.http()
		p.User, p.Password = user, "secret"
		_, err := p.DialContext(long(t), "tcp", "an.example:80")
		wantCode(t, err, sock.ProxyAuthenticationRequiredError)
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: want one that says %s", err, want)
		}
	}
}

func TestContextThatHasEndedAlready(t *testing.T) {
	f := startFake(t, func(int, *fakeConn) bool { return true })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, p := range []proxy.Proxy{f.socks(), f.http(), {Type: proxy.NoProxy}} {
		_, err := p.DialContext(ctx, "tcp", "127.0.0.1:80")
		wantCode(t, err, sock.SocketTimeoutError, context.Canceled)
	}
	_, err := f.socks().Listen(ctx, "127.0.0.1:0")
	wantCode(t, err, sock.SocketTimeoutError, context.Canceled)
}

func TestProxyTalksNonsense(t *testing.T) {
	headers := "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70)
	for _, tt := range []struct {
		typ  proxy.Type
		says []string // in answer to what the client sends
		want string
	}{
		{proxy.Socks5Proxy, []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, "may be an HTTP proxy"},
		{proxy.Socks5Proxy, []string{"\x04\x00"}, "begins with 4"},
		{proxy.Socks5Proxy, []string{"\x05\x03"}, "method 3"},
		{proxy.Socks5Proxy, []string{"\x05\x00", "\x04\x00\x00\x01\x00"}, "begins with 4"},
		{proxy.Socks5Proxy, []string{"\x05\x00", "\x04\x5a\x00\x01\x00"}, "begins with 4"},
		{proxy.Socks5Proxy, []string{"\x05\x00", "\x05\x00\x00\x02\x00\x00"}, "type 2"},
		{proxy.HttpProxy, []string{"\x05\xff"}, "may be a SOCKS5 proxy"},
		{proxy.HttpProxy, []string{"HTTP/2 200\r\n\r\n"}, `not with "HTTP/1."`},
		{proxy.HttpProxy, []string{"\r\n"}, `not with "HTTP/1."`},
		{proxy.HttpProxy, []string{"HTTP/1.1\r\n\r\n"}, "no status line"},
		{proxy.HttpProxy, []string{"HTTP/1.x 200 OK\r\n\r\n"}, "no status line"},
		{proxy.HttpProxy, []string{"HTTP/1.1 20 OK\r\n\r\n"}, "no status line"},
		{proxy.HttpProxy, []string{"HTTP/1.1 2000 OK\r\n\r\n"}, "no status line"},
		{proxy.HttpProxy, []string{"HTTP/1.1 -20 OK\r\n\r\n"}, "no status line"},
		{proxy.HttpProxy, []string{"HTTP/1.1 600 OK\r\n\r\n"}, "no answer to CONNECT"},
		{proxy.HttpProxy, []string{"HTTP/1.1 099 OK\r\n\r\n"}, "no answer to CONNECT"},
		{proxy.HttpProxy, []string{"HTTP/1.1 101 Switching Protocols\r\n\r\n"}, "no answer to CONNECT"},
		{proxy.HttpProxy, []string{"HTTP/1.1 100 OK\r\n\r\nnonsense"}, `not with "HTTP/1."`},
		{proxy.HttpProxy, []string{headers}, "more than 65536 bytes"},
		{proxy.HttpProxy, []string{"HTTP/1.1 " + strings.Repeat("2", 70000)}, "more than 65536 bytes"},
		{proxy.HttpProxy, []string{strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3000)}, "more than 65536 bytes"},
	} {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			for i, s := range tt.says {
				switch {
				case tt.typ == proxy.HttpProxy:
					c.readHead()
				case i == 0:
					c.read(3)
				default:
					c.read(10)
				}
				io.WriteString(c, s)
			}
			return true
		})
		_, err := f.at(tt.typ).DialContext(long(t), "tcp", "10.0.0.1:80")
		wantCode(t, err, sock.ProxyProtocolError)
		if !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 500 {
			t.Errorf("%.40q: %.500v; want one that says %s", tt.says, err, tt.want)
		}
	}
}

func TestProxyThatCannotBeReached(t *testing.T) {
	host, port, _ := net.SplitHostPort(refusing(t))
	var n uint16
	fmt.Sscan(port, &n)
	for _, typ := range []proxy.Type{proxy.Socks5Proxy, proxy.HttpProxy} {
		for _, tt := range []struct {
			p     proxy.Proxy
			want  sock.SocketError
			cause error
		}{
			{proxy.Proxy{Type: typ, HostName: host, Port: n}, sock.ProxyConnectionRefusedError, syscall.ECONNREFUSED},
			{proxy.Proxy{Type: typ, HostName: "no such host", Port: 1}, sock.ProxyNotFoundError, nil},
			{proxy.Proxy{Type: typ}, sock.ProxyNotFoundError, nil},
			{proxy.Proxy{Type: 9, HostName: host}, sock.UnsupportedSocketOperationError, errors.ErrUnsupported},
		} {
			var causes []error
			if tt.cause != nil && (tt.cause != syscall.ECONNREFUSED || sockettest.HasFiles) { // Windows has another number
				causes = append(causes, tt.cause)
			}
			_, err := tt.p.DialContext(long(t), "tcp", "10.0.0.1:80")
			wantCode(t, err, tt.want, causes...)
			if typ == proxy.Socks5Proxy {
				_, err := tt.p.Listen(long(t), ":0")
				if e := wantCode(t, err, tt.want, causes...); e.Op != "listen" {
					t.Errorf("%v: the operation is %q", err, e.Op)
				}
			}
		}
	}
	_, err := proxy.Proxy{Type: proxy.HttpProxy, HostName: host, User: "a:b"}.DialContext(long(t), "tcp", "10.0.0.1:80")
	wantCode(t, err, sock.ProxyAuthenticationRequiredError)
}

func TestAddressesThatAProxyIsNotAsked(t *testing.T) {
	f := startFake(t, func(int, *fakeConn) bool { t.Error("the proxy was asked"); return false })
	for _, tt := range []struct {
		network, addr string
		want          sock.SocketError
	}{
		{"udp", "10.0.0.1:80", sock.UnsupportedSocketOperationError},
		{"unix", "/tmp/x", sock.UnsupportedSocketOperationError},
		{"tcp4", "[::1]:80", sock.UnsupportedSocketOperationError},
		{"tcp6", "10.0.0.1:80", sock.UnsupportedSocketOperationError},
		{"tcp6", "[::ffff:10.0.0.1]:80", sock.UnsupportedSocketOperationError},
		{"tcp", "[fe80::1%eth0]:80", sock.UnsupportedSocketOperationError},
		{"tcp", "10.0.0.1", sock.HostNotFoundError},
		{"tcp", ":80", sock.HostNotFoundError},
		{"tcp", "h:65536", sock.HostNotFoundError},
		{"tcp", "h:no-such-service", sock.HostNotFoundError},
		{"tcp", strings.Repeat("n", 256) + ":80", sock.HostNotFoundError},
		{"tcp", "h\r\nX: y:80", sock.HostNotFoundError},
		{"tcp", "[h\r\nX: y]:80", sock.HostNotFoundError},
		{"tcp", "h HTTP/1.1:80", sock.HostNotFoundError},
		{"tcp", "h\x00:80", sock.HostNotFoundError},
		{"tcp", "me@h:80", sock.HostNotFoundError},
		{"tcp", "b\u00fccher.example:80", sock.HostNotFoundError},
	} {
		for _, p := range []proxy.Proxy{f.socks(), f.http()} {
			_, err := p.DialContext(long(t), tt.network, tt.addr)
			wantCode(t, err, tt.want)
		}
	}
}

func TestTheEndOfTheContextDoesNotReachTheConnection(t *testing.T) {
	for name, tr := range transcripts {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			tr.play(c, tr.size(), func(s string) { io.WriteString(c, s) })
			sockettest.Copy(c, c)
			return false
		})
		ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long())
		c, err := tr.at(f).DialContext(ctx, "tcp", "10.0.0.1:80")
		cancel()
		must(t, err)
		for range 3 {
			if _, err := io.WriteString(c, "x"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		c.Close()
	}
}

func TestConn(t *testing.T) {
	f := startFake(t, func(_ int, c *fakeConn) bool {
		c.greet()
		c.Write(socksReply(0, netip.AddrPort{}))
		c.gone()
		io.WriteString(c, "after the end")
		return false
	})
	c := dial(t, f.socks(), "10.0.0.1:80")
	if _, ok := net.Conn(c).(syscall.Conn); ok {
		t.Error("it hands out a native handle, which is the proxy's")
	}
	raw, ok := c.NetConn().(*net.TCPConn)
	if !ok || raw.RemoteAddr().String() != f.listener.Addr().String() {
		t.Errorf("NetConn is %T to %v; want a *net.TCPConn to the proxy", c.NetConn(), c.NetConn().RemoteAddr())
	}
	if c.LocalAddr() != raw.LocalAddr() {
		t.Errorf("the local address is %v; the proxy has said none", c.LocalAddr())
	}
	must(t, c.SetReadDeadline(time.Now().Add(-1)))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline: %v", err)
	}
	must(t, c.SetWriteDeadline(time.Now().Add(-1)))
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write after the deadline: %v", err)
	}
	must(t, c.SetDeadline(time.Time{}))
	must(t, c.CloseWrite())
	if got, err := io.ReadAll(c); err != nil || string(got) != "after the end" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := c.CloseRead(); err != nil && !errors.Is(err, syscall.ENOTCONN) { // both ends have ended
		t.Error(err)
	}
	must(t, c.Close())
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

func TestNoProxyDialsDirectly(t *testing.T) {
	at := echo(t, "127.0.0.1:0")
	for _, p := range []proxy.Proxy{{}, {Type: proxy.NoProxy, HostName: "ignored"}} {
		c, err := p.DialContext(long(t), "tcp", at)
		must(t, err)
		if _, ok := c.(*net.TCPConn); !ok {
			t.Errorf("%v: a %T; want a *net.TCPConn", p, c)
		}
		c.Close()
	}
	at = refusing(t)
	_, err := proxy.Proxy{}.DialContext(long(t), "tcp", at)
	if e := wantCode(t, err, sock.ConnectionRefusedError); e.Addr.String() != at {
		t.Errorf("%v: want the address", err)
	}
	_, err = proxy.Proxy{}.DialContext(long(t), "tcp", "no such host:80")
	wantCode(t, err, sock.HostNotFoundError)
	_, err = proxy.Proxy{}.DialContext(long(t), "udp", at)
	wantCode(t, err, sock.UnsupportedSocketOperationError)
}

func TestAnAnswerMayTakeTheUsualTimeIfNoOtherIsSaid(t *testing.T) {
	start := time.Now()
	ctx, cancel := proxy.Bounded(context.Background())
	defer cancel()
	if end, ok := ctx.Deadline(); !ok || end.Before(start.Add(sock.DefaultWait)) || end.After(time.Now().Add(sock.DefaultWait)) {
		t.Errorf("the deadline is %v, %v; want %v from now", end, ok, sock.DefaultWait)
	}
	given, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if ctx, _ := proxy.Bounded(given); ctx != given {
		t.Error("a context that has a deadline was given another one")
	}
}

// What is no address is a host that cannot be found, with a proxy and without.
func TestMalformedAddresses(t *testing.T) {
	for _, p := range []proxy.Proxy{{Type: proxy.NoProxy}, {Type: proxy.Socks5Proxy, HostName: "127.0.0.1", Port: 1}} {
		for _, addr := range []string{"nohost", "127.0.0.1:99999", "127.0.0.1:nosuch", "[::1]", "a:b:c", "[[::1]]:80"} {
			_, err := p.DialContext(long(t), "tcp", addr)
			wantCode(t, err, sock.HostNotFoundError)
			_, err = p.Listen(long(t), addr)
			wantCode(t, err, sock.HostNotFoundError)
		}
	}
}
