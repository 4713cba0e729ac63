//go:build unix && (!linux || race || msan || asan)

package sysfd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// These are what rw_raw.go does in a way that the detectors of data races and of uninitialized memory can see, and that every Unix has.

// Read reads what has arrived, at most len(p) bytes, and returns how many: 0 at the end, or if p is empty. After an error n means nothing. EINTR is
// for the caller.
func Read(fd int, p []byte) (n uintptr, errno syscall.Errno) { return result(unix.Read(fd, p)) }

// Filled reports whether a read of n bytes into p may have left others because there was no room for them.
func Filled(n int, p []byte) bool { return n > 0 && n == len(p) }

// ReadUpTo is Read from a Unix-domain socket, and says whether it has stopped where descriptors came with the bytes, which are lost: there
// may be more then.
func ReadUpTo(fd int, p []byte) (n uintptr, cut bool, errno syscall.Errno) {
	if len(p) == 0 {
		return 0, false, 0
	}
	for {
		n, _, flags, _, err := unix.Recvmsg(fd, p, nil, unix.MSG_DONTWAIT)
		if err == nil {
			return uintptr(n), flags&unix.MSG_CTRUNC != 0, 0
		}
		if errno := toErrno(err); errno != syscall.EINTR {
			return 0, false, errno
		}
	}
}

// Write writes as much of p as the system takes now. Go's runtime sees to it that a broken connection is an error and not a signal. For the rest
// it is as Read is.
func Write(fd int, p []byte) (n uintptr, errno syscall.Errno) { return result(unix.Write(fd, p)) }

func result(n int, err error) (uintptr, syscall.Errno) {
	if err != nil {
		return 0, toErrno(err)
	}
	return uintptr(n), 0
}

// Peek returns 1 if something has arrived that can be read, 0 at the end, or why neither is so: EAGAIN, or the connection's error.
func Peek(fd int) (int, syscall.Errno) {
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err == nil {
			return n, 0
		}
		if errno := toErrno(err); errno != syscall.EINTR {
			return 0, errno
		}
	}
}
