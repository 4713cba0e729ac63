package proxy_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
)

// A binder is a fake proxy whose bindings the test controls.
type binder struct {
	*fake
	requests chan string // what each BIND asked for, after version, command and 0
	bindings chan *fakeConn
	reply    func(n int, c *fakeConn) bool // answers the n-th BIND; false: close, or go on otherwise
}

// startBinder starts a proxy; reply nil grants each binding, at 10.0.0.1:4000.
func startBinder(t testing.TB, reply func(n int, c *fakeConn) bool) *binder {
	b := &binder{requests: make(chan string, 1000), bindings: make(chan *fakeConn, 1000), reply: reply}
	b.fake = startFake(t, func(n int, c *fakeConn) bool {
		c.read(3)
		c.Write([]byte{5, 0})
		request := make([]byte, 10)
		if _, err := io.ReadFull(c, request); err != nil {
			return false
		}
		b.requests <- string(request[3:])
		if b.reply != nil && !b.reply(n, c) {
			return false
		}
		if b.reply == nil {
			grant(c)
		}
		b.bindings <- c
		return true
	})
	return b
}

func grant(c *fakeConn) bool {
	_, err := c.Write(socksReply(0, at))
	return err == nil
}

func deny(c *fakeConn, code byte) bool {
	c.Write(socksReply(code, netip.AddrPort{}))
	return false
}

// next waits for the next binding.
func (b *binder) next(t testing.TB) *fakeConn {
	t.Helper()
	return sockettest.Done(t, "there is a binding", b.bindings)
}

// come makes a peer come to the binding, and say something.
func (c *fakeConn) come() { c.Write(append(socksReply(0, from), "payload"...)) }

func TestNoMoreThanOneWaitsForAccept(t *testing.T) {
	b := startBinder(t, nil)
	l := listen(t, b.socks(), ":0")
	b.next(t).come()
	sockettest.Stays(t, "there is no second binding before the first Accept", func() bool { return len(b.bindings) == 0 })
	accept(t, l)
	b.next(t).come()
	b.next(t).come() // the new binding came before anybody has accepted
	sockettest.Stays(t, "there is no fourth binding", func() bool { return len(b.bindings) == 0 })
	accept(t, l)
	b.next(t)
	c := accept(t, l)
	got := make([]byte, 7)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "payload" {
		t.Errorf("read %q, %v", got, err)
	}
	sockettest.Stays(t, "there is no fifth binding", func() bool { return len(b.bindings) == 0 })
}

func TestRebindAsksForTheSamePortAndElseForAny(t *testing.T) {
	b := startBinder(t, func(n int, c *fakeConn) bool {
		switch n {
		case 1:
			return deny(c, 1)
		case 2:
			_, err := c.Write(socksReply(0, netip.MustParseAddrPort("10.0.0.1:5000")))
			return err == nil
		}
		return grant(c)
	})
	l := listen(t, b.socks(), "10.0.0.1:0")
	b.next(t).come()
	c := accept(t, l)
	second := b.next(t)
	sockettest.Eventually(t, "the address is the new one", func() bool { return l.Addr().String() == "10.0.0.1:5000" })
	if got := c.LocalAddr().String(); got != at.String() {
		t.Errorf("the first connection came to %s; want %v", got, at)
	}
	second.come()
	if c := accept(t, l); c.LocalAddr().String() != "10.0.0.1:5000" {
		t.Errorf("the second connection came to %v", c.LocalAddr())
	}
	b.next(t)
	sockettest.Eventually(t, "the address is the first one again", func() bool { return l.Addr().String() == at.String() })
	const host = "\x01\x0a\x00\x00\x01"
	for _, want := range []string{host + "\x00\x00", host + "\x0f\xa0", host + "\x00\x00", host + "\x0f\xa0"} {
		if got := <-b.requests; got != want {
			t.Errorf("asked for % x; want % x", got, want)
		}
	}
}

func TestRebindIsTriedAgain(t *testing.T) {
	b := startBinder(t, func(n int, c *fakeConn) bool {
		if n >= 1 && n <= 3 {
			return false // closes
		}
		if n == 4 || n == 5 { // 5 asks for any port
			return deny(c, 1)
		}
		return grant(c)
	})
	l := listen(t, b.socks(), ":0")
	b.next(t).come()
	accept(t, l)
	b.next(t).come()
	accept(t, l)
	if n := len(b.requests); n < 7 {
		t.Errorf("there were %d requests", n)
	}
}

func TestRebindFailsForGoodWhenTheProxyIsGone(t *testing.T) {
	proxy.SetRetryFor(t, sockettest.Scale(300*time.Millisecond)) // enough for one try
	b := startBinder(t, nil)
	l := listen(t, b.socks(), ":0")
	b.next(t).come()
	accept(t, l)
	second := b.next(t)
	b.listener.Close()
	second.come()
	sockettest.Eventually(t, "the listener has given up", func() bool {
		select {
		case <-proxy.Ended(l):
			return true
		default:
			return false
		}
	})
	accept(t, l) // came before
	for range 2 {
		if e := wantCode(t, refused(t, accepting(l)), sock.ProxyConnectionRefusedError); e.Op != "accept" || e.Addr.String() != b.listener.Addr().String() {
			t.Errorf("%v: %q %v", e, e.Op, e.Addr)
		}
	}
}

func TestRebindFailsForGoodWhenTheProxyIsMute(t *testing.T) {
	proxy.SetRetryFor(t, 30*time.Millisecond)
	b := startBinder(t, func(n int, c *fakeConn) bool {
		if n > 0 {
			c.gone()
			return false
		}
		return grant(c)
	})
	l := listen(t, b.socks(), ":0")
	b.next(t).come()
	accept(t, l)
	wantCode(t, refused(t, accepting(l)), sock.ProxyConnectionTimeoutError, sock.SocketTimeoutError, os.ErrDeadlineExceeded, context.DeadlineExceeded)
}

func TestRebindFailsAtOnceWhenTheProxyRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		reply func(c *fakeConn) bool
		want  sock.SocketError
	}{
		"not allowed": {func(c *fakeConn) bool { return deny(c, 2) }, sock.SocketAccessError},
		"unsupported": {func(c *fakeConn) bool { return deny(c, 7) }, sock.UnsupportedSocketOperationError},
		"nonsense":    {func(c *fakeConn) bool { io.WriteString(c, "nonsense"); return false }, sock.ProxyProtocolError},
	} {
		b := startBinder(t, func(n int, c *fakeConn) bool {
			if n > 0 {
				return tt.reply(c)
			}
			return grant(c)
		})
		l := listen(t, b.socks(), ":0")
		b.next(t).come()
		accept(t, l)
		err := refused(t, accepting(l))
		wantCode(t, err, tt.want)
		if n := len(b.requests); n > 3 { // the first, the same port, any port
			t.Errorf("%s: there were %d requests", name, n)
		}
	}
	t.Run("authentication", func(t *testing.T) {
		f := startFake(t, func(n int, c *fakeConn) bool {
			if n > 0 {
				c.read(3)
				c.Write([]byte{5, 0xff})
				return false
			}
			c.greet()
			grant(c)
			c.come()
			return true
		})
		l := listen(t, f.socks(), ":0")
		accept(t, l)
		wantCode(t, refused(t, accepting(l)), sock.ProxyAuthenticationRequiredError)
	})
}

func TestABindingThatTheProxyEndsIsFollowedByAnother(t *testing.T) {
	for name, end := range map[string]func(c *fakeConn){
		"timed out":   func(c *fakeConn) { c.Write(socksReply(6, netip.AddrPort{})) },
		"not allowed": func(c *fakeConn) { c.Write(socksReply(2, netip.AddrPort{})) },
		"unknown":     func(c *fakeConn) { c.Write(socksReply(200, netip.AddrPort{})) },
		"closed":      func(c *fakeConn) { c.Close() },
		"cut":         func(c *fakeConn) { c.Write([]byte{5, 0, 0, 1}); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			b := startBinder(t, nil)
			c := accepting(listen(t, b.socks(), ":0"))
			for range 3 {
				end(b.next(t))
			}
			b.next(t).come()
			accepted(t, c)
		})
	}
}

func TestNonsenseInThePlaceOfAPeerIsTheEnd(t *testing.T) {
	b := startBinder(t, nil)
	l := listen(t, b.socks(), ":0")
	io.WriteString(b.next(t), "nonsense")
	wantCode(t, refused(t, accepting(l)), sock.ProxyProtocolError)
}

// closed checks that nothing is left of a listener after Close.
func closed(t *testing.T, l *proxy.Listener, accept <-chan result, conns ...*fakeConn) {
	t.Helper()
	done := sockettest.Go(l.Close)
	if err := sockettest.Done(t, "Close returns", done); err != nil {
		t.Errorf("Close: %v", err)
	}
	if accept != nil {
		wantCode(t, refused(t, accept), sock.OperationError, net.ErrClosed)
	}
	wantCode(t, refused(t, accepting(l)), sock.OperationError, net.ErrClosed)
	for i, c := range conns {
		ended := sockettest.Go(func() error { _, err := io.Copy(io.Discard, c); return err })
		sockettest.Done(t, "connection "+string(rune('0'+i))+" is closed", ended)
	}
	if l.Addr() == nil {
		t.Error("there is no address any more")
	}
}

func TestCloseAtEachStage(t *testing.T) {
	t.Run("waiting for a peer", func(t *testing.T) {
		b := startBinder(t, nil)
		l := listen(t, b.socks(), ":0")
		a := accepting(l)
		closed(t, l, a, b.next(t))
	})
	t.Run("within the second reply", func(t *testing.T) {
		b := startBinder(t, nil)
		l := listen(t, b.socks(), ":0")
		c := b.next(t)
		c.Write([]byte{5, 0, 0})
		closed(t, l, accepting(l), c)
	})
	t.Run("with connections that nobody has accepted", func(t *testing.T) {
		b := startBinder(t, nil)
		l := listen(t, b.socks(), ":0")
		b.next(t).come()
		accept(t, l)
		second := b.next(t)
		second.come()
		third := b.next(t)
		third.come()
		closed(t, l, nil, second, third)
	})
	t.Run("before the first Accept", func(t *testing.T) {
		b := startBinder(t, nil)
		l := listen(t, b.socks(), ":0")
		first := b.next(t)
		first.come()
		closed(t, l, nil, first)
	})
	t.Run("while the proxy is mute", func(t *testing.T) {
		mute := make(chan *fakeConn, 1)
		b := startBinder(t, func(n int, c *fakeConn) bool {
			if n > 0 {
				mute <- c
				return true
			}
			return grant(c)
		})
		l := listen(t, b.socks(), ":0")
		b.next(t).come()
		accept(t, l)
		closed(t, l, accepting(l), sockettest.Done(t, "the listener binds anew", mute))
	})
	t.Run("between two tries", func(t *testing.T) {
		b := startBinder(t, nil)
		l := listen(t, b.socks(), ":0")
		c := b.next(t)
		b.listener.Close()
		c.come()
		accept(t, l)
		closed(t, l, accepting(l))
	})
	t.Run("from many goroutines", func(t *testing.T) {
		b := startBinder(t, nil)
		l := listen(t, b.socks(), ":0")
		var all sync.WaitGroup
		var taken atomic.Int32
		for range 4 {
			all.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					taken.Add(1)
					c.Close()
				}
			})
		}
		for range 20 {
			b.next(t).come()
		}
		for range 2 {
			all.Go(func() { l.Close() })
		}
		all.Wait()
		if n := taken.Load(); n < 18 || n > 20 {
			t.Errorf("%d of 20 were accepted", n)
		}
	})
}
