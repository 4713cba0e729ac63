package local_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
)

// newLoop returns a loop that does not run yet.
func newLoop(t testing.TB) *loop.Loop {
	t.Helper()
	sockettest.NeedLoops(t)
	l, err := loop.New()
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// run runs a loop until stop, which waits for the end; the test's end stops it, too.
func run(t testing.TB, l *loop.Loop) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	onLoop(t, l, func() {})
	stop = func() {
		cancel()
		sockettest.Done(t, "the loop ends", ended)
	}
	t.Cleanup(stop)
	return stop
}

// onLoop runs f on a loop, and waits for it.
func onLoop(t testing.TB, l *loop.Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	l.Post(func() { defer close(done); f() })
	sockettest.Done(t, "the loop runs a function", done)
}

// busy keeps a loop busy until release.
func busy(t testing.TB, l *loop.Loop) (release func()) {
	t.Helper()
	began, end := make(chan struct{}), make(chan struct{})
	l.Post(func() { close(began); <-end })
	sockettest.Done(t, "the loop is busy", began)
	release = sync.OnceFunc(func() { close(end) })
	t.Cleanup(release)
	return release
}

// loopSocket returns a socket that will live on a loop.
func loopSocket(t testing.TB, l *loop.Loop) *local.Socket {
	t.Helper()
	c := closeLater(t, new(local.Socket))
	must(t, c.SetLoop(l))
	return c
}

// loopPair returns the two ends of a connection, of which the first lives on a loop.
func loopPair(t testing.TB, l *loop.Loop) (c, peer *local.Socket) {
	t.Helper()
	c = loopSocket(t, l)
	return c, pairWith(t, c, 0)
}

// readWords reads what there is, and adds it to a log as a word.
func readWords(c *local.Socket, log *eventLog) {
	buf := make([]byte, 100)
	if n, _ := c.ReadAvailable(buf); n > 0 {
		log.add("%s", buf[:n])
	}
}

// What a callback has written before it meets the peer's end is sent: the peer may have ended its side only.
func TestLoopAnswerToWhoHasEndedItsSide(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	release := busy(t, l)
	c.OnReadyRead(func() {
		buf := make([]byte, 100)
		for {
			n, err := c.ReadAvailable(buf)
			if n == 0 || err != nil {
				return
			}
			c.WriteBuffered(buf[:n])
		}
	})
	peer.Write([]byte("hello"))
	must(t, peer.CloseWrite())
	release()
	peer.SetReadDeadline(time.Now().Add(sockettest.Long()))
	got, err := io.ReadAll(peer)
	if err != nil || string(got) != "hello" {
		t.Errorf("the answer is %q, %v; want hello", got, err)
	}
}

// A callback that reads a part each time is told of all of it before it is told of the end.
func TestLoopPartsAreToldBeforeTheEnd(t *testing.T) {
	const parts = 100
	read := map[string]func(*local.Socket) int{
		"ReadAvailable": func(c *local.Socket) int { n, _ := c.ReadAvailable(make([]byte, 5)); return n },
		"ReadLine":      func(c *local.Socket) int { b, _ := c.ReadLine(0); return len(b) },
		"Read":          func(c *local.Socket) int { n, _ := c.Read(make([]byte, 5)); return n },
	}
	for name, read := range read {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			run(t, l)
			c, peer := loopPair(t, l)
			release := busy(t, l)
			got := 0
			ended := make(chan int, 1)
			c.OnReadyRead(func() { got += read(c) })
			c.OnDisconnected(func() { ended <- got })
			peer.Write([]byte(strings.Repeat("line\n", parts)))
			peer.Close()
			release()
			if n := sockettest.Done(t, "the end is told", ended); n != 5*parts {
				t.Errorf("%d bytes were read when the end was told; want %d", n, 5*parts)
			}
		})
	}
}

// Who registers late is told of what is unread, also if another one was told of it before.
func TestLoopOnReadyReadAfterAnotherOne(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	told := make(chan struct{}, 10)
	stop := c.OnReadyRead(func() { told <- struct{}{} }) // and leaves it
	peer.Write([]byte("hello"))
	sockettest.Done(t, "the first is told", told)
	stop()
	second := make(chan struct{}, 10)
	c.OnReadyRead(func() { second <- struct{}{} })
	sockettest.Done(t, "the second is told", second)
}

// A read buffer that is enlarged makes news of what it had no room for, and of the end behind it.
func TestLoopReadBufferIsEnlarged(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	c.SetReadBufferSize(10)
	ended := make(chan struct{})
	c.OnDisconnected(func() { close(ended) })
	peer.Write(make([]byte, 100))
	peer.Close()
	sockettest.Eventually(t, "the buffer is full", func() bool { return c.BytesAvailable() == 10 })
	onLoop(t, l, func() {})
	sockettest.Stays(t, "the end is behind what has no room", func() bool { return c.State() == sock.ConnectedState })
	c.SetReadBufferSize(0)
	sockettest.Done(t, "the end is told", ended)
	if n := len(readAvailable(t, c)); n != 100 {
		t.Errorf("%d bytes can be read; want 100", n)
	}
}

// Who meets the peer's end by writing can still read all that has come, also what the read buffer has no room for.
func TestLoopEndMetByWritingLeavesWhatIsUnread(t *testing.T) {
	for name, wait := range map[string]func(*local.Socket){
		"Flush":               func(c *local.Socket) { c.WriteBuffered([]byte("x")); c.Flush() },
		"WaitForBytesWritten": func(c *local.Socket) { c.WriteBuffered([]byte("x")); c.WaitForBytesWritten(sockettest.Long()) },
		"in the background":   func(c *local.Socket) { c.WriteBuffered([]byte("x")) },
	} {
		for _, onLoop := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, on a loop: %v", name, onLoop), func(t *testing.T) {
				c := closeLater(t, new(local.Socket))
				if onLoop {
					l := newLoop(t)
					run(t, l)
					must(t, c.SetLoop(l))
				}
				peer := pairWith(t, c, 0)
				c.SetReadBufferSize(10)
				peer.Write(make([]byte, 100))
				peer.Close()
				wait(c)
				n := 0
				for buf := make([]byte, 100); ; {
					c.SetReadDeadline(time.Now().Add(sockettest.Long())) // fails after the end
					m, err := c.Read(buf)
					if n += m; err != nil {
						break
					}
				}
				if n != 100 {
					t.Errorf("%d bytes can be read; want 100", n)
				}
			})
		}
	}
}

// A wait for the end, elsewhere, leaves the loop its turn to tell the callbacks.
func TestLoopWaitForDisconnectedElsewhere(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	log := new(eventLog)
	c.OnReadyRead(func() { log.add("readyRead") })
	c.OnDisconnected(func() { log.add("disconnected") })
	release := busy(t, l)
	peer.Write([]byte("hello"))
	waited := sockettest.Go(func() error { return c.WaitForDisconnected(sock.Forever) })
	waits(t, "(*Socket).WaitForDisconnected")
	release()
	sockettest.Eventually(t, "readyRead is told", func() bool { return log.count("readyRead") > 0 })
	peer.Close()
	must(t, sockettest.Done(t, "the wait ends", waited))
	sockettest.Eventually(t, "disconnected is told", func() bool { return log.count("disconnected") == 1 })
	if got := readAvailable(t, c); string(got) != "hello" {
		t.Errorf("%q can be read; want hello", got)
	}
}

// With a loop that does not run, waits see for themselves; callbacks are told when it runs.
func TestLoopThatDoesNotRun(t *testing.T) {
	l := newLoop(t)
	c, peer := loopPair(t, l)
	log := watch(t, c)
	peer.Write([]byte("hello"))
	must(t, c.WaitForReadyRead(sockettest.Long()))
	err := c.WaitForReadyRead(small)
	wantIs(t, "a wait for more", err, sock.SocketTimeoutError)
	buf := make([]byte, 10)
	if n, err := c.Read(buf); string(buf[:n]) != "hello" || err != nil {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	c.WriteBuffered([]byte("answer"))
	must(t, c.WaitForBytesWritten(sockettest.Long()))
	if n, err := io.ReadFull(peer, buf[:6]); string(buf[:n]) != "answer" {
		t.Errorf("the peer read %q, %v", buf[:n], err)
	}
	wantIs(t, "a wait for an end that does not come", c.WaitForDisconnected(small), sock.SocketTimeoutError)
	peer.Write([]byte("more"))
	wantIs(t, "and with bytes", c.WaitForDisconnected(small), sock.SocketTimeoutError)
	peer.Close()
	must(t, c.WaitForDisconnected(sockettest.Long()))
	log.want(t)
	run(t, l)
	sockettest.Eventually(t, "all is told", func() bool { return log.last() == "disconnected" })
	if n := log.count("disconnected"); n != 1 {
		t.Errorf("disconnected is told %d times", n)
	}
}

// A wait for the end of a connection that is being closed ends when the peer goes and takes nothing more, on the loop too.
func TestLoopClosingWhenThePeerGoes(t *testing.T) {
	for _, where := range []string{"the loop does not run", "on the loop", "elsewhere"} {
		t.Run(where, func(t *testing.T) {
			l := newLoop(t)
			if where != "the loop does not run" {
				run(t, l)
			}
			c, peer := loopPair(t, l)
			fill(t, c, large)
			c.DisconnectFromServer()
			wantState(t, c, sock.ClosingState)
			began := make(chan struct{})
			wait := func() error { close(began); return c.WaitForDisconnected(sockettest.Long()) }
			var waited <-chan error
			if where == "on the loop" {
				result := make(chan error, 1)
				l.Post(func() { result <- wait() })
				waited = result
			} else {
				waited = sockettest.Go(wait)
			}
			<-began
			peer.Close()
			sockettest.Done(t, "the wait ends", waited)
			wantState(t, c, sock.UnconnectedState)
		})
	}
}

// A stream that its own bytesWritten keeps going leaves the other sockets their turn.
func TestLoopStreamStarvesNobody(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	stream, drain := loopPair(t, l)
	var ended atomic.Bool
	stream.OnBytesWritten(func(int64) {
		drain.ReadAvailable(make([]byte, 10)) // there is always room
		if !ended.Load() {
			stream.WriteBuffered([]byte("x"))
		}
	})
	other, peer := loopPair(t, l)
	other.OnReadyRead(func() {
		b := make([]byte, 10)
		n, _ := other.ReadAvailable(b)
		other.WriteBuffered(b[:n])
	})
	stream.WriteBuffered([]byte("x"))
	for range 10 {
		peer.Write([]byte("hello"))
		peer.SetReadDeadline(time.Now().Add(sockettest.Long()))
		if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
			t.Errorf("the other socket does not answer: %v", err)
			break
		}
	}
	ended.Store(true)
}

// An override that makes sockets with callbacks before they are pending: they are told, and from when they are taken on the loop.
func TestLoopTakesSocketsThatAreInUse(t *testing.T) {
	g := runLoops(t, 1)
	l := g.Next()
	srv := new(local.Server)
	srv.SetLoops(g)
	const clients = 20
	gone := make(chan struct{}, clients)
	srv.SetIncomingConnection(func(d sock.Descriptor) {
		c := new(local.Socket)
		if err := c.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite); err != nil {
			t.Error(err)
			return
		}
		var taken atomic.Bool
		c.OnReadyRead(func() {
			if taken.Load() && !l.OnLoop() {
				t.Error("a callback runs elsewhere")
			}
			b := make([]byte, 100)
			for {
				n, _ := c.ReadAvailable(b)
				if n == 0 {
					return
				}
				c.WriteBuffered(b[:n])
			}
		})
		c.OnDisconnected(func() { gone <- struct{}{} })
		srv.AddPendingConnection(c)
	})
	srv.OnNewConnection(func() {
		for srv.NextPendingConnection() != nil {
		}
	})
	listenWith(t, srv)
	done := make(chan error, clients)
	for range clients {
		go func() {
			done <- func() error {
				c, err := local.Dial(srv.FullServerName())
				if err != nil {
					return err
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(sockettest.Long()))
				for range 20 {
					if _, err := c.Write([]byte("hello")); err != nil {
						return err
					}
					if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range clients {
		if err := sockettest.Done(t, "a client ends", done); err != nil {
			t.Error(err)
		}
	}
	for range clients {
		sockettest.Done(t, "the end is told", gone)
	}
}

// runAgain runs a loop on a goroutine of its own until it ends, again and again when a callback panics or ends the goroutine, until ctx ends.
func runAgain(t testing.TB, l *loop.Loop) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var once func()
	once = func() {
		defer func() {
			recover()
			if ctx.Err() == nil {
				go once()
				return
			}
			close(ended)
		}()
		l.Run(ctx)
	}
	go once()
	t.Cleanup(func() {
		cancel()
		sockettest.Done(t, "the loop ends", ended)
	})
}
