package local

import "golang.org/x/sys/unix"

func peerPID(fd uintptr, _ *unix.Xucred) (int, error) {
	return unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
}
