//go:build unix

package sysfd

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Status says what a read would find, without reading.
type Status struct {
	Unread int  // bytes that have arrived and were not read
	Ended  bool // the peer writes no more, or the connection has failed: nothing will arrive after Unread
}

// Query returns the state of the receiving side of fd.
func Query(fd int) (Status, syscall.Errno) {
	// The order matters: what poll calls ended can get no more bytes, so the count that is taken after it is the last one.
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | pollEnded}}
	for {
		_, err := unix.Poll(fds[:], 0)
		if err == nil {
			break
		}
		if errno := toErrno(err); errno != syscall.EINTR {
			return Status{}, errno
		}
	}
	if fds[0].Revents == 0 {
		return Status{}, 0
	}
	n, err := unix.IoctlGetInt(fd, fionread)
	if err != nil {
		return Status{}, toErrno(err)
	}
	ended := fds[0].Revents&(pollEnded|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
	if n == 0 && !ended && fds[0].Revents&unix.POLLIN != 0 {
		// Readable without a byte: the end, or a place in the stream that the count stops at, such as an urgent byte.
		got, errno := Peek(fd)
		n, ended = got, errno == 0 && got == 0 || errno != 0 && errno != syscall.EAGAIN
	}
	return Status{Unread: n, Ended: ended}, 0
}

// HungUp reports whether both directions of fd have ended, the connection has failed, or, where the system tells, the peer of one of TCP has ended
// its direction.
func HungUp(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 || hasFin(fd)
}

// CheckShared comes before Accept for a socket that other processes have, too: one of them may have made it blocking, or may take the
// connection. It returns EAGAIN if there is none.
func CheckShared(fd int) syscall.Errno {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds[:], 0); err != nil {
		return toErrno(err)
	} else if n == 0 {
		return syscall.EAGAIN
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return toErrno(err)
	}
	return 0
}

// Pipe returns the two ends of a pipe, for reading and for writing.
func Pipe() (fds [2]int, err error) {
	var p [2]int
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(p[:]); err != nil {
		return [2]int{-1, -1}, os.NewSyscallError("pipe", err)
	}
	for _, fd := range p {
		Prepare(fd)
	}
	return p, nil
}

// Close closes fd.
func Close(fd int) error { return unix.Close(fd) }

// Shutdown ends one or both directions of fd: unix.SHUT_RD, SHUT_WR, SHUT_RDWR.
func Shutdown(fd, how int) error { return unix.Shutdown(fd, how) }

// Dup returns a duplicate of fd that is closed on exec.
func Dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return n, nil
}

// Prepare makes a descriptor that somebody else opened non-blocking and closed on exec.
func Prepare(fd int) error {
	unix.CloseOnExec(fd)
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

// CheckStream returns nil if fd is a stream socket of one of the families, and else an error that says what it is instead. listening asks
// for one that accepts connections, or for one that does not.
func CheckStream(fd int, listening bool, families ...int) error {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if typ != unix.SOCK_STREAM {
		return os.NewSyscallError("the descriptor is a socket of another type", unix.EPROTOTYPE)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if !slices.Contains(families, familyOf(sa)) {
		return os.NewSyscallError("the descriptor is a socket of another family", unix.EAFNOSUPPORT)
	}
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	switch {
	case listening && accepts == 0:
		return os.NewSyscallError("the descriptor is a socket that does not listen", unix.EINVAL)
	case !listening && accepts != 0:
		return os.NewSyscallError("the descriptor is a socket that listens", unix.EINVAL)
	}
	return nil
}

func familyOf(sa unix.Sockaddr) int {
	switch sa.(type) {
	case *unix.SockaddrUnix:
		return unix.AF_UNIX
	case *unix.SockaddrInet4:
		return unix.AF_INET
	case *unix.SockaddrInet6:
		return unix.AF_INET6
	}
	return unix.AF_UNSPEC
}

func toErrno(err error) syscall.Errno {
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return syscall.EIO
}
