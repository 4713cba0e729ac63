package local

import (
	"os"

	"anteroom/internal/core"
	"anteroom/internal/pipe"
	"anteroom/sock"
	"golang.org/x/sys/windows"
)

func peerOf(fd uintptr) (Peer, error) {
	p, err := pipe.PeerOf(windows.Handle(fd))
	if err != nil {
		return nobody, err
	}
	peer := nobody
	peer.PID, peer.Session, peer.SID = p.PID, p.Session, p.SID
	return peer, nil
}

func (p Peer) sameUser() bool {
	own, err := pipe.OwnSID()
	return err == nil && p.SID == own
}

// PeerProcess fails with an error that Is UnsupportedSocketOperationError: the system has no descriptors of processes. See its
// documentation for Linux.
func (s *Socket) PeerProcess() (*os.File, error) {
	return nil, opError("peer process", nil, core.Because("the system has no descriptors of processes", sock.UnsupportedSocketOperationError))
}
