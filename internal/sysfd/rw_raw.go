//go:build linux && !race && !msan && !asan

package sysfd

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRaw bounds what one call copies: a raw system call keeps its processor, so that nothing else runs on it, and the collector waits.
const maxRaw = 64 << 10

// The calls are raw since they never wait: telling the scheduler of each costs more than many of them take. recvfrom and sendto are
// quicker on sockets than read and write, and MSG_DONTWAIT keeps them from waiting even if another process that shares the socket has made it
// blocking.

// Read reads what has arrived, at most len(p) bytes, and returns how many: 0 at the end, or if p is empty. After an error n means nothing. It is
// just small enough for the compiler to put it where it is called, which is also why it leaves EINTR to the caller.
func Read(fd int, p []byte) (n uintptr, errno syscall.Errno) {
	return call(unix.SYS_RECVFROM, uintptr(fd), unsafe.Pointer(unsafe.SliceData(p)), uintptr(min(len(p), maxRaw)), syscall.MSG_DONTWAIT)
}

// Filled reports whether a read of n bytes into p may have left others because there was no room for them.
func Filled(n int, p []byte) bool { return n > 0 && n == min(len(p), maxRaw) }

// ReadUpTo is Read from a Unix-domain socket, and says whether it has stopped where descriptors came with the bytes, which are lost: there
// may be more then.
func ReadUpTo(fd int, p []byte) (n uintptr, cut bool, errno syscall.Errno) {
	if len(p) == 0 {
		return 0, false, 0
	}
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(min(len(p), maxRaw))
	msg := unix.Msghdr{Iov: &iov}
	msg.SetIovlen(1)
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), syscall.MSG_DONTWAIT)
		if errno == 0 {
			return n, msg.Flags&unix.MSG_CTRUNC != 0, 0
		}
		if errno != syscall.EINTR {
			return 0, false, errno
		}
	}
}

// Write writes as much of p as the system takes now. For the rest it is as Read is.
func Write(fd int, p []byte) (n uintptr, errno syscall.Errno) {
	return call(unix.SYS_SENDTO, uintptr(fd), unsafe.Pointer(unsafe.SliceData(p)), uintptr(min(len(p), maxRaw)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

// Peek returns 1 if something has arrived that can be read, 0 at the end, or why neither is so: EAGAIN, or the connection's error.
func Peek(fd int) (int, syscall.Errno) {
	var b [1]byte
	for {
		n, errno := call(unix.SYS_RECVFROM, uintptr(fd), unsafe.Pointer(&b), 1, syscall.MSG_DONTWAIT|syscall.MSG_PEEK)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}
