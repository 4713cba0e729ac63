package tcp_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/tcp"
)

// A fakeProxy is a small SOCKS5 server on 127.0.0.1, which binds there, whatever address it is asked for.
type fakeProxy struct {
	proxy.Proxy
	binds    atomic.Int64 // requests to bind, refused ones included
	granted  atomic.Int64
	waiting  atomic.Int64 // bindings that no peer has come to yet
	connects atomic.Int64
	arrived  sync.Map     // the addresses of the peers that have come
	refuse   atomic.Int32 // what bindings are answered with; 0: they are granted

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]bool
}

// socks starts a proxy that ends with the test.
func socks(t testing.TB) *fakeProxy {
	t.Helper()
	p := &fakeProxy{open: make(map[io.Closer]bool)}
	p.Proxy = serveEach(t, func(c *net.TCPConn) { p.serve(c) })
	t.Cleanup(p.close) // before those who serve are waited for
	return p
}

// serveEach starts what shall be a SOCKS5 proxy: serve is called for each client, whose connection is closed then. When the test ends, it waits for all of them.
func serveEach(t testing.TB, serve func(*net.TCPConn)) proxy.Proxy {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	return proxy.Proxy{Type: proxy.Socks5Proxy, HostName: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port)}
}

// setApplicationProxy sets the program's proxy until the test ends.
func setApplicationProxy(t testing.TB, p proxy.Proxy) {
	old := proxy.ApplicationProxy()
	proxy.SetApplicationProxy(p)
	t.Cleanup(func() { proxy.SetApplicationProxy(old) })
}

func (p *fakeProxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
}

// keep has c closed when the proxy is, and returns a function that closes it before.
func (p *fakeProxy) keep(c io.Closer) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = true
	if p.closed {
		c.Close()
	}
	return func() {
		p.mu.Lock()
		delete(p.open, c)
		p.mu.Unlock()
		c.Close()
	}
}

func (p *fakeProxy) serve(c *net.TCPConn) {
	defer p.keep(c)()
	var b [256]byte
	if _, err := io.ReadFull(c, b[:2]); err != nil || b[0] != 5 {
		return
	}
	if _, err := io.ReadFull(c, b[:b[1]]); err != nil {
		return
	}
	c.Write([]byte{5, 0})
	if _, err := io.ReadFull(c, b[:4]); err != nil {
		return
	}
	command := b[1]
	var host string
	size := 0
	switch b[3] {
	case 1:
		size = 4
	case 4:
		size = 16
	case 3:
		if _, err := io.ReadFull(c, b[:1]); err != nil {
			return
		}
		size = int(b[0])
	}
	name := b[3] == 3
	if _, err := io.ReadFull(c, b[:size+2]); err != nil {
		return
	}
	if host = string(b[:size]); !name {
		ip, _ := netip.AddrFromSlice(b[:size])
		host = ip.String()
	}
	port := strconv.Itoa(int(binary.BigEndian.Uint16(b[size:])))
	switch command {
	case 1:
		p.connects.Add(1)
		p.connect(c, net.JoinHostPort(host, port))
	case 2:
		p.binds.Add(1)
		p.bind(c, port)
	default:
		reply(c, 7, nil)
	}
}

// reply answers a request.
func reply(c net.Conn, code byte, at net.Addr) {
	b := []byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0}
	if at, ok := at.(*net.TCPAddr); ok {
		ap := at.AddrPort()
		if ip := ap.Addr().Unmap(); ip.Is4() {
			copy(b[4:], ip.AsSlice())
		} else {
			b = append(append(b[:3], 4), ip.AsSlice()...)
			b = append(b, 0, 0)
		}
		binary.BigEndian.PutUint16(b[len(b)-2:], ap.Port())
	}
	c.Write(b)
}

func (p *fakeProxy) connect(c *net.TCPConn, to string) {
	peer, err := net.Dial("tcp", to)
	if err != nil {
		reply(c, 5, nil)
		return
	}
	defer p.keep(peer)()
	reply(c, 0, peer.LocalAddr())
	relay(c, peer.(*net.TCPConn))
}

func (p *fakeProxy) bind(c *net.TCPConn, port string) {
	if code := p.refuse.Load(); code != 0 {
		reply(c, byte(code), nil)
		return
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		reply(c, 1, nil)
		return
	}
	closeListener := p.keep(l)
	reply(c, 0, l.Addr())
	p.granted.Add(1)
	p.waiting.Add(1)
	watched := make(chan struct{})
	go func() { // the end of the control connection is the end of the binding; nothing else comes before the peer
		defer close(watched)
		if _, err := c.Read(make([]byte, 1)); !os.IsTimeout(err) {
			l.Close()
		}
	}()
	peer, err := l.Accept()
	p.waiting.Add(-1)
	closeListener()
	c.SetReadDeadline(time.Unix(1, 0))
	<-watched
	c.SetReadDeadline(time.Time{})
	if err != nil {
		return
	}
	defer p.keep(peer)()
	p.arrived.Store(peer.RemoteAddr().String(), true)
	reply(c, 0, peer.RemoteAddr())
	relay(c, peer.(*net.TCPConn))
}

// relay copies both ways until both ends have ended.
func relay(a, b *net.TCPConn) {
	var both sync.WaitGroup
	for _, ends := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		both.Go(func() {
			if _, err := sockettest.Copy(ends[0], ends[1]); err != nil { // reset: the other end learns that, too
				ends[0].Close()
				ends[1].Close()
			}
			ends[0].CloseWrite()
		})
	}
	both.Wait()
}

// visit has c connect to a server that listens through the proxy. The system would queue, and then reset, a second peer of one binding, so
// it waits for a binding first, and then for the proxy.
func (p *fakeProxy) visit(t testing.TB, c *tcp.Socket, srv *tcp.Server) {
	t.Helper()
	sockettest.Eventually(t, "the proxy listens", func() bool { return p.waiting.Load() > 0 })
	must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
	must(t, c.WaitForConnected(sockettest.Long()))
	sockettest.Eventually(t, "the proxy has met the client", func() bool {
		_, ok := p.arrived.Load(c.LocalAddr().String())
		return ok
	})
}
