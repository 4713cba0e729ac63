//go:build linux

// Server anteroom-loop is this library on an event loop: no goroutine for a connection, and one handler for all of them. With "callbacks" as
// its last argument each connection has callbacks of its own instead.
package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"

	"anteroom/bench/servers/internal/serve"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/tcp"
)

// A socket is what local's and tcp's have in common here.
type socket interface {
	comparable
	ReadAvailable([]byte) (int, error)
	WriteBuffered([]byte) (int, error)
	BytesToWrite() int64
	Close() error
}

type server[S socket] struct {
	mode    string
	connect func(S)      // connects a connection's own callbacks; outside of generic code, where each closure would hold a dictionary, too
	buf     []byte       // one for all connections, whose callbacks all run on one loop
	due     map[S]uint64 // push: how many messages follow
}

func main() {
	last := len(os.Args) - 1
	callbacks := os.Args[last] == "callbacks"
	if callbacks {
		os.Args = os.Args[:last]
	}
	network, address, mode := serve.Args()
	group, err := loop.NewGroup(1)
	serve.Check(err)
	if network == "unix" {
		h := newServer[*local.Socket](mode)
		var srv local.Server
		srv.SetLoops(group)
		if callbacks {
			h.connect = func(c *local.Socket) {
				c.OnReadyRead(func() { h.readyRead(c) })
				c.OnDisconnected(func() { h.disconnected(c) })
			}
		} else {
			handler := local.Handler{ReadyRead: h.readyRead, Disconnected: h.disconnected, BytesWritten: h.bytesWritten()}
			if mode == "echo" { // outside of generic code, whose calls of methods go by way of a dictionary: no program would do that to itself
				handler.ReadyRead = func(c *local.Socket) {
					n, _ := c.ReadAvailable(h.buf)
					c.WriteBuffered(h.buf[:n])
				}
			}
			srv.SetHandler(handler)
		}
		srv.OnNewConnection(func() { h.take(srv.NextPendingConnection) })
		serve.Check(srv.Listen(address))
	} else {
		h := newServer[*tcp.Socket](mode)
		var srv tcp.Server
		srv.SetLoops(group)
		if callbacks {
			h.connect = func(c *tcp.Socket) {
				c.OnReadyRead(func() { h.readyRead(c) })
				c.OnDisconnected(func() { h.disconnected(c) })
			}
		} else {
			handler := tcp.Handler{ReadyRead: h.readyRead, Disconnected: h.disconnected, BytesWritten: h.bytesWritten()}
			if mode == "echo" { // as above
				handler.ReadyRead = func(c *tcp.Socket) {
					n, _ := c.ReadAvailable(h.buf)
					c.WriteBuffered(h.buf[:n])
				}
			}
			srv.SetHandler(handler)
		}
		srv.OnNewConnection(func() { h.take(srv.NextPendingConnection) })
		at, err := netip.ParseAddrPort(address)
		serve.Check(err)
		serve.Check(srv.Listen(at.Addr(), at.Port()))
	}
	serve.Ready()
	serve.Check(group.Run(context.Background()))
}

func newServer[S socket](mode string) *server[S] {
	return &server[S]{mode: mode, buf: make([]byte, serve.StreamBuffer), due: make(map[S]uint64)}
}

// take takes what is pending.
func (h *server[S]) take(next func() S) {
	var none S
	for c := next(); c != none; c = next() {
		if h.mode == "close" {
			c.Close()
			continue
		}
		if h.connect != nil {
			h.connect(c)
		}
	}
}

func (h *server[S]) readyRead(c S) {
	n, _ := c.ReadAvailable(h.buf) // the end is told to disconnected
	switch h.mode {
	case "echo":
		c.WriteBuffered(h.buf[:n])
	case "push":
		if n == 8 {
			h.push(c, binary.LittleEndian.Uint64(h.buf))
		}
	}
}

func (h *server[S]) disconnected(c S) {
	delete(h.due, c)
	c.Close()
}

// bytesWritten returns the callback for going on with a push, or nil where nothing is pushed.
func (h *server[S]) bytesWritten() func(S, int64) {
	if h.mode != "push" {
		return nil
	}
	return func(c S, _ int64) {
		if n := h.due[c]; n > 0 && c.BytesToWrite() == 0 {
			h.push(c, n)
		}
	}
}

// push writes a batch of n messages, and notes how many follow when those have left.
func (h *server[S]) push(c S, n uint64) {
	batch := min(n, serve.Batch)
	for range batch {
		c.WriteBuffered(serve.Message)
	}
	h.due[c] = n - batch
}
