//go:build unix

package tcp_test

import (
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/tcp"
)

// No operation allocates: neither Read and Write, nor callbacks on a loop.
func TestEchoAllocatesNothing(t *testing.T) {
	sockettest.NeedPools(t)
	t.Run("blocking", func(t *testing.T) {
		srv := listen(t)
		c := closeLater(t, dialTo(t, srv.Addr().String()))
		go sockettest.Answer(next(t, srv))
		sockettest.EchoAllocatesNothing(t, c)
	})
	for _, how := range []string{"callbacks", "handler"} {
		t.Run(how, func(t *testing.T) {
			sockettest.NeedLoops(t)
			srv := new(tcp.Server)
			srv.SetLoops(runLoops(t, 1))
			buf := make([]byte, 100)
			answer := func(c *tcp.Socket) {
				n, _ := c.ReadAvailable(buf)
				c.WriteBuffered(buf[:n])
			}
			ended := make(chan struct{}, 1)
			if how == "handler" {
				srv.SetHandler(tcp.Handler{ReadyRead: answer, Disconnected: func(*tcp.Socket) { ended <- struct{}{} }})
			}
			srv.OnNewConnection(func() {
				if c := srv.NextPendingConnection(); c != nil && how == "callbacks" {
					c.OnReadyRead(func() { answer(c) })
					c.OnDisconnected(func() { ended <- struct{}{} })
				}
			})
			listenWith(t, srv)
			c := closeLater(t, dialTo(t, srv.Addr().String()))
			sockettest.EchoAllocatesNothing(t, c)
			c.Close()
			sockettest.Done(t, "the server's end has ended", ended)
		})
	}
}
