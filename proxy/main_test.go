package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

// must fails the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantCode fails the test unless err is an *sock.Error with the code, and errors.Is finds all of the targets in it.
func wantCode(t testing.TB, err error, code sock.SocketError, targets ...error) *sock.Error {
	t.Helper()
	e, ok := err.(*sock.Error)
	if !ok {
		t.Fatalf("the error is %v (%T); want a *sock.Error that is %s", err, err, code.Name())
	}
	if e.Code != code || sock.CodeOf(err) != code {
		t.Errorf("the error is %v, which is %s and %s; want %s", err, e.Code.Name(), sock.CodeOf(err).Name(), code.Name())
	}
	for _, target := range append(targets, code) {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %v", err, target)
		}
	}
	return e
}

// long returns a context that only a failing test sees the end of.
func long(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long())
	t.Cleanup(cancel)
	return ctx
}

// A fake is a proxy that follows a script. Its connections are closed when the test ends.
type fake struct {
	t        testing.TB
	listener net.Listener
	all      sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

// startFake starts a proxy that calls script with the number of each connection, from 0, and the connection, in a goroutine of its own. When
// script returns true the connection stays open.
func startFake(t testing.TB, script func(n int, c *fakeConn) (stay bool)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f := &fake{t: t, listener: l}
	f.all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			f.all.Go(func() {
				if !script(n, &fakeConn{c.(*net.TCPConn), t}) {
					c.Close()
				}
			})
		}
	})
	t.Cleanup(f.stop)
	return f
}

// stop closes the proxy and all its connections, and waits for the scripts.
func (f *fake) stop() {
	f.listener.Close()
	f.mu.Lock()
	for _, c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.all.Wait()
}

func (f *fake) at(typ proxy.Type) proxy.Proxy {
	at := f.listener.Addr().(*net.TCPAddr)
	return proxy.Proxy{Type: typ, HostName: at.IP.String(), Port: uint16(at.Port)}
}

func (f *fake) socks() proxy.Proxy { return f.at(proxy.Socks5Proxy) }
func (f *fake) http() proxy.Proxy  { return f.at(proxy.HttpProxy) }

// A fakeConn is a fake proxy's connection.
type fakeConn struct {
	*net.TCPConn
	t testing.TB
}

// expect reads bytes, which must be these.
func (c *fakeConn) expect(want ...byte) bool {
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		c.t.Errorf("the proxy was sent % x, %v; want % x", got[:n], err, want)
		return false
	}
	return true
}

// read reads n bytes, whatever they are.
func (c *fakeConn) read(n int) { io.CopyN(io.Discard, c, int64(n)) }

// readHead reads the head of an HTTP request.
func (c *fakeConn) readHead() string {
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
		if _, err := io.ReadFull(c, one); err != nil {
			break
		}
	}
	return string(head)
}

// gone waits until the other end has closed.
func (c *fakeConn) gone() { io.Copy(io.Discard, c) }

// greet does SOCKS5's first step without authentication, and reads a request that holds an IPv4 address.
func (c *fakeConn) greet() {
	c.read(3)
	c.Write([]byte{5, 0})
	c.read(10)
}

// dial connects through a proxy, and closes the connection when the test ends.
func dial(t testing.TB, p proxy.Proxy, addr string) *proxy.Conn {
	t.Helper()
	c, err := p.DialContext(long(t), "tcp", addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c.(*proxy.Conn)
}
