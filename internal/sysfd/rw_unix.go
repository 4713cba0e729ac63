//go:build unix && (!linux || race || msan || asan)

package sysfd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// These are what rw_raw.go does in a way that the detectors of data races and of uninitialized memory can see, and that every Unix has.

// Read reads what has arrived, at most len(p) bytes. It returns 0 and no error at the end, or if p is empty.
func Read(fd int, p []byte) (int, syscall.Errno) { return again(unix.Read, fd, p) }

// Filled reports whether a read of n bytes into p may have left others because there was no room for them.
func Filled(n int, p []byte) bool { return n > 0 && n == len(p) }

// ReadUpTo is Read from a Unix-domain socket, and says whether it has stopped where descriptors came with the bytes, which are lost: there
// may be more then.
func ReadUpTo(fd int, p []byte) (n int, cut bool, errno syscall.Errno) {
	if len(p) == 0 {
		return 0, false, 0
	}
	for {
		n, _, flags, _, err := unix.Recvmsg(fd, p, nil, unix.MSG_DONTWAIT)
		if err == nil {
			return n, flags&unix.MSG_CTRUNC != 0, 0
		}
		if errno := toErrno(err); errno != syscall.EINTR {
			return 0, false, errno
		}
	}
}

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
