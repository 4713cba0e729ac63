//go:build openbsd || netbsd

package local

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// peerOf asks the system who is at the other end. It answers with three numbers, in an order that differs, for which the option of
// another type that package unix has leaves room.
func peerOf(fd uintptr) (Peer, error) {
	m, err := unix.GetsockoptIPv6Mreq(int(fd), peerLevel, peerOption)
	if err != nil {
		return nobody, os.NewSyscallError("getsockopt", err)
	}
	number := func(i int) int { return int(int32(binary.NativeEndian.Uint32(m.Multiaddr[4*i:]))) }
	peer := nobody
	peer.PID, peer.UID, peer.GID = number(peerPID), number(peerUID), number(peerGID)
	return peer, nil
}
