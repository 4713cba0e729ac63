package local_test

import (
	"os"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// peer-client connects, and ends when its server closes.
var _ = sockettest.Child("peer-client", func() {
	c, err := local.Dial(os.Args[1])
	mustChild(err)
	c.Read(make([]byte, 1)) // until the server closes
})

// The system says who the peer is, on every one that says it at all: another process of this user.
func TestPeerIsAnotherProcessOfThisUser(t *testing.T) {
	srv := listen(t)
	child := sockettest.Start(t, "peer-client", srv.FullServerName())
	c := next(t, srv)
	p, err := c.Peer()
	if !sockettest.HasPeers {
		wantIs(t, "Peer", err, sock.UnsupportedSocketOperationError)
		return
	}
	must(t, err)
	if !p.SameUser() || local.SameUserOnly(p) != nil {
		t.Errorf("the peer is %+v, and not of this user", p)
	}
	if p.PID != child.PID() && p.PID != 0 { // FreeBSD says it from 13 on
		t.Errorf("the peer is process %d; want %d", p.PID, child.PID())
	}
	if sockettest.HasFiles && (p.UID != os.Geteuid() || p.GID != os.Getegid()) {
		t.Errorf("the peer is %d:%d; want %d:%d", p.UID, p.GID, os.Geteuid(), os.Getegid())
	}
	c.Close()
	if _, err := child.Wait(); err != nil {
		t.Error(err)
	}
}
