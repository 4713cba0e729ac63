package proxy_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"anteroom/proxy"
)

// A socksServer is a SOCKS5 proxy on the loopback interface, for CONNECT and BIND. It shares no code with what it tests.
type socksServer struct {
	listener net.Listener
	all      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]bool
	binds  int
}

// startSocksServer starts a proxy. Whoever starts it closes it.
func startSocksServer() (*socksServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &socksServer{listener: l, open: make(map[io.Closer]bool)}
	s.keep(l)
	s.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if s.keep(c) {
				s.all.Go(func() {
					defer s.drop(c)
					s.serve(c.(*net.TCPConn))
				})
			}
		}
	})
	return s, nil
}

// proxy returns what a client needs to know.
func (s *socksServer) proxy() proxy.Proxy {
	at := s.listener.Addr().(*net.TCPAddr)
	return proxy.Proxy{Type: proxy.Socks5Proxy, HostName: at.IP.String(), Port: uint16(at.Port)}
}

// bindings returns how many bindings were asked for so far.
func (s *socksServer) bindings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.binds
}

// Close ends everything, and waits for that.
func (s *socksServer) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}

// keep makes Close close c, and reports whether there was no Close yet.
func (s *socksServer) keep(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.open[c] = true
	return true
}

func (s *socksServer) drop(c io.Closer) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *socksServer) serve(c *net.TCPConn) {
	r := bufio.NewReader(c)
	hello := make([]byte, 2)
	if _, err := io.ReadFull(r, hello); err != nil || hello[0] != 5 {
		return
	}
	if _, err := r.Discard(int(hello[1])); err != nil {
		return
	}
	c.Write([]byte{5, 0})
	command, to, err := readRequest(r)
	if err != nil {
		return
	}
	switch command {
	case 1:
		peer, err := net.Dial("tcp", to)
		if err != nil {
			c.Write(socksReply(5, netip.AddrPort{}))
			return
		}
		s.relay(r, c, peer.(*net.TCPConn), 0)
	case 2:
		s.mu.Lock()
		s.binds++
		s.mu.Unlock()
		_, port, _ := net.SplitHostPort(to)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			c.Write(socksReply(1, netip.AddrPort{}))
			return
		}
		if !s.keep(l) {
			return
		}
		c.Write(socksReply(0, l.Addr().(*net.TCPAddr).AddrPort()))
		peer, err := l.Accept()
		s.drop(l)
		if err != nil {
			return
		}
		s.relay(r, c, peer.(*net.TCPConn), 1)
	}
}

// relay says that the peer is there, with its address (which: 1) or ours (0), and carries bytes both ways until both have ended.
func (s *socksServer) relay(r io.Reader, c, peer *net.TCPConn, which int) {
	if !s.keep(peer) {
		return
	}
	defer s.drop(peer)
	c.Write(socksReply(0, []net.Addr{peer.LocalAddr(), peer.RemoteAddr()}[which].(*net.TCPAddr).AddrPort()))
	var ways sync.WaitGroup
	ways.Go(func() { io.Copy(c, peer); c.CloseWrite() })
	io.Copy(peer, r)
	peer.CloseWrite()
	ways.Wait()
}

// readRequest reads a request, and returns its command and its address.
func readRequest(r io.Reader) (command byte, addr string, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, "", err
	}
	n := map[byte]int{1: 4, 4: 16}[head[3]]
	if head[3] == 3 {
		one := make([]byte, 1)
		if _, err := io.ReadFull(r, one); err != nil {
			return 0, "", err
		}
		n = int(one[0])
	}
	rest := make([]byte, n+2)
	if _, err := io.ReadFull(r, rest); err != nil {
		return 0, "", err
	}
	host := string(rest[:n])
	if head[3] != 3 {
		ip, ok := netip.AddrFromSlice(rest[:n])
		if !ok {
			return 0, "", errors.New("no address")
		}
		host = ip.String()
	}
	return head[1], net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(rest[n:])))), nil
}

// socksReply returns a reply; the zero address is 0.0.0.0:0.
func socksReply(code byte, addr netip.AddrPort) []byte {
	ip, kind := addr.Addr(), byte(1)
	if !ip.IsValid() {
		ip = netip.IPv4Unspecified()
	}
	if ip = ip.Unmap(); ip.Is6() {
		kind = 4
	}
	return binary.BigEndian.AppendUint16(append([]byte{5, code, 0, kind}, ip.AsSlice()...), addr.Port())
}
