package local_test

import (
	"sync/atomic"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"golang.org/x/sys/unix"
)

// accepted returns a socket that a server on the loops of g has accepted, whose sockets tell h if that is not nil, and its client. Nobody has
// asked it for more than callbacks yet, so that it has little memory of its own.
func accepted(t testing.TB, g *loop.Group, h *local.Handler) (c, peer *local.Socket) {
	t.Helper()
	srv := new(local.Server)
	srv.SetLoops(g)
	if h != nil {
		srv.SetHandler(*h)
	}
	listenWith(t, srv)
	peer = dial(t, srv)
	return next(t, srv), peer
}

// Whoever takes a connection over is told of what others have left: of all, of a part, or of what came while they read.
func TestLoopOnReadyReadAfterOthers(t *testing.T) {
	for name, first := range map[string]func(c, peer *local.Socket){
		"who has read nothing": func(*local.Socket, *local.Socket) {},
		"who has read a part":  func(c, _ *local.Socket) { c.ReadAvailable(make([]byte, 4)) },
		"who has buffered more": func(c, peer *local.Socket) {
			c.ReadAvailable(make([]byte, 100))
			peer.Write([]byte("rest"))
			c.BytesAvailable()
		},
	} {
		for _, handler := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", a handler"}[handler], func(t *testing.T) {
				g := runLoops(t, 1)
				var peer atomic.Pointer[local.Socket]
				var once atomic.Bool
				told := make(chan struct{})
				tell := func(c *local.Socket) {
					if !once.Swap(true) {
						first(c, peer.Load())
						close(told)
					}
				}
				var h *local.Handler
				if handler {
					h = &local.Handler{ReadyRead: tell}
				}
				c, p := accepted(t, g, h)
				peer.Store(p)
				stop := func() {}
				if !handler {
					stop = c.OnReadyRead(func() { tell(c) })
				}
				p.Write([]byte("headrest"))
				sockettest.Done(t, "the first is told", told)
				onLoop(t, g.Next(), func() {})
				stop()
				second := make(chan struct{}, 10)
				c.OnReadyRead(func() { second <- struct{}{} })
				sockettest.Done(t, "the second is told", second)
			})
		}
	}
}

// What a callback buffers after it has read all that it was told of is told of.
func TestLoopBufferedAfterAPlainRead(t *testing.T) {
	for _, handler := range []bool{false, true} {
		t.Run(map[bool]string{true: "handler", false: "callback"}[handler], func(t *testing.T) {
			g := runLoops(t, 1)
			got := make(chan string, 10)
			var peer atomic.Pointer[local.Socket]
			var once atomic.Bool
			read := func(c *local.Socket) {
				got <- string(readSome(c))
				if !once.Swap(true) {
					peer.Load().Write([]byte("more"))
					c.BytesAvailable()
				}
			}
			var h *local.Handler
			if handler {
				h = &local.Handler{ReadyRead: read}
			}
			c, p := accepted(t, g, h)
			peer.Store(p)
			if !handler {
				c.OnReadyRead(func() { read(c) })
			}
			p.Write([]byte("one"))
			wantRead(t, got, "onemore")
		})
	}
}

// Who reads just what was buffered is told of what the system still has.
func TestLoopReadOfJustWhatIsBuffered(t *testing.T) {
	for name, read := range map[string]func(c *local.Socket, n int) string{
		"ReadAvailable": func(c *local.Socket, n int) string {
			b := make([]byte, n)
			n, _ = c.ReadAvailable(b)
			return string(b[:n])
		},
		"Read": func(c *local.Socket, n int) string {
			b := make([]byte, n)
			n, _ = c.Read(b)
			return string(b[:n])
		},
		"ReadLine": func(c *local.Socket, n int) string {
			b, _ := c.ReadLine(n)
			return string(b)
		},
		"Skip": func(c *local.Socket, n int) string {
			b, _ := c.Peek(n)
			skipped, _ := c.Skip(int64(len(b)))
			return string(b[:skipped])
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := accepted(t, runLoops(t, 1), nil)
			got := make(chan string, 10)
			sizes := []int{1, 2} // of the three bytes that are buffered at first
			c.OnReadyRead(func() {
				n := 100
				if len(sizes) == 2 {
					c.Peek(3)
				}
				if len(sizes) > 0 {
					n, sizes = sizes[0], sizes[1:]
				}
				got <- read(c, n)
			})
			peer.Write([]byte("0123456789"))
			wantRead(t, got, "0123456789")
		})
	}
}

// What a callback buffers, an earlier one that waits for it is told of, whoever found the bytes first.
func TestLoopBufferedByALaterCallback(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		t.Run(map[bool]string{true: "found elsewhere", false: "found by the loop"}[elsewhere], func(t *testing.T) {
			l := newLoop(t)
			run(t, l)
			c, peer := loopPair(t, l)
			line := make(chan string, 1)
			var once atomic.Bool
			c.OnReadyRead(func() {
				if c.CanReadLine() {
					b, _ := c.ReadLine(0)
					line <- string(b)
				} else if !once.Swap(true) {
					peer.Write([]byte("tial\n"))
				}
			})
			c.OnReadyRead(func() { c.BytesAvailable() })
			release := busy(t, l)
			peer.Write([]byte("par"))
			if elsewhere {
				c.BytesAvailable()
			}
			release()
			if s := sockettest.Done(t, "the line is read", line); s != "partial\n" {
				t.Errorf("the line is %q", s)
			}
		})
	}
}

// That there is an urgent byte, at which reads stop, is known also if nobody listened when it came.
func TestLoopBytesBehindAnUrgentOneThatNobodyHeard(t *testing.T) {
	g := runLoops(t, 1)
	c, peer := accepted(t, g, nil)
	raw, err := peer.SyscallConn()
	must(t, err)
	peer.Write([]byte("before"))
	must(t, raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }))
	if err != nil {
		t.Skip("needs a system whose Unix-domain sockets know urgent bytes:", err)
	}
	peer.Write([]byte("after>"))
	for range 2 {
		onLoop(t, g.Next(), func() {})
	}
	wantRead(t, readings(c), "beforeafter>")
}
