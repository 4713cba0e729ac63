//go:build linux

package proxy_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

// reachable listens with a tcp.Server through danted, and checks that the server says the proxy's address.
func reachable(t *testing.T, srv *tcp.Server) {
	t.Helper()
	must(t, srv.Listen(netip.Addr{}, 0))
	t.Cleanup(func() { srv.Close() })
	if !srv.IsListening() || srv.ServerAddress().String() != proxyHost || srv.ServerPort() == 0 {
		t.Fatalf("listening %v, at %v port %d; want an address of %s", srv.IsListening(), srv.ServerAddress(), srv.ServerPort(), proxyHost)
	}
}

// visits makes a peer come to a server, and checks the connection that take returns.
func visits(t *testing.T, srv *tcp.Server, take func() *tcp.Socket) {
	t.Helper()
	peer, _ := dialAsPeer(t, srv)
	io.WriteString(peer, greeting)
	s := take()
	if s == nil {
		t.Fatal("there is no connection")
	}
	defer s.Abort()
	if from := netip.AddrPortFrom(s.PeerAddress(), s.PeerPort()).String(); from != peer.LocalAddr().String() || s.RemoteAddr().String() != from {
		t.Errorf("from %s, %v; want %v", from, s.RemoteAddr(), peer.LocalAddr())
	}
	if d := s.SocketDescriptor(); d.IsValid() {
		t.Error("there is a native handle: it is the proxy's")
	}
	ended := sockettest.Go(func() error {
		_, err := io.Copy(s, s)
		s.CloseWrite()
		return err
	})
	converse(t, peer)
	must(t, peer.CloseWrite())
	must(t, sockettest.Done(t, "the connection ends", ended))
}

func TestServerThroughDanted(t *testing.T) {
	p := startDanted(t, "none", "bind")
	var srv tcp.Server
	srv.SetProxy(p.Proxy)
	reachable(t, &srv)
	visits(t, &srv, func() *tcp.Socket {
		c, err := srv.Accept()
		must(t, err)
		return c.(*tcp.Socket)
	})
	for range 2 {
		visits(t, &srv, func() *tcp.Socket {
			must(t, srv.WaitForNewConnection(sockettest.Long()))
			return srv.NextPendingConnection()
		})
	}
	accepted := sockettest.Go(func() error { _, err := srv.Accept(); return err })
	must(t, srv.Close())
	if err := sockettest.Done(t, "Accept returns", accepted); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v; want net.ErrClosed", err)
	}
	reachable(t, &srv) // again
}

func TestServerThroughTheApplicationProxy(t *testing.T) {
	p := startDanted(t, "username", "bind")
	proxy.SetApplicationProxy(as(p.Proxy, password))
	t.Cleanup(func() { proxy.SetApplicationProxy(proxy.Proxy{}) })
	var srv tcp.Server
	reachable(t, &srv)
	visits(t, &srv, func() *tcp.Socket {
		c, err := srv.AcceptContext(long(t))
		must(t, err)
		return c
	})
	var direct tcp.Server
	defer direct.Close()
	must(t, direct.Listen(netip.MustParseAddr("127.0.0.1"), 0)) // loopback is this host, whatever proxy is set
	if got := direct.ServerAddress().String(); got != "127.0.0.1" {
		t.Errorf("the loopback address has become %s", got)
	}
}

func TestServerThatAProxyRefuses(t *testing.T) {
	danted, tinyproxy := startDanted(t, "none", "connect"), startTinyproxy(t, "")
	for _, tt := range []struct {
		p    proxy.Proxy
		want sock.SocketError
	}{{danted.Proxy, sock.SocketAccessError}, {tinyproxy.Proxy, sock.UnsupportedSocketOperationError}} {
		var srv tcp.Server
		srv.SetProxy(tt.p)
		err := srv.Listen(netip.Addr{}, 0)
		if !errors.Is(err, tt.want) || srv.ServerError() != tt.want || srv.IsListening() {
			t.Errorf("%v: %v, %s, listening %v; want %s", tt.p, err, srv.ServerError().Name(), srv.IsListening(), tt.want.Name())
		}
		srv.Close()
	}
}

func TestServerWhoseProxyIsStartedAgain(t *testing.T) {
	p := startDanted(t, "none", "bind")
	var srv tcp.Server
	srv.SetProxy(p.Proxy)
	reachable(t, &srv)
	take := func() *tcp.Socket {
		c, err := srv.AcceptContext(long(t))
		must(t, err)
		return c
	}
	visits(t, &srv, take)
	p.stop()
	p.start()
	visits(t, &srv, take)
}

func TestSocketThroughAProxy(t *testing.T) {
	danted, tinyproxy := startDanted(t, "username", "connect"), startTinyproxy(t, "BasicAuth "+user+" "+password)
	at := netip.MustParseAddrPort(listenAsPeer(t, peerHost, greet))
	for _, p := range []proxy.Proxy{as(danted.Proxy, password), as(tinyproxy.Proxy, password)} {
		for _, host := range []string{peerHost, peerName} {
			var s tcp.Socket
			s.SetProxy(p)
			must(t, s.ConnectToHost(host, at.Port(), 0))
			must(t, s.WaitForConnected(sockettest.Long()))
			if s.PeerName() != host || s.PeerPort() != at.Port() {
				t.Errorf("%s through %v: the peer is %s port %d", host, p, s.PeerName(), s.PeerPort())
			}
			if host == peerHost && s.PeerAddress() != at.Addr() {
				t.Errorf("%s through %v: the peer's address is %v", host, p, s.PeerAddress())
			}
			converse(t, &s)
			must(t, s.Close())
		}
		var s tcp.Socket
		s.SetProxy(as(p, "wrong"))
		must(t, s.ConnectToHost(peerHost, at.Port(), 0))
		if err := s.WaitForConnected(sockettest.Long()); !errors.Is(err, sock.ProxyAuthenticationRequiredError) || s.State() != sock.UnconnectedState {
			t.Errorf("with a wrong password: %v, %v", err, s.State())
		}
	}
}
