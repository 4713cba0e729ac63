package local_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
)

// newcomers returns a server on a loop that runs, whose newConnection has what it finds taken by take, on the loop.
func newcomers(t testing.TB, take func(l *loop.Loop, c *local.Socket)) *local.Server {
	t.Helper()
	g, l := oneLoop(t)
	srv := new(local.Server)
	srv.SetLoops(g)
	srv.OnNewConnection(func() { take(l, srv.NextPendingConnection()) })
	listenWith(t, srv)
	runAgain(t, l)
	return srv
}

// A loop begins to watch a connection when the callback that has taken it has returned. What the callback writes before that, and finds no room
// for, is sent all the same, and nothing that the client says meanwhile is missed.
func TestLoopNewcomerWritesMoreThanFits(t *testing.T) {
	said := make(chan string, 1)
	srv := newcomers(t, func(_ *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		c.OnReadyRead(func() {
			b := make([]byte, 100)
			if n, _ := c.ReadAvailable(b); n > 0 {
				said <- string(b[:n])
			}
		})
		c.WriteBuffered(bytes.Repeat([]byte("x"), large))
		c.Flush()
	})
	c := dial(t, srv)
	must(t, c.SetReadDeadline(time.Now().Add(sockettest.Long())))
	if n, err := io.CopyN(io.Discard, c, large); err != nil {
		t.Errorf("%d bytes have come, and then %v; want %d", n, err, large)
	}
	_, err := c.Write([]byte("hello"))
	must(t, err)
	if got := sockettest.Done(t, "what the client says is told", said); got != "hello" {
		t.Errorf("told of %q, want hello", got)
	}
}

// A callback may wait for what it has just taken.
func TestLoopNewcomerIsWaitedFor(t *testing.T) {
	said := make(chan string, 1)
	srv := newcomers(t, func(_ *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		if err := c.WaitForReadyRead(sockettest.Long()); err != nil {
			t.Error(err)
		}
		b := make([]byte, 5)
		n, _ := c.ReadAvailable(b)
		said <- string(b[:n])
	})
	c := dial(t, srv)
	_, err := c.Write([]byte("hello"))
	must(t, err)
	if got := sockettest.Done(t, "the wait ends", said); got != "hello" {
		t.Errorf("the callback reads %q, want hello", got)
	}
}

// One that has gone before it is watched is as good as any other: it may be given away, or connect anew.
func TestLoopNewcomerThatIsAnotherSoon(t *testing.T) {
	second := listen(t)
	said := make(chan string, 1)
	srv := newcomers(t, func(l *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		c.Abort()
		c.OnReadyRead(func() {
			b := make([]byte, 100)
			if n, _ := c.ReadAvailable(b); n > 0 {
				said <- string(b[:n])
			}
		})
		must(t, c.ConnectToServer(second.FullServerName(), sock.ReadWrite))
	})
	c := dial(t, srv)
	must(t, c.SetReadDeadline(time.Now().Add(sockettest.Long())))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, sock.RemoteHostClosedError) {
		t.Errorf("the first client reads %v; want the end", err)
	}
	_, err := next(t, second).Write([]byte("hello"))
	must(t, err)
	if got := sockettest.Done(t, "what the second server says is told", said); got != "hello" {
		t.Errorf("told of %q, want hello", got)
	}
}

// One that the loop cannot watch, because its descriptor is registered there already, fails, and says why.
func TestLoopNewcomerThatCannotBeWatched(t *testing.T) {
	failed, gone := make(chan error, 1), make(chan struct{})
	srv := newcomers(t, func(l *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		fd, _ := c.SocketDescriptor().Fd()
		if _, err := l.Register(fd, loop.Readable, deaf{}); err != nil {
			t.Error(err)
		}
		c.OnErrorOccurred(func(sock.SocketError) { failed <- c.Err() })
		c.OnDisconnected(func() { close(gone) })
	})
	c := dial(t, srv)
	wantIs(t, "the error", sockettest.Done(t, "the error is told", failed), sock.OperationError)
	sockettest.Done(t, "the end is told", gone)
	must(t, c.SetReadDeadline(time.Now().Add(sockettest.Long())))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, sock.RemoteHostClosedError) {
		t.Errorf("the client reads %v; want the end", err)
	}
}

type deaf struct{}

func (deaf) Ready(loop.Events) {}

// A callback that does not return leaves what it has taken to the loop's next run.
func TestLoopNewcomerOfACallbackThatDoesNotReturn(t *testing.T) {
	said := make(chan string, 1)
	srv := newcomers(t, func(_ *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		c.OnReadyRead(func() {
			b := make([]byte, 100)
			if n, _ := c.ReadAvailable(b); n > 0 {
				said <- string(b[:n])
			}
		})
		runtime.Goexit()
	})
	c := dial(t, srv)
	_, err := c.Write([]byte("hello"))
	must(t, err)
	if got := sockettest.Done(t, "what the client says is told", said); got != "hello" {
		t.Errorf("told of %q, want hello", got)
	}
}
