package local_test

import (
	"bytes"
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

// hear has each read of c, on the loop, sent to said.
func hear(c *local.Socket, said chan<- string) {
	c.OnReadyRead(func() {
		b := make([]byte, 100)
		if n, _ := c.ReadAvailable(b); n > 0 {
			said <- string(b[:n])
		}
	})
}

// sayHello has c say hello, and waits until that has come to said.
func sayHello(t testing.TB, c *local.Socket, said <-chan string) {
	t.Helper()
	_, err := c.Write([]byte("hello"))
	must(t, err)
	if got := sockettest.Done(t, "what was said has come", said); got != "hello" {
		t.Errorf("%q has come, want hello", got)
	}
}

// A loop begins to watch a connection when the callback that has taken it has returned. What the callback writes before that, and finds no room
// for, is sent all the same, and nothing that the client says meanwhile is missed.
func TestLoopNewcomerWritesMoreThanFits(t *testing.T) {
	said := make(chan string, 1)
	srv := newcomers(t, func(_ *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		hear(c, said)
		c.WriteBuffered(bytes.Repeat([]byte("x"), large))
		c.Flush()
	})
	c := dial(t, srv)
	must(t, c.SetReadDeadline(time.Now().Add(sockettest.Long())))
	if n, err := io.CopyN(io.Discard, c, large); err != nil {
		t.Errorf("%d bytes have come, and then %v; want %d", n, err, large)
	}
	sayHello(t, c, said)
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
	sayHello(t, dial(t, srv), said)
}

// One that has gone before it is watched is as good as any other socket: it may connect anew.
func TestLoopNewcomerThatIsAnotherSoon(t *testing.T) {
	second := listen(t)
	said := make(chan string, 1)
	srv := newcomers(t, func(l *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		c.Abort()
		hear(c, said)
		must(t, c.ConnectToServer(second.FullServerName(), sock.ReadWrite))
	})
	wantEnd(t, dial(t, srv))
	sayHello(t, next(t, second), said)
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
	wantEnd(t, c)
}

type deaf struct{}

func (deaf) Ready(loop.Events) {}

// A callback that does not return leaves what it has taken to the loop's next run.
func TestLoopNewcomerOfACallbackThatDoesNotReturn(t *testing.T) {
	said := make(chan string, 1)
	srv := newcomers(t, func(_ *loop.Loop, c *local.Socket) {
		closeLater(t, c)
		hear(c, said)
		runtime.Goexit()
	})
	sayHello(t, dial(t, srv), said)
}
