package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

var (
	loopback  = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
)

const small = 20 * time.Millisecond

// listen returns a server that listens on a port of its own.
func listen(t testing.TB) *tcp.Server {
	t.Helper()
	srv := new(tcp.Server)
	listenWith(t, srv)
	return srv
}

// listenWith makes a server listen on a port of its own, and closes it when the test ends.
func listenWith(t testing.TB, srv *tcp.Server) {
	t.Helper()
	listenOn(t, srv, loopback)
}

// listenOn is listenWith on an address. It skips the test if the machine has no IPv6 and the address is of that.
func listenOn(t testing.TB, srv *tcp.Server, addr netip.Addr) {
	t.Helper()
	if addr.Is6() {
		needIPv6(t)
	}
	t.Cleanup(func() { srv.Close() })
	must(t, srv.Listen(addr, 0))
}

// needIPv6 skips the test on a machine without IPv6.
func needIPv6(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("needs IPv6 on the loopback interface: ", err)
	}
	l.Close()
}

// dial connects to a server.
func dial(t testing.TB, srv *tcp.Server) *tcp.Socket {
	t.Helper()
	return closeLater(t, dialTo(t, srv.Addr().String()))
}

func dialTo(t testing.TB, hostport string) *tcp.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long())
	defer cancel()
	c, err := tcp.DialContext(ctx, hostport)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// at returns host:port of a server's port on another host.
func at(host string, srv *tcp.Server) string {
	return net.JoinHostPort(host, strconv.Itoa(int(srv.ServerPort())))
}

func closeLater(t testing.TB, c *tcp.Socket) *tcp.Socket {
	t.Helper()
	if c == nil {
		t.Fatal("there is no socket")
	}
	t.Cleanup(c.Abort)
	return c
}

// next takes a connection when there is one.
func next(t testing.TB, srv *tcp.Server) *tcp.Socket {
	t.Helper()
	if err := srv.WaitForNewConnection(sockettest.Long()); err != nil {
		t.Fatal(err)
	}
	return closeLater(t, srv.NextPendingConnection())
}

// pair returns the two ends of a connection.
func pair(t testing.TB) (client, server *tcp.Socket) {
	t.Helper()
	srv := listen(t)
	client = dial(t, srv)
	server = next(t, srv)
	srv.Close()
	return client, server
}

// blackHole returns the port of a server on 127.0.0.1 whose queue is full: the system answers nobody who connects to it.
func blackHole(t testing.TB) uint16 {
	t.Helper()
	sockettest.NeedExactBacklog(t)
	srv := new(tcp.Server)
	srv.SetListenBacklogSize(1)
	srv.PauseAccepting()
	listenWith(t, srv)
	for range 2 {
		dial(t, srv)
	}
	return srv.ServerPort()
}

// exchange sends a word from each end of a connection to the other.
func exchange(t testing.TB, a, b *tcp.Socket) {
	t.Helper()
	for _, ends := range [][2]*tcp.Socket{{a, b}, {b, a}} {
		if _, err := ends[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		wantRead(t, ends[1], "hello")
	}
}

// wantRead fails the test unless what is read next is this.
func wantRead(t testing.TB, c net.Conn, want string) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(sockettest.Long())))
	got := make([]byte, len(want))
	for n := 0; n < len(got); {
		m, err := c.Read(got[n:])
		if err != nil {
			t.Fatalf("read %q, %v; want %q", got[:n+m], err, want)
		}
		n += m
	}
	if string(got) != want {
		t.Fatalf("read %q; want %q", got, want)
	}
	must(t, c.SetReadDeadline(time.Time{}))
}

// wantEnd fails the test unless the peer has ended the connection, or does so.
func wantEnd(t testing.TB, c net.Conn) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(sockettest.Long())))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v; want the end", n, err)
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
func wantState(t testing.TB, c *tcp.Socket, want sock.State) {
	t.Helper()
	if got := c.State(); got != want {
		t.Errorf("the state is %v; want %v", got, want)
	}
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

// want fails the test unless exactly these events happened, in this order.
func (l *eventLog) want(t testing.TB, events ...string) {
	t.Helper()
	if got := l.all(); !slices.Equal(got, events) {
		t.Errorf("the events were\n\t%q\nwant\n\t%q", got, events)
	}
}

// comes waits until exactly these events have happened, in this order.
func (l *eventLog) comes(t testing.TB, events ...string) {
	t.Helper()
	sockettest.Eventually(t, fmt.Sprintf("%q happen", events), func() bool { return len(l.all()) >= len(events) })
	l.want(t, events...)
}

// watch returns a log of what a socket's callbacks are told of its connection.
func watch(c *tcp.Socket) *eventLog {
	l := new(eventLog)
	c.OnConnected(func() { l.add("connected") })
	c.OnDisconnected(func() { l.add("disconnected") })
	c.OnStateChanged(func(st sock.State) { l.add("%v", st) })
	c.OnErrorOccurred(func(e sock.SocketError) { l.add("%s", e.Name()) })
	return l
}
