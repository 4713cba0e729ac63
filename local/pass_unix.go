//go:build unix

package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"anteroom/sock"
	"golang.org/x/sys/unix"
)

func (s *Socket) sendDescriptors(p []byte, ds []sock.Descriptor) error {
	const op = "send descriptors"
	if len(p) == 0 || len(ds) == 0 || len(ds) > MaxDescriptors {
		return opError(op, nil, &causeError{fmt.Sprintf("%d descriptors with %d bytes: at least one of each, and at most %d descriptors", len(ds), len(p), MaxDescriptors),
			[]error{sock.UnsupportedSocketOperationError}})
	}
	fds := make([]int, len(ds))
	for i, d := range ds {
		if d.IsLent() {
			return opError(op, nil, errNotOurs)
		}
		fd, ok := d.Fd()
		if !ok {
			return opError(op, nil, errNotOurs)
		}
		fds[i] = int(fd)
	}
	// What is buffered, and Writes under way, come first; an empty Write waits for them.
	if _, err := s.Write(nil); err != nil {
		return err
	}
	n, err := 0, error(nil)
	err = s.waitRaw(op, func(rc syscall.RawConn, try func(uintptr) bool) error { return rc.Write(try) }, func(fd int) (again bool, err error) {
		n, err = unix.SendmsgN(fd, p, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		return err == unix.EAGAIN, os.NewSyscallError("sendmsg", err)
	})
	runtime.KeepAlive(ds)
	if err == nil && n < len(p) {
		_, err = s.Write(p[n:])
	}
	if err != nil {
		return err
	}
	for _, d := range ds {
		d.Close()
	}
	return nil
}

func (s *Socket) receiveDescriptors(p []byte) (n int, ds []sock.Descriptor, err error) {
	const op = "receive descriptors"
	if len(p) == 0 {
		return 0, nil, opError(op, nil, &causeError{"there must be room for one byte", []error{sock.UnsupportedSocketOperationError}})
	}
	if s.core.Buffered() > 0 {
		return 0, nil, opError(op, nil, &causeError{"bytes are buffered already, which came without their descriptors: read them first", []error{sock.OperationError}})
	}
	oob := make([]byte, unix.CmsgSpace(4*MaxDescriptors))
	var oobn, flags int
	err = s.waitRaw(op, func(rc syscall.RawConn, try func(uintptr) bool) error { return rc.Read(try) }, func(fd int) (again bool, err error) {
		n, oobn, flags, _, err = unix.Recvmsg(fd, p, oob, recvFlags)
		return err == unix.EAGAIN, os.NewSyscallError("recvmsg", err)
	})
	if err != nil {
		return 0, nil, err
	}
	ds, err = rights(oob[:oobn])
	if flags&unix.MSG_CTRUNC != 0 && err == nil {
		err = &causeError{fmt.Sprintf("more descriptors came than %d, or than this process has room for: they are closed", MaxDescriptors), []error{sock.SocketResourceError}}
	}
	if err != nil {
		for _, d := range ds {
			d.Close()
		}
		return n, nil, opError(op, nil, err)
	}
	if n == 0 {
		return 0, nil, io.EOF
	}
	return n, ds, nil
}

// rights returns the descriptors in what recvmsg has received beside the bytes, those before an error too.
func rights(oob []byte) (ds []sock.Descriptor, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials or the like, which the other end may send unasked
		}
		for _, fd := range fds {
			if recvFlags == 0 {
				unix.CloseOnExec(fd)
			}
			ds = append(ds, sock.FromFd(uintptr(fd)))
		}
	}
	return ds, nil
}

// waitRaw makes a system call on the connection until it need not wait.
func (s *Socket) waitRaw(op string, wait func(syscall.RawConn, func(uintptr) bool) error, call func(fd int) (again bool, err error)) error {
	rc, err := s.core.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = wait(rc, func(fd uintptr) bool {
		for {
			again, err := call(int(fd))
			if again {
				return false
			}
			if failed = err; !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return opError(op, nil, err)
	}
	return nil
}
