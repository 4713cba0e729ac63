package proxy_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"anteroom/proxy"
	"anteroom/sock"
)

// A transcript is what a proxy says until a connection is made, in answer to how many bytes each.
type transcript struct {
	p     proxy.Proxy
	steps []step
}

type step struct {
	after int // bytes of the client's; 0: the head of a request
	say   string
}

var transcripts = map[string]transcript{
	"SOCKS5 IPv4": {proxy.Proxy{Type: proxy.Socks5Proxy, User: "me", Password: "pw"},
		[]step{{4, "\x05\x02"}, {7, "\x01\x00"}, {10, "\x05\x00\x00\x01\x0a\x00\x00\x01\x10\x00"}}},
	"SOCKS5 IPv6":      {proxy.Proxy{Type: proxy.Socks5Proxy}, []step{{3, "\x05\x00"}, {10, "\x05\x00\x00\x04\xfd" + strings.Repeat("\x00", 14) + "\x01\x10\x00"}}},
	"SOCKS5 name":      {proxy.Proxy{Type: proxy.Socks5Proxy}, []step{{3, "\x05\x00"}, {10, "\x05\x00\x00\x03\x05proxy\x10\x00"}}},
	"SOCKS5 no name":   {proxy.Proxy{Type: proxy.Socks5Proxy}, []step{{3, "\x05\x00"}, {10, "\x05\x00\x07\x03\x00\x10\x00"}}},
	"SOCKS5 long name": {proxy.Proxy{Type: proxy.Socks5Proxy}, []step{{3, "\x05\x00"}, {10, "\x05\x00\x00\x03\xff" + strings.Repeat("\n", 255) + "\x10\x00"}}},
	"HTTP":             {proxy.Proxy{Type: proxy.HttpProxy}, []step{{0, "HTTP/1.1 200 OK\r\nVia: x\r\nContent-Length: 5\r\n\r\n"}}},
	"HTTP bare":        {proxy.Proxy{Type: proxy.HttpProxy}, []step{{0, "HTTP/1.0 204\n\n"}}},
	"HTTP interim":     {proxy.Proxy{Type: proxy.HttpProxy}, []step{{0, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 299 OK\r\n\r\n"}}},
}

func (tr transcript) size() (n int) {
	for _, s := range tr.steps {
		n += len(s.say)
	}
	return n
}

// play says the first n bytes of the transcript, and calls say for what each step adds.
func (tr transcript) play(c *fakeConn, n int, say func(string)) {
	for _, s := range tr.steps {
		if s.after == 0 {
			c.readHead()
		} else {
			c.read(s.after)
		}
		if len(s.say) > n {
			say(s.say[:n])
			return
		}
		say(s.say)
		n -= len(s.say)
	}
}

func (tr transcript) at(f *fake) proxy.Proxy {
	p := f.at(tr.p.Type)
	p.User, p.Password = tr.p.User, tr.p.Password
	return p
}

func TestPayloadInTheSegmentOfTheAnswer(t *testing.T) {
	payload := strings.Repeat("\x05payload\r\n\r\n", 3000)
	for name, tr := range transcripts {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, func(_ int, c *fakeConn) bool {
				said := 0
				tr.play(c, tr.size(), func(s string) {
					if said += len(s); said == tr.size() {
						s += payload
					}
					io.WriteString(c, s)
				})
				return false
			})
			c := dial(t, tr.at(f), "10.0.0.1:80")
			got, err := io.ReadAll(c)
			if err != nil || string(got) != payload {
				t.Errorf("read %d bytes, %v; want %d", len(got), err, len(payload))
			}
		})
	}
}

func TestAnswerByteByByte(t *testing.T) {
	for name, tr := range transcripts {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, func(_ int, c *fakeConn) bool {
				tr.play(c, tr.size(), func(s string) {
					for i := range len(s) {
						io.WriteString(c, s[i:i+1])
					}
				})
				io.WriteString(c, "x")
				return true
			})
			c := dial(t, tr.at(f), "10.0.0.1:80")
			got := make([]byte, 1)
			if _, err := io.ReadFull(c, got); err != nil || got[0] != 'x' {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

// eachOffset runs f for each number of bytes after which a proxy may stop.
func eachOffset(t *testing.T, f func(t *testing.T, tr transcript, n int)) {
	for name, tr := range transcripts {
		t.Run(name, func(t *testing.T) {
			for n := range tr.size() {
				f(t, tr, n)
			}
		})
	}
}

func TestProxyClosesAtAnyByte(t *testing.T) {
	eachOffset(t, func(t *testing.T, tr transcript, n int) {
		f := startFake(t, func(_ int, c *fakeConn) bool {
			tr.play(c, n, func(s string) { io.WriteString(c, s) })
			return false
		})
		_, err := tr.at(f).DialContext(long(t), "tcp", "10.0.0.1:80")
		if e := wantCode(t, err, sock.ProxyConnectionClosedError); e.Timeout() || e.Addr.String() != f.listener.Addr().String() {
			t.Errorf("after %d bytes: %v", n, err)
		}
	})
}

func TestCancelAtAnyByte(t *testing.T) {
	eachOffset(t, func(t *testing.T, tr transcript, n int) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		f := startFake(t, func(_ int, c *fakeConn) bool {
			tr.play(c, n, func(s string) { io.WriteString(c, s) })
			cancel()
			c.gone()
			return false
		})
		_, err := tr.at(f).DialContext(ctx, "tcp", "10.0.0.1:80")
		if e := wantCode(t, err, sock.SocketTimeoutError, context.Canceled); e.Timeout() || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %d bytes: %v is a timeout", n, err)
		}
	})
}

func TestMuteProxyTimesOut(t *testing.T) {
	for name, tr := range transcripts {
		for _, n := range []int{0, 1, tr.size() - 1} {
			f := startFake(t, func(_ int, c *fakeConn) bool {
				tr.play(c, n, func(s string) { io.WriteString(c, s) })
				return true
			})
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			_, err := tr.at(f).DialContext(ctx, "tcp", "10.0.0.1:80")
			cancel()
			e := wantCode(t, err, sock.ProxyConnectionTimeoutError, sock.SocketTimeoutError, os.ErrDeadlineExceeded, context.DeadlineExceeded)
			if !e.Timeout() || !e.Temporary() || errors.Is(err, context.Canceled) {
				t.Errorf("%s, after %d bytes: %v is no timeout", name, n, err)
			}
		}
	}
}
