package local

import (
	"context"
	"net"
	"slices"

	"anteroom/internal/core"
	"anteroom/sock"
)

// A Peer says who is at the other end of a connection, as the system says it: of a client who connected when it did, of a server when it
// began to listen. The process may have given the connection away since, or ended; its number may be another process's by now, which
// (*Socket).PeerProcess rules out.
type Peer struct {
	PID    int   // the process; 0 if the system does not say
	UID    int   // its effective user; -2 if the system does not say
	GID    int   // its effective group; -2 if the system does not say
	Groups []int // its supplementary groups; nil if the system does not say

	SID     string // on Windows, the user; "" elsewhere
	Session int    // on Windows, the process's session: 0 are services; 0 elsewhere
}

// nobody is what a Peer is before the system has said anything.
var nobody = Peer{UID: -2, GID: -2}

// SameUser reports whether the peer runs as this process's effective user. It is the question that is the same on every system.
func (p Peer) SameUser() bool { return p.sameUser() }

// InGroup reports whether the peer runs with a group, as its effective one or as a supplementary one.
func (p Peer) InGroup(gid int) bool { return p.GID == gid || slices.Contains(p.Groups, gid) }

// SameUserOnly is a function for (*Server).SetAdmit: it lets those in who run as this process's effective user.
func SameUserOnly(p Peer) error {
	if p.SameUser() {
		return nil
	}
	return errOtherUser
}

var errOtherUser = core.Because("the peer is another user", sock.SocketAccessError)

// admits reports whether access options let a peer in, gid being the group that they speak of. It is what the mode of a file does, for a
// name that has none.
func (o SocketOptions) admits(p Peer, gid int) bool {
	switch {
	case o&accessOptions == 0:
		return true
	case p.SameUser():
		return o&UserAccessOption != 0
	case p.InGroup(gid):
		return o&GroupAccessOption != 0
	}
	return o&OtherAccessOption != 0
}

// Peer returns who is at the other end, as the system says it. It fails with an error that Is UnsupportedSocketOperationError where the
// system does not say, and with OperationError if there is no connection.
func (s *Socket) Peer() (Peer, error) {
	peer := nobody
	err := s.core.Control("peer", func(fd uintptr) (err error) {
		peer, err = peerOf(fd)
		return err
	})
	if err != nil {
		return nobody, opError("peer", nil, err)
	}
	return peer, nil
}

// PeerOf returns who is at the other end of a connection that may be wrapped, as a *tls.Conn wraps one: it looks for the *Socket beneath by
// NetConn. It fails as Peer does, and with UnsupportedSocketOperationError if there is no *Socket.
//
// In gRPC, call it in the ServerHandshake of a credentials.TransportCredentials, and keep the Peer in the AuthInfo, which handlers find.
func PeerOf(c net.Conn) (Peer, error) {
	for c != nil {
		if s, ok := c.(*Socket); ok {
			return s.Peer()
		}
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = w.NetConn()
	}
	return nobody, opError("peer", nil, errNoSocket)
}

var errNoSocket = core.Because("the connection is no *local.Socket, and wraps none", sock.UnsupportedSocketOperationError)

type peerKey struct{}

// ConnContext puts the peer of a connection into its context, where PeerFromContext finds it. It is a function for the ConnContext field
// of an http.Server, whose handlers then know who called.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	peer, err := PeerOf(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer)
}

// PeerFromContext returns the peer that ConnContext has put into a context, and whether there is one.
func PeerFromContext(ctx context.Context) (Peer, bool) {
	peer, ok := ctx.Value(peerKey{}).(Peer)
	return peer, ok
}
