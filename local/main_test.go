package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

// listen returns a server that listens on a name of its own.
func listen(t testing.TB) *local.Server {
	t.Helper()
	srv := new(local.Server)
	listenWith(t, srv)
	return srv
}

// listenWith makes a server listen on a name of its own, and closes it when the test ends.
func listenWith(t testing.TB, srv *local.Server) {
	t.Helper()
	t.Cleanup(func() { srv.Close() })
	if err := srv.Listen(sockettest.Name(t)); err != nil {
		t.Fatal(err)
	}
}

// dial connects to a server.
func dial(t testing.TB, srv *local.Server) *local.Socket {
	t.Helper()
	return closeLater(t, dialName(t, srv.FullServerName()))
}

func dialName(t testing.TB, name string) *local.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long())
	defer cancel()
	c, err := local.DialContext(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func closeLater(t testing.TB, c *local.Socket) *local.Socket {
	t.Helper()
	if c == nil {
		t.Fatal("there is no socket")
	}
	t.Cleanup(c.Abort)
	return c
}

// waits returns when a goroutine is in each of the functions, whose names end so: it waits there, or is about to.
func waits(t testing.TB, functions ...string) {
	t.Helper()
	for _, f := range functions {
		sockettest.Eventually(t, "somebody waits in "+f, func() bool { return sockettest.Running(f) })
	}
}

// next takes a connection when there is one.
func next(t testing.TB, srv *local.Server) *local.Socket {
	t.Helper()
	if err := srv.WaitForNewConnection(sockettest.Long()); err != nil {
		t.Fatal(err)
	}
	return closeLater(t, srv.NextPendingConnection())
}

// pair returns the two ends of a connection.
func pair(t testing.TB) (client, server *local.Socket) {
	t.Helper()
	srv := listen(t)
	client = dial(t, srv)
	server = next(t, srv)
	srv.Close()
	return client, server
}

// pairWith is pair, but the client is c, opened in a mode.
func pairWith(t testing.TB, c *local.Socket, mode sock.OpenMode) (server *local.Socket) {
	t.Helper()
	srv := listen(t)
	closeLater(t, c)
	must(t, c.ConnectToServer(srv.FullServerName(), mode))
	must(t, c.WaitForConnected(sockettest.Long()))
	server = next(t, srv)
	srv.Close()
	return server
}

// queueFull returns the name of a server whose queue is full: who connects to it has to wait until resume is called. Its first clients
// stay connected.
func queueFull(t testing.TB) (srv *local.Server, resume func()) {
	t.Helper()
	sockettest.NeedExactLocalBacklog(t)
	srv = new(local.Server)
	srv.SetListenBacklogSize(1)
	srv.PauseAccepting()
	listenWith(t, srv)
	for range 2 {
		dial(t, srv)
	}
	return srv, srv.ResumeAccepting
}

// fill makes a socket's peer have no room for more: bytes stay queued in the socket. The peer must not be reading.
func fill(t testing.TB, c *local.Socket, n int) {
	t.Helper()
	if _, err := c.WriteBuffered(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	for c.Flush() {
	}
	if c.BytesToWrite() == 0 {
		t.Fatalf("%d bytes fit into the system's buffers", n)
	}
}

const (
	large = 3 << 20 // more than the system's buffers hold
	small = 20 * time.Millisecond
)

// wantEnd fails the test unless the peer of c has ended the connection, without a byte, or does so soon.
func wantEnd(t testing.TB, c *local.Socket) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(sockettest.Long())))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, sock.RemoteHostClosedError) {
		t.Errorf("the client reads %v; want the end", err)
	}
}

// must fails the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustChild ends a child process if there is an error.
func mustChild(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// wantIs fails the test unless errors.Is finds all of the targets in err.
func wantIs(t testing.TB, what string, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: %v (%s); want one that Is %v", what, err, sock.CodeOf(err).Name(), target)
		}
	}
}

// wantState fails the test unless the socket is in the state.
func wantState(t testing.TB, c *local.Socket, want sock.State) {
	t.Helper()
	if got := c.State(); got != want {
		t.Errorf("the state is %v; want %v", got, want)
	}
}

// eventually waits until the socket is in the state, which nobody's wait brings about.
func eventuallyState(t testing.TB, c *local.Socket, want sock.State) {
	t.Helper()
	sockettest.Eventually(t, "the state is "+want.String(), func() bool { return c.State() == want })
}

// An eventLog is a list of what happened.
type eventLog struct {
	mu     sync.Mutex
	events []string
}

func (l *eventLog) add(format string, args ...any) {
	l.mu.Lock()
	l.events = append(l.events, fmt.Sprintf(format, args...))
	l.mu.Unlock()
}

func (l *eventLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

func (l *eventLog) count(event string) (n int) {
	for _, e := range l.all() {
		if e == event {
			n++
		}
	}
	return n
}

func (l *eventLog) last() string {
	all := l.all()
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// want fails the test unless exactly these events happened, in this order.
func (l *eventLog) want(t testing.TB, events ...string) {
	t.Helper()
	if got := l.all(); !slices.Equal(got, events) {
		t.Errorf("the events were\n\t%q\nwant\n\t%q", got, events)
	}
}

// watch returns a log of everything that a socket's callbacks are told.
func watch(_ testing.TB, c *local.Socket) *eventLog {
	l := new(eventLog)
	c.OnConnected(func() { l.add("connected") })
	c.OnDisconnected(func() { l.add("disconnected") })
	c.OnStateChanged(func(st sock.State) { l.add("%v", st) })
	c.OnErrorOccurred(func(e sock.SocketError) { l.add("%s", e.Name()) })
	c.OnReadyRead(func() { l.add("readyRead") })
	c.OnBytesWritten(func(n int64) { l.add("bytesWritten %d", n) })
	return l
}

// watchOnce is watch for a socket that has one connection, so that a callback finds the socket as it was told; it checks that.
func watchOnce(t testing.TB, c *local.Socket) *eventLog {
	c.OnConnected(func() {
		if st := c.State(); st != sock.ConnectedState {
			t.Errorf("in OnConnected the state is %v", st)
		}
	})
	c.OnDisconnected(func() {
		if st := c.State(); st != sock.UnconnectedState {
			t.Errorf("in OnDisconnected the state is %v", st)
		}
	})
	c.OnErrorOccurred(func(e sock.SocketError) {
		if c.ErrorString() == "" {
			t.Errorf("in OnErrorOccurred(%v) there is no error string", e)
		}
	})
	return watch(t, c)
}

// readAvailable returns all that can be read now.
func readAvailable(t testing.TB, c *local.Socket) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := c.ReadAvailable(buf)
		all = append(all, buf[:n]...)
		if n == 0 {
			if err != nil && err.Error() != "EOF" {
				t.Fatal(err)
			}
			return all
		}
	}
}
