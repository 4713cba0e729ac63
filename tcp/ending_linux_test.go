package tcp_test

import (
	"fmt"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/tcp"
)

// After CloseRead the peer's end is still told: Linux says that it has come.
func TestSocketPeersEndAfterCloseRead(t *testing.T) {
	for _, loops := range []bool{false, true} {
		for how, await := range map[string]func(t *testing.T, c *tcp.Socket) (ended func()){
			"callback": func(t *testing.T, c *tcp.Socket) func() {
				ended := make(chan struct{})
				c.OnDisconnected(func() { close(ended) })
				return func() { sockettest.Done(t, "the end is told", ended) }
			},
			"wait": func(t *testing.T, c *tcp.Socket) func() {
				waited := sockettest.Go(func() error { return c.WaitForDisconnected(sockettest.Long()) })
				return func() { must(t, sockettest.Done(t, "the wait returns", waited)) }
			},
		} {
			t.Run(fmt.Sprint(how, ", loops ", loops), func(t *testing.T) {
				srv := new(tcp.Server)
				if loops {
					srv.SetLoops(runLoops(t, 1))
				}
				listenWith(t, srv)
				client := dial(t, srv)
				server := next(t, srv)
				must(t, server.CloseRead())
				ended := await(t, server)
				if _, err := server.Write([]byte("still here")); err != nil {
					t.Error(err)
				}
				wantRead(t, client, "still here")
				client.Close()
				ended()
			})
		}
	}
}
