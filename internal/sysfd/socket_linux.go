package sysfd

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	fionread  = unix.TIOCINQ
	pollEnded = unix.POLLRDHUP

	// MaxBacklog asks for the longest queue of connections that the system allows: it cuts the number to net.core.somaxconn.
	MaxBacklog = 1<<16 - 1
)

// Stream returns a new stream socket of the family.
func Stream(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// Accept takes a connection from the queue of a listening fd. Nobody is asked for the peer's address.
func Accept(fd int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}
