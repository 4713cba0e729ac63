//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

// A fakeProxy is a SOCKS5 server that knows one user, and does what is asked of it on this machine.
type fakeProxy struct {
	net.Listener
	user, password string
	all            sync.WaitGroup
	mu             sync.Mutex
	open           []io.Closer
}

// startProxy starts a proxy, and returns its address.
func startProxy(t *testing.T, user, password string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &fakeProxy{Listener: l, user: user, password: password}
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.open {
			c.Close()
		}
		p.open = nil
		p.mu.Unlock()
		p.all.Wait()
	})
	return l.Addr().String()
}

func (p *fakeProxy) keep(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, c)
}

func (p *fakeProxy) serve(c net.Conn) {
	p.keep(c)
	defer c.Close()
	if !p.greet(c) {
		return
	}
	head := make([]byte, 4) // version, command, 0, kind of address
	if _, err := io.ReadFull(c, head); err != nil || head[0] != 5 {
		return
	}
	size := map[byte]int{1: 4, 4: 16}[head[3]]
	if size == 0 {
		n := make([]byte, 1)
		io.ReadFull(c, n)
		size = int(n[0])
	}
	rest := make([]byte, size+2)
	if _, err := io.ReadFull(c, rest); err != nil {
		return
	}
	host := string(rest[:size])
	if ip, ok := netip.AddrFromSlice(rest[:size]); ok && head[3] != 3 {
		host = ip.String()
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), binary.BigEndian.Uint16(rest[size:]))
	var peer net.Conn
	var err error
	switch head[1] {
	case 1:
		if host != "127.0.0.1" && host != "machine.example" {
			c.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}) // the host cannot be reached
			return
		}
		if peer, err = net.Dial("tcp", at.String()); err != nil {
			c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0}) // connection refused
			return
		}
		reply(c, peer.LocalAddr())
	case 2: // always another port: it is chosen again each time
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return
		}
		p.keep(l)
		reply(c, l.Addr())
		peer, err = l.Accept()
		l.Close()
		if err != nil {
			return
		}
		reply(c, peer.RemoteAddr())
	}
	p.keep(peer)
	defer peer.Close()
	var both sync.WaitGroup
	for _, d := range [][2]net.Conn{{c, peer}, {peer, c}} {
		both.Go(func() {
			io.Copy(d[1], d[0])
			d[1].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// greet asks who it is, if the proxy knows a user.
func (p *fakeProxy) greet(c net.Conn) bool {
	n := make([]byte, 2)
	if _, err := io.ReadFull(c, n); err != nil {
		return false
	}
	methods := make([]byte, n[1])
	if _, err := io.ReadFull(c, methods); err != nil {
		return false
	}
	if p.user == "" {
		c.Write([]byte{5, 0})
		return true
	}
	if !bytes.Contains(methods, []byte{2}) {
		c.Write([]byte{5, 0xff})
		return false
	}
	c.Write([]byte{5, 2})
	var said [2]string
	io.ReadFull(c, n[:1])
	for i := range said {
		io.ReadFull(c, n[:1])
		b := make([]byte, n[0])
		if _, err := io.ReadFull(c, b); err != nil {
			return false
		}
		said[i] = string(b)
	}
	if said != [2]string{p.user, p.password} {
		c.Write([]byte{1, 1})
		return false
	}
	c.Write([]byte{1, 0})
	return true
}

func reply(c net.Conn, a net.Addr) {
	at := a.(*net.TCPAddr).AddrPort()
	ip := at.Addr().Unmap().As4()
	c.Write(binary.BigEndian.AppendUint16(append([]byte{5, 0, 0, 1}, ip[:]...), at.Port()))
}

// port returns the port of an address of TCP.
func port(at string) string { return at[strings.LastIndexByte(at, ':')+1:] }

func TestConnectProxy(t *testing.T) {
	proxy := startProxy(t, "ann", "secret")
	srv, at := serverOf(t, "tcp")
	for _, test := range []struct {
		url, variable, host string
		status              int
		says                string
	}{
		{"socks5://ann:secret@" + proxy, "", "127.0.0.1", 0, ""},
		{"socks5://ann:secret@" + proxy, "wrong", "machine.example", 0, ""}, // the proxy looks the name up
		{"socks5://ann@" + proxy, "secret", "127.0.0.1", 0, ""},
		{"socks5://ann@" + proxy, "wrong", "127.0.0.1", exitPeer, "proxy authentication required"},
		{"socks5://" + proxy, "secret", "127.0.0.1", exitPeer, "proxy authentication required"},
		{"socks5://ann:secret@" + proxy, "", "192.0.2.1", exitPeer, "host unreachable"},
		{"socks5://127.0.0.1:1", "", "127.0.0.1", exitPeer, "proxy refused the connection"},
	} {
		t.Setenv(passwordVariable, test.variable)
		r := start(strings.NewReader("hello"), "connect", "--proxy", test.url, "tcp:"+test.host+":"+port(at))
		if test.status == 0 {
			c := accepted(t, srv)
			if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
				t.Errorf("%s: %q, %v", test.url, b, err)
			}
			io.WriteString(c, "and you")
			c.Close()
		}
		r.ends(t, test.status)
		if test.status == 0 && r.stdout.String() != "and you" {
			t.Errorf("%s: stdout %q", test.url, r.stdout.String())
		}
		if said := r.stderr.String(); !strings.Contains(said, test.says) || strings.Contains(said, "secret") {
			t.Errorf("%s: stderr %q", test.url, said)
		}
	}
}

// A server behind a proxy says where it can be reached, and says it again when the proxy gives it another port after a client.
func TestServeProxy(t *testing.T) {
	proxy := startProxy(t, "", "")
	r := start(nil, "serve", "--proxy", "socks5://"+proxy, "tcp::0", "--", "cat")
	at := r.listening(t)
	for i := range 3 {
		c := dialed(t, at)
		io.WriteString(c, "hello")
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		sockettest.Eventually(t, "the next address", func() bool {
			lines := strings.Split(strings.TrimSpace(r.stderr.String()), "\n")
			if len(lines) != i+2 {
				return false
			}
			_, at, _ = strings.Cut(lines[i+1], "listening on ")
			return true
		})
	}
	r.ended(t)
}

// A proxy that does not answer keeps no signal from ending the command.
func TestServeProxySignal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, command := range [][]string{nil, {"--", "cat"}} {
		r := start(nil, append([]string{"serve", "--proxy", "socks5://" + l.Addr().String(), "tcp::0"}, command...)...)
		c, err := l.Accept() // it has come, and waits
		if err != nil {
			t.Fatal(err)
		}
		r.signals <- os.Interrupt
		r.ends(t, 130)
		c.Close()
		if said := r.stderr.String(); said != "" {
			t.Errorf("it says %q", said)
		}
	}
}

// A proxy's time-out has the same exit status for who listens as for who connects, and says whose it is.
func TestProxyTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := start(nil, "connect", "--proxy", "http://"+l.Addr().String(), "tcp:machine.example:80")
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 504 Gateway Timeout\r\n\r\n")
	r.ends(t, exitTimeout)
	if said := r.stderr.String(); !strings.Contains(said, "the proxy http://"+l.Addr().String()) {
		t.Errorf("it says %q", said)
	}

	p, err := proxy.Parse("socks5://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	passed, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	o := listenOptions{maxPending: -1, proxy: p}
	_, err = o.listen(passed, new(voice), address{kind: tcpPort, port: 80})
	if !errors.Is(err, sock.ProxyConnectionTimeoutError) || statusOf(err) != exitTimeout {
		t.Errorf("status %d: %v", statusOf(err), err)
	}
}

// With once there is one binding, and one client.
func TestServeProxyOnce(t *testing.T) {
	proxy := startProxy(t, "", "")
	r := start(strings.NewReader("hello"), "serve", "-v", "--proxy", "socks5://"+proxy, "tcp::0")
	c := dialed(t, r.listening(t))
	from := c.LocalAddr().String()
	if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	c.Close()
	r.ends(t, 0)
	if said := r.stderr.String(); strings.Count(said, "listening on") != 1 || !strings.Contains(said, "connected ("+from+")") {
		t.Errorf("it says %q, and not that %s has come", said, from)
	}
}

// A bridge reaches TO through a proxy, by splicing, too.
func TestBridgeProxy(t *testing.T) {
	proxy := startProxy(t, "", "")
	srv, at := serverOf(t, "tcp")
	r := start(nil, "bridge", "-v", "--proxy", "socks5://"+proxy, sockettest.Name(t), "tcp:machine.example:"+port(at))
	result := make(chan error, 1)
	c := dialed(t, r.listening(t))
	go func() { result <- sendAndHear(c, 1<<20) }()
	echoing := accepted(t, srv)
	io.Copy(echoing, struct{ io.Reader }{echoing})
	echoing.Close()
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(sockettest.Long()):
		t.Fatal("nothing comes back")
	}
	r.ended(t)
	if srv.(*tcp.Server).HasPendingConnections() {
		t.Error("there is another connection")
	}
}
