//go:build darwin || freebsd

package local

import (
	"os"

	"anteroom/internal/core"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

var errLayout = core.Because("the system says who the peer is in a layout that is not known", sock.UnsupportedSocketOperationError)

// peerOf asks the system who is at the other end.
func peerOf(fd uintptr) (Peer, error) {
	c, err := unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return nobody, os.NewSyscallError("getsockopt", err)
	}
	if c.Version != 0 { // of another layout than the one that is known
		return nobody, errLayout
	}
	peer := nobody
	peer.UID = int(c.Uid)
	groups := c.Groups[:max(min(int(c.Ngroups), len(c.Groups)), 0)] // the effective one first; the system says no more than 16
	for i, gid := range groups {
		if i == 0 {
			peer.GID = int(gid)
			peer.Groups = []int{}
			continue
		}
		peer.Groups = append(peer.Groups, int(gid))
	}
	if peer.PID, err = peerPID(fd, c); err != nil {
		return nobody, os.NewSyscallError("getsockopt", err)
	}
	return peer, nil
}
