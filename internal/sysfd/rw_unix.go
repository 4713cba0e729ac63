//go:build unix && (!linux || race || msan || asan)

package sysfd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// These are what rw_raw.go does in a way that the detectors of data races and of uninitialized memory can see, and that every Unix has.

// Read reads what has arrived, at most len(p) bytes. It returns 0 and no error at the end, or if p is empty.
func Read(fd int, p []byte) (int, syscall.Errno) { return again(unix.Read, fd, p) }

// Write writes as much of p as the system takes now. Go's runtime sees to it that a broken connection is an error and not a signal.
func Write(fd int, p []byte) (int, syscall.Errno) { return again(unix.Write, fd, p) }

func again(call func(int, []byte) (int, error), fd int, p []byte) (int, syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	for {
		n, err := call(fd, p)
		if err == nil {
			return n, 0
		}
		if errno := toErrno(err); errno != syscall.EINTR {
			return 0, errno
		}
	}
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
