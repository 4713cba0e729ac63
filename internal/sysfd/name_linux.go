package sysfd

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UnixName returns the address of a Unix-domain socket, or of its peer: "" if it has none, a path, or a NUL byte and the bytes of an
// abstract name. Those may hold more NUL bytes, so that only the address's length says where they end; x/sys loses it.
func UnixName(fd int, peer bool) (string, error) {
	var sa unix.RawSockaddrUnix
	length := uint32(unsafe.Sizeof(sa))
	trap, call := uintptr(unix.SYS_GETSOCKNAME), "getsockname"
	if peer {
		trap, call = unix.SYS_GETPEERNAME, "getpeername"
	}
	if _, _, errno := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&length))); errno != 0 {
		return "", os.NewSyscallError(call, errno)
	}
	n := int(length) - int(unsafe.Offsetof(sa.Path))
	if n <= 0 || sa.Family != unix.AF_UNIX {
		return "", nil
	}
	name := make([]byte, min(n, len(sa.Path)))
	for i := range name {
		name[i] = byte(sa.Path[i])
	}
	if name[0] != 0 { // a path ends at its NUL, if there was room for one
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
	}
	return string(name), nil
}
