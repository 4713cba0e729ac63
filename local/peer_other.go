//go:build !linux && !windows && !darwin && !freebsd && !openbsd && !netbsd

package local

import (
	"os"

	"anteroom/internal/core"
	"anteroom/sock"
)

var errNoIdentity = core.Because("the peer's identity is not asked on this system", sock.UnsupportedSocketOperationError)

func peerOf(uintptr) (Peer, error) { return nobody, errNoIdentity }

func (p Peer) sameUser() bool { return false }

// PeerProcess fails with an error that Is UnsupportedSocketOperationError: the system has no descriptors of processes. See its
// documentation for Linux.
func (s *Socket) PeerProcess() (*os.File, error) {
	return nil, opError("peer process", nil, errNoIdentity)
}
