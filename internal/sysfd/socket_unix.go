//go:build unix && !linux

package sysfd

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	fionread  = 0x4004667f // FIONREAD, _IOR('f', 127, int): the same on all of them
	pollEnded = 0          // there is no POLLRDHUP everywhere; POLLHUP is reported unasked

	// MaxBacklog asks for the longest queue of connections that the system allows.
	MaxBacklog = unix.SOMAXCONN
)

// Stream returns a new stream socket of the family.
func Stream(family int) (int, error) {
	// Not every system sets the flags with the call. The lock keeps a child from being started before they are set.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := Prepare(fd); err != nil {
		Close(fd)
		return -1, err
	}
	return fd, nil
}

// hasFin does not know.
func hasFin(int) bool { return false }

// Accept takes a connection from the queue of a listening fd.
func Accept(fd int) (int, syscall.Errno) {
	n, _, errno := accept(fd)
	return n, errno
}

// AcceptInet is Accept for an Internet socket, and tells the peer's address, which the system may forget when the peer has gone.
func AcceptInet(fd int) (int, Inet, syscall.Errno) {
	n, sa, errno := accept(fd)
	return n, inetOf(sa), errno
}

func accept(fd int) (int, unix.Sockaddr, syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, sa, err := unix.Accept(fd)
	if err != nil {
		return -1, nil, toErrno(err)
	}
	if err := Prepare(n); err != nil {
		Close(n)
		return -1, nil, syscall.EINVAL
	}
	return n, sa, 0
}
