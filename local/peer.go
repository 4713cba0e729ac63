package local

// A Peer says who is at the other end of a connection, as the system says it: of a client who connected when it did, of a server when it
// began to listen. The process may have given the connection away since, or ended; its number may be another process's by now.
type Peer struct {
	PID int    // the process; 0 if the system does not say
	UID int    // its effective user; -2 if the system does not say
	GID int    // its effective group; -2 if the system does not say
	SID string // on Windows, the user; "" elsewhere
}

// nobody is what a Peer is before the system has said anything.
var nobody = Peer{UID: -2, GID: -2}

// SameUser reports whether the peer runs as this process's effective user. It is the question that is the same on every system.
func (p Peer) SameUser() bool { return p.sameUser() }

// admits reports whether access options let a peer in. It is what the mode of a file does, for a name that has none.
func (o SocketOptions) admits(p Peer) bool {
	switch {
	case o&accessOptions == 0:
		return true
	case p.sameUser():
		return o&UserAccessOption != 0
	case p.sameGroup():
		return o&GroupAccessOption != 0
	}
	return o&OtherAccessOption != 0
}
