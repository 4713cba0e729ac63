package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"

	"anteroom/local"
	"anteroom/sock"
	"anteroom/tcp"
)

// A conn is a connection, of either kind.
type conn interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	Abort()
}

// A server is one of either kind.
type server interface {
	net.Listener
	ListenDescriptor(sock.Descriptor) error
	OnAcceptError(f func(error)) (stop func())
	SetMaxPendingConnections(n int)
}

// accept takes a server's next connection.
func accept(ctx context.Context, srv server) (conn, error) {
	if srv, ok := srv.(*tcp.Server); ok {
		return orNil(srv.AcceptContext(ctx))
	}
	return orNil(srv.(*local.Server).AcceptContext(ctx))
}

// localSocket returns the local socket that a connection is, or goes through.
func localSocket(c conn) (*local.Socket, bool) {
	if p, ok := c.(interface{ socket() *local.Socket }); ok {
		return p.socket(), true
	}
	s, ok := c.(*local.Socket)
	return s, ok
}

// orNil returns a connection as a conn that is nil after an error.
func orNil[C conn](c C, err error) (conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// servedAt says where a server listens, in words that are an address for its clients.
func servedAt(srv server) string {
	if srv, ok := srv.(*local.Server); ok {
		return srv.FullServerName()
	}
	return tcpScheme + ":" + srv.Addr().String()
}

// peerWords says who is at the other end: "process 42, user 1000, group 1000" or "127.0.0.1:4711", or "" if the system does not say.
func peerWords(c conn) string {
	l, ok := localSocket(c)
	if !ok {
		return c.RemoteAddr().String()
	}
	p, err := l.Peer()
	if err != nil {
		return ""
	}
	return peerText(p)
}

func peerText(p local.Peer) string {
	var words []string
	if p.PID > 0 {
		words = append(words, fmt.Sprintf("process %d", p.PID))
	}
	if p.UID >= 0 {
		words = append(words, fmt.Sprintf("user %d", p.UID))
	}
	if p.GID >= 0 {
		words = append(words, fmt.Sprintf("group %d", p.GID))
	}
	if p.SID != "" {
		words = append(words, "user "+p.SID)
	}
	return strings.Join(words, ", ")
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// reset closes a connection in a way that its peer does not take for the end of what was sent. A local socket has no such way: its peer
// reads an end, unless it has sent what nobody has read.
func reset(c conn) {
	if c, ok := c.(*tcp.Socket); ok {
		if raw, err := c.SyscallConn(); err == nil {
			raw.Control(dropUnsent)
		}
	}
	c.Abort()
}
