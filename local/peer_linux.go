package local

import (
	"os"

	"golang.org/x/sys/unix"
)

// peerOf asks the system who is at the other end.
func peerOf(fd uintptr) (Peer, error) {
	c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nobody, os.NewSyscallError("getsockopt", err)
	}
	return Peer{PID: int(c.Pid), UID: int(c.Uid), GID: int(c.Gid)}, nil
}

func (p Peer) sameUser() bool  { return p.UID == os.Geteuid() }
func (p Peer) sameGroup() bool { return p.GID == os.Getegid() }
