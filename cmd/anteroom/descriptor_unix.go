//go:build unix

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// isTCP reports whether a descriptor is a socket of TCP, and not a local one.
func isTCP(fd uintptr) (bool, error) {
	sa, err := unix.Getsockname(int(fd))
	switch err {
	case nil:
	case unix.EBADF:
		return false, fmt.Errorf("descriptor %d is not open", fd)
	case unix.ENOTSOCK:
		return false, fmt.Errorf("descriptor %d is no socket", fd)
	default:
		return false, fmt.Errorf("descriptor %d: %w", fd, os.NewSyscallError("getsockname", err))
	}
	switch sa.(type) {
	case *unix.SockaddrUnix:
		return false, nil
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		return true, nil
	}
	return false, fmt.Errorf("descriptor %d is neither a local socket nor one of TCP", fd)
}

// dropUnsent makes the close of a TCP connection a reset.
func dropUnsent(fd uintptr) {
	unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}
