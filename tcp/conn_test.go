package tcp_test

import (
	"context"
	"net"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/tcp"
	"golang.org/x/net/nettest"
)

func TestServerConforms(t *testing.T) {
	sockettest.Conform(t, func(t *testing.T) (sockettest.Server, func() (net.Conn, error)) {
		srv := listen(t)
		return srv, func() (net.Conn, error) { return tcp.Dial(srv.Addr().String()) }
	})
}

// A Socket is what net.Conn promises, whichever end it is.
func TestConnConforms(t *testing.T) {
	test := func(name string, swap, listenBeside bool) {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				srv, err := tcp.Listen("127.0.0.1:0")
				if err != nil {
					return nil, nil, nil, err
				}
				defer srv.Close()
				client, err := tcp.Dial(srv.Addr().String())
				if err != nil {
					return nil, nil, nil, err
				}
				server, err := srv.AcceptContext(context.Background())
				if err != nil {
					return nil, nil, nil, err
				}
				if listenBeside {
					for _, c := range []*tcp.Socket{client, server} {
						c.OnReadyRead(func() {})
						c.OnDisconnected(func() {})
					}
				}
				if swap {
					client, server = server, client
				}
				return client, server, func() { client.Close(); server.Close() }, nil
			})
		})
	}
	test("Client", false, false)
	test("Server", true, false)
	test("WithCallbacks", false, true)
}
