//go:build unix && !linux

package sysfd

import (
	"os"

	"golang.org/x/sys/unix"
)

// UnixName returns the address of a Unix-domain socket, or of its peer: "" if it has none, else a path.
func UnixName(fd int, peer bool) (string, error) {
	get, call := unix.Getsockname, "getsockname"
	if peer {
		get, call = unix.Getpeername, "getpeername"
	}
	sa, err := get(fd)
	if err != nil {
		return "", os.NewSyscallError(call, err)
	}
	if un, ok := sa.(*unix.SockaddrUnix); ok {
		return un.Name, nil
	}
	return "", nil
}
