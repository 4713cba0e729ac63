//go:build linux

package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
)

// greeting is what a peer says first: the proxy may send it together with its own answer.
const greeting = "welcome\r\n\r\n"

// greet says the greeting, and sends back what it is sent.
func greet(c net.Conn) {
	io.WriteString(c, greeting)
	io.Copy(c, c)
}

func long(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long())
	t.Cleanup(cancel)
	return ctx
}

// converse says something by way of c, and wants the greeting and that back. It ends nothing: tinyproxy knows no half of a connection.
func converse(t testing.TB, c net.Conn) {
	t.Helper()
	const question = "question"
	if _, err := io.WriteString(c, question); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(greeting+question))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != greeting+question {
		t.Errorf("read %q, %v; want %q", got[:n], err, greeting+question)
	}
}

// connects checks that an address can be reached through a proxy.
func connects(t *testing.T, p proxy.Proxy, addr string) {
	t.Helper()
	c, err := p.DialContext(long(t), "tcp", addr)
	if err != nil {
		t.Errorf("%s through %v: %v", addr, p, err)
		return
	}
	defer c.Close()
	if c.RemoteAddr().String() != addr {
		t.Errorf("the remote address is %v; want %s", c.RemoteAddr(), addr)
	}
	converse(t, c)
}

// fails checks that an address cannot be reached through a proxy, and why.
func fails(t *testing.T, p proxy.Proxy, addr string, want sock.SocketError) {
	t.Helper()
	c, err := p.DialContext(long(t), "tcp", addr)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, want) || sock.CodeOf(err) != want {
		t.Errorf("%s through %v: %v; want %s", addr, p, err, want.Name())
	}
	t.Log(err)
}

// as returns the proxy, asked by our user.
func as(p proxy.Proxy, password string) proxy.Proxy {
	p.User, p.Password = user, password
	return p
}

func port(addr string) string { return addr[strings.LastIndex(addr, ":"):] }

func TestDantedConnects(t *testing.T) {
	s := startDanted(t, "none", "connect")
	at := listenAsPeer(t, peerHost, greet)
	connects(t, s.Proxy, at)
	connects(t, s.Proxy, peerName+port(at))
	connects(t, s.Proxy, listenAsPeer(t, peerHost6, greet))
	connects(t, as(s.Proxy, password), at) // it does not ask
	fails(t, s.Proxy, peerHost+":1", sock.ConnectionRefusedError)
	fails(t, s.Proxy, forbidden+port(at), sock.SocketAccessError)
	fails(t, s.Proxy, "nobody.invalid:80", sock.HostNotFoundError)
	_, err := s.Listen(long(t), ":0") // its rules do not allow it
	if !errors.Is(err, sock.SocketAccessError) {
		t.Errorf("listening: %v; want SocketAccessError", err)
	}
	fails(t, proxy.Proxy{Type: proxy.HttpProxy, HostName: s.HostName, Port: s.Port}, at, sock.ProxyConnectionClosedError)
}

func TestDantedAsksWhoComes(t *testing.T) {
	s := startDanted(t, "username", "connect bind")
	at := listenAsPeer(t, peerHost, greet)
	me := as(s.Proxy, password)
	connects(t, me, at)
	fails(t, as(s.Proxy, "wrong"), at, sock.ProxyAuthenticationRequiredError)
	fails(t, s.Proxy, at, sock.ProxyAuthenticationRequiredError)
	l, err := me.Listen(long(t), ":0")
	must(t, err)
	defer l.Close()
	for range 2 {
		comes(t, l)
	}
}

// comes makes a peer come to a listener, and checks the connection that it accepts.
func comes(t *testing.T, l net.Listener) {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	accepted := sockettest.Go(func() result { c, err := l.Accept(); return result{c, err} })
	var peer *net.TCPConn
	var at string
	var got result
	for got == (result{}) {
		peer, at = dialAsPeer(t, l)
		io.WriteString(peer, greeting)
		// The proxy may have taken it on the last binding's address, which it was about to leave, and sends it away then.
		sentAway := sockettest.Go(func() bool { _, err := peer.Read(make([]byte, 1)); return !errors.Is(err, os.ErrDeadlineExceeded) })
		select {
		case got = <-accepted:
			peer.SetReadDeadline(time.Unix(1, 0))
			<-sentAway
			peer.SetReadDeadline(time.Time{})
		case <-sentAway:
			peer.Close()
		}
	}
	c := got.c
	must(t, got.err)
	defer c.Close()
	if c.RemoteAddr().String() != peer.LocalAddr().String() || c.LocalAddr().String() != at {
		t.Errorf("from %v to %v; want from %v to %s", c.RemoteAddr(), c.LocalAddr(), peer.LocalAddr(), at)
	}
	answered := sockettest.Go(func() error {
		_, err := io.Copy(c, c)
		c.(*proxy.Conn).CloseWrite()
		return err
	})
	converse(t, peer)
	must(t, peer.CloseWrite())
	if got, err := io.ReadAll(peer); err != nil || len(got) != 0 {
		t.Errorf("the peer reads %q, %v; want the end", got, err)
	}
	must(t, sockettest.Done(t, "the connection ends", answered))
}

func TestDantedBinds(t *testing.T) {
	s := startDanted(t, "none", "bind")
	l, err := s.Listen(long(t), ":0")
	must(t, err)
	defer l.Close()
	first := l.Addr().String()
	if host, _, _ := net.SplitHostPort(first); host != proxyHost {
		t.Errorf("the address is %s; want one of %s", first, proxyHost)
	}
	for range 3 {
		comes(t, l)
	}
}

func TestDantedIsStartedAgain(t *testing.T) {
	s := startDanted(t, "none", "bind")
	l, err := s.Listen(long(t), ":0")
	must(t, err)
	defer l.Close()
	comes(t, l)
	s.stop()
	s.start()
	comes(t, l)
}

func TestTinyproxyConnects(t *testing.T) {
	s := startTinyproxy(t, "")
	at := listenAsPeer(t, peerHost, greet)
	connects(t, s.Proxy, at)
	connects(t, s.Proxy, peerName+port(at))
	connects(t, s.Proxy, listenAsPeer(t, peerHost6, greet))
	connects(t, as(s.Proxy, password), at) // it does not ask
	fails(t, s.Proxy, peerHost+":1", sock.NetworkError)
	fails(t, s.Proxy, "nobody.invalid:80", sock.NetworkError)
	// It waits for the end of a line.
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := (proxy.Proxy{Type: proxy.Socks5Proxy, HostName: s.HostName, Port: s.Port}).DialContext(ctx, "tcp", at); !errors.Is(err, sock.ProxyConnectionTimeoutError) {
		t.Errorf("SOCKS5: %v; want ProxyConnectionTimeoutError", err)
	}
}

func TestTinyproxyForbidsPorts(t *testing.T) {
	s := startTinyproxy(t, "ConnectPort 443")
	fails(t, s.Proxy, listenAsPeer(t, peerHost, greet), sock.SocketAccessError)
}

func TestTinyproxyAsksWhoComes(t *testing.T) {
	s := startTinyproxy(t, "BasicAuth "+user+" "+password)
	at := listenAsPeer(t, peerHost, greet)
	connects(t, as(s.Proxy, password), at)
	fails(t, as(s.Proxy, "wrong"), at, sock.ProxyAuthenticationRequiredError)
	fails(t, s.Proxy, at, sock.ProxyAuthenticationRequiredError)
}
