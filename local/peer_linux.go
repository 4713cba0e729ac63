package local

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerOf asks the system who is at the other end.
func peerOf(fd uintptr) (Peer, error) {
	c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nobody, os.NewSyscallError("getsockopt", err)
	}
	peer := Peer{PID: int(c.Pid), UID: int(c.Uid), GID: int(c.Gid)}
	if c.Uid == ^uint32(0) { // nobody has connected it
		return nobody, os.NewSyscallError("getsockopt", unix.ENOTCONN)
	}
	peer.Groups, err = peerGroups(fd)
	return peer, err
}

// peerGroups asks for the supplementary groups. Before Linux 4.13 they are not told.
func peerGroups(fd uintptr) ([]int, error) {
	room := 32
	for {
		gids := make([]uint32, room)
		length := uint32(room * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&gids[0])), uintptr(unsafe.Pointer(&length)), 0)
		switch {
		case errno == unix.ERANGE && int(length/4) > room:
			room = int(length / 4)
			continue
		case errno == unix.ENOPROTOOPT, errno == unix.ENODATA:
			return nil, nil
		case errno != 0:
			return nil, os.NewSyscallError("getsockopt", errno)
		}
		groups := make([]int, length/4)
		for i := range groups {
			groups[i] = int(gids[i])
		}
		return groups, nil
	}
}

func (p Peer) sameUser() bool { return p.UID == os.Geteuid() }

// PeerProcess returns a descriptor of the process at the other end, a pidfd, which no later process with the same number can be mistaken
// for; it can be polled for the process's end, and signalled with pidfd_send_signal. The caller closes it. It fails with an error that Is
// UnsupportedSocketOperationError where the system has none (before Linux 6.5, and off Linux), with SocketAccessError or an unknown
// error if the process has ended, and with OperationError if there is no connection.
func (s *Socket) PeerProcess() (f *os.File, err error) {
	err = s.core.Control("peer process", func(fd uintptr) error {
		pidfd, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		f = os.NewFile(uintptr(pidfd), "pidfd")
		return nil
	})
	if err != nil {
		return nil, opError("peer process", nil, err)
	}
	return f, nil
}
