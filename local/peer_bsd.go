//go:build darwin || freebsd || openbsd || netbsd

package local

import (
	"os"

	"anteroom/internal/core"
	"anteroom/sock"
)

func (p Peer) sameUser() bool { return p.UID == os.Geteuid() }

// PeerProcess fails with an error that Is UnsupportedSocketOperationError: the system has no descriptors of processes. See its
// documentation for Linux.
func (s *Socket) PeerProcess() (*os.File, error) {
	return nil, opError("peer process", nil, core.Because("the system has no descriptors of processes", sock.UnsupportedSocketOperationError))
}
