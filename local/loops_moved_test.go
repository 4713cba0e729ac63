package local_test

import (
	"io"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/sock"
)

// A socket that is moved from a loop that has ended, or never ran, tells on the new one.
func TestLoopIsExchanged(t *testing.T) {
	for name, test := range map[string]struct{ closed, none bool }{
		"closed":            {closed: true},
		"not running":       {},
		"closed, then none": {closed: true, none: true},
		"idle, then none":   {none: true},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := newLoop(t), newLoop(t)
			run(t, second)
			c, peer := loopPair(t, first)
			connected := make(chan struct{}, 10)
			read := make(chan string, 10)
			c.OnConnected(func() { connected <- struct{}{} })
			c.OnReadyRead(func() {
				if !test.none && !second.OnLoop() {
					t.Error("a callback runs elsewhere")
				}
				b := make([]byte, 10)
				n, _ := c.ReadAvailable(b)
				read <- string(b[:n])
			})
			c.WriteBuffered([]byte("x")) // the first loop is to send it, and does not
			if test.closed {
				first.Close()
			}
			c.Abort()
			peer.Close()
			if test.none {
				must(t, c.SetLoop(nil))
			} else {
				must(t, c.SetLoop(second))
			}
			peer = pairWith(t, c, 0)
			sockettest.Done(t, "connected is told", connected)
			peer.Write([]byte("hello"))
			for got := ""; got != "hello"; {
				got += sockettest.Done(t, "readyRead is told", read)
			}
			c.WriteBuffered([]byte("answer"))
			peer.SetReadDeadline(time.Now().Add(sockettest.Long()))
			if _, err := io.ReadFull(peer, make([]byte, 6)); err != nil {
				t.Errorf("what WriteBuffered was given is not sent: %v", err)
			}
		})
	}
}

// A callback that moves its socket, or during which that is moved, leaves to the new loop what follows.
func TestLoopIsExchangedByACallback(t *testing.T) {
	for name, byItself := range map[string]bool{"by itself": true, "by another goroutine": false} {
		t.Run(name, func(t *testing.T) {
			first, second := newLoop(t), newLoop(t)
			run(t, first)
			run(t, second)
			srv := listen(t)
			c, peer := loopPair(t, first)
			began, goOn := make(chan struct{}), make(chan struct{})
			told := make(chan bool, 10)
			move := func() {
				c.Abort()
				must(t, c.SetLoop(second))
				must(t, c.ConnectToServer(srv.FullServerName(), sock.ReadWrite))
			}
			var once sync.Once
			moved := false
			c.OnReadyRead(func() {
				if moved {
					told <- second.OnLoop()
					return
				}
				moved = true
				if byItself {
					move()
				}
				close(began)
				<-goOn
			})
			c.OnConnected(func() { once.Do(func() { told <- second.OnLoop() }) })
			peer.Write([]byte("x"))
			sockettest.Done(t, "the callback runs", began)
			if !byItself {
				move()
			}
			next(t, srv).Write([]byte("y"))
			sockettest.Stays(t, "callbacks run one at a time", func() bool { return len(told) == 0 })
			close(goOn)
			for _, what := range []string{"OnConnected", "OnReadyRead"} {
				if !sockettest.Done(t, what, told) {
					t.Errorf("%s is called on the loop that the socket has left", what)
				}
			}
		})
	}
}

// What the new loop writes while the callback that has moved the socket still runs is sent when that has returned, also if nothing else happens.
func TestLoopWritesDuringACallbackElsewhere(t *testing.T) {
	for name, first := range map[string]*loop.Loop{"from a loop": newLoop(t), "from none": nil} {
		t.Run(name, func(t *testing.T) {
			second := newLoop(t)
			run(t, second)
			if first != nil {
				run(t, first)
			}
			srv := listen(t)
			c, peer := loopPair(t, first)
			moved, goOn := make(chan struct{}), make(chan struct{})
			var once sync.Once
			c.OnReadyRead(func() {
				once.Do(func() {
					c.Abort()
					must(t, c.SetLoop(second))
					must(t, c.ConnectToServer(srv.FullServerName(), sock.ReadWrite))
					close(moved)
					<-goOn
				})
			})
			peer.Write([]byte("x"))
			sockettest.Done(t, "the callback has moved its socket", moved)
			peer = next(t, srv)
			onLoop(t, second, func() { c.WriteBuffered([]byte("answer")) })
			close(goOn)
			peer.SetReadDeadline(time.Now().Add(sockettest.Long()))
			if _, err := io.ReadFull(peer, make([]byte, 6)); err != nil {
				t.Errorf("what the new loop has written is not sent: %v", err)
			}
		})
	}
}

// What was posted to a loop before the socket was moved tells nothing there.
func TestLoopIsExchangedWhileBusy(t *testing.T) {
	first, second := newLoop(t), newLoop(t)
	run(t, first)
	run(t, second)
	c, peer := loopPair(t, first)
	peer.Write([]byte("hello"))
	stop := c.OnDisconnected(func() {}) // bytes come, and nobody hears of them
	onLoop(t, first, func() {})
	onLoop(t, first, func() {})
	release := busy(t, first)
	told := make(chan struct{}, 100)
	c.OnReadyRead(func() {
		if !second.OnLoop() {
			t.Error("a callback runs on another loop")
		}
		told <- struct{}{}
	})
	stop()
	c.Abort()
	must(t, c.SetLoop(second))
	peer = pairWith(t, c, 0)
	hold := busy(t, second)
	peer.Write([]byte("hello"))
	release()
	onLoop(t, first, func() {})
	onLoop(t, first, func() {})
	hold()
	sockettest.Done(t, "readyRead is told", told)
}

// A timer that one connection needed on a loop does not keep the next one, elsewhere, from sending.
func TestLoopWriteDeadlineThenNoLoop(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, _ := loopPair(t, l)
	fill(t, c, large)
	c.SetWriteDeadline(time.Now().Add(small))
	must(t, c.Close())
	eventuallyState(t, c, sock.UnconnectedState)
	must(t, c.SetLoop(nil))
	peer := pairWith(t, c, 0)
	c.WriteBuffered([]byte("hello"))
	peer.SetReadDeadline(time.Now().Add(sockettest.Long()))
	if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
		t.Errorf("what WriteBuffered was given is not sent: %v", err)
	}
}

// An error's callback may take its socket from the loop, and connect it again, while the loop is about to send for it.
func TestLoopSocketIsMovedWhenSendingFails(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	srv := listen(t)
	c, peer := loopPair(t, l)
	moved := make(chan error, 1)
	var once sync.Once
	c.OnErrorOccurred(func(sock.SocketError) {
		once.Do(func() {
			c.Abort()
			if err := c.SetLoop(nil); err != nil {
				moved <- err
				return
			}
			moved <- c.ConnectToServer(srv.FullServerName(), sock.ReadWrite)
		})
	})
	c.WriteBuffered(make([]byte, 4<<20))
	sockettest.Eventually(t, "the system takes no more", func() bool { return peer.BytesAvailable() > 0 })
	peer.Abort()
	must(t, sockettest.Done(t, "the error is told", moved))
	onLoop(t, l, func() {}) // it goes on
	next(t, srv).Write([]byte("hello"))
	c.SetReadDeadline(time.Now().Add(sockettest.Long()))
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Errorf("the moved socket reads %q, %v", b, err)
	}
}
