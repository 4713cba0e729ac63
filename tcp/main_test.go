package tcp_test

import (
	"context"
	"net/netip"
	"os"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/tcp"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

var loopback = netip.MustParseAddr("127.0.0.1")

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
	t.Cleanup(func() { srv.Close() })
	if err := srv.Listen(loopback, 0); err != nil {
		t.Fatal(err)
	}
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
