//go:build !linux

package local

import "anteroom/sock"

func peerOf(uintptr) (Peer, error) {
	return nobody, &causeError{"the peer's identity is not asked on this system", []error{sock.UnsupportedSocketOperationError}}
}

func (p Peer) sameUser() bool  { return false }
func (p Peer) sameGroup() bool { return false }
