//go:build unix

package tcp_test

import (
	"io"
	"net"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"
	"golang.org/x/sys/unix"
)

// sockopt asks the system.
func sockopt(t testing.TB, c *tcp.Socket, level, name int) int {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	v := -1
	var failed error
	must(t, raw.Control(func(fd uintptr) { v, failed = unix.GetsockoptInt(int(fd), level, name) }))
	must(t, failed)
	return min(v, 1)
}

// wantOptions fails the test unless the connection has these options, by the system's word and by ours.
func wantOptions(t testing.TB, c *tcp.Socket, lowDelay, keepAlive int) {
	t.Helper()
	for o, want := range map[tcp.SocketOption]int{tcp.LowDelayOption: lowDelay, tcp.KeepAliveOption: keepAlive} {
		level, name := unix.IPPROTO_TCP, unix.TCP_NODELAY
		if o == tcp.KeepAliveOption {
			level, name = unix.SOL_SOCKET, unix.SO_KEEPALIVE
		}
		got, err := c.SocketOption(o)
		if system := sockopt(t, c, level, name); err != nil || got != want || system != want {
			t.Errorf("%v is %d, %v, and %d by the system; want %d", o, got, err, system, want)
		}
	}
}

func TestSocketOptions(t *testing.T) {
	client, server := pair(t)
	for _, c := range []*tcp.Socket{client, server} {
		wantOptions(t, c, 1, 1)
		must(t, c.SetSocketOption(tcp.LowDelayOption, 0))
		wantOptions(t, c, 0, 1)
		must(t, c.SetSocketOption(tcp.KeepAliveOption, 0))
		wantOptions(t, c, 0, 0)
		must(t, c.SetSocketOption(tcp.KeepAliveOption, 1))
		must(t, c.SetSocketOption(tcp.LowDelayOption, 1))
		wantOptions(t, c, 1, 1)
		for _, bad := range []struct {
			o tcp.SocketOption
			v int
		}{{tcp.LowDelayOption, 2}, {tcp.KeepAliveOption, -1}, {7, 0}, {-1, 0}, {127, 1}} {
			wantIs(t, "SetSocketOption", c.SetSocketOption(bad.o, bad.v), sock.UnsupportedSocketOperationError)
		}
		_, err := c.SocketOption(7)
		wantIs(t, "SocketOption", err, sock.UnsupportedSocketOperationError)
		c.Close()
		_, err = c.SocketOption(tcp.LowDelayOption)
		wantIs(t, "SocketOption after Close", err, sock.OperationError)
	}
}

// What is set before is for every connection that the socket makes; what is set while there is one is for that alone.
func TestSocketOptionsBeforeConnecting(t *testing.T) {
	srv := listen(t)
	c := closeLater(t, new(tcp.Socket))
	_, err := c.SocketOption(tcp.LowDelayOption)
	wantIs(t, "SocketOption", err, sock.OperationError)
	must(t, c.SetSocketOption(tcp.LowDelayOption, 0))
	must(t, c.SetSocketOption(tcp.KeepAliveOption, 0))
	for range 2 {
		must(t, c.ConnectContext(t.Context(), srv.Addr().String()))
		wantOptions(t, c, 0, 0)
		must(t, c.SetSocketOption(tcp.LowDelayOption, 1))
		wantOptions(t, c, 1, 0)
		c.Close()
	}
	must(t, c.SetSocketOption(tcp.KeepAliveOption, 1))
	must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
	must(t, c.WaitForConnected(sockettest.Long()))
	wantOptions(t, c, 0, 1)
}

// What is set while a connection is being made is for that one, up to the last moment: there is none in which it would be lost.
func TestSocketOptionsWhileConnecting(t *testing.T) {
	for name, connect := range map[string]func(*tcp.Socket) error{
		"ConnectToHost": func(c *tcp.Socket) error {
			must(t, c.ConnectToHost("192.0.2.1", 7, 0))
			return c.WaitForConnected(sockettest.Long())
		},
		"ConnectContext": func(c *tcp.Socket) error { return c.ConnectContext(t.Context(), "192.0.2.1:7") },
	} {
		t.Run(name, func(t *testing.T) {
			asked, answer := make(chan struct{}), make(chan struct{})
			p := serveEach(t, func(c *net.TCPConn) {
				b := make([]byte, 10)
				io.ReadFull(c, b[:3])
				c.Write([]byte{5, 0})
				io.ReadFull(c, b)
				close(asked)
				<-answer
				reply(c, 0, nil)
				io.Copy(io.Discard, c)
			})
			c := closeLater(t, new(tcp.Socket))
			c.SetProxy(p)
			must(t, c.SetSocketOption(tcp.KeepAliveOption, 0))
			done := sockettest.Go(func() error { return connect(c) })
			sockettest.Done(t, "the proxy is asked", asked)
			must(t, c.SetSocketOption(tcp.LowDelayOption, 0))
			close(answer)
			must(t, sockettest.Done(t, "it is connected", done))
			wantOptions(t, c, 0, 0)
		})
	}
	t.Run("at any moment", func(t *testing.T) {
		srv := listen(t)
		for range 200 {
			c := closeLater(t, new(tcp.Socket))
			must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
			must(t, c.SetSocketOption(tcp.LowDelayOption, 0)) // before, just as, or after it is connected
			must(t, c.WaitForConnected(sockettest.Long()))
			if v, err := c.SocketOption(tcp.LowDelayOption); v != 0 || err != nil {
				t.Fatalf("LowDelayOption is %d, %v; want 0", v, err)
			}
			c.Abort()
		}
	})
}
