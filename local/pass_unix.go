//go:build unix

package local

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"anteroom/internal/core"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

func (s *Socket) sendDescriptors(p []byte, ds []sock.Descriptor) error {
	const op = "send descriptors"
	if len(p) == 0 || len(ds) == 0 || len(ds) > MaxDescriptors {
		return opError(op, nil, core.Because(fmt.Sprintf("%d descriptors with %d bytes: at least one of each, and at most %d descriptors", len(ds), len(p), MaxDescriptors),
			sock.UnsupportedSocketOperationError))
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
	_, err := s.core.WriteWith(p, func(fd uintptr, p []byte) (int, error) {
		n, err := retry(func() (int, error) {
			return unix.SendmsgN(int(fd), p, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		})
		return n, again("sendmsg", err)
	})
	runtime.KeepAlive(ds)
	if err != nil {
		return err
	}
	for _, d := range ds {
		d.Close()
	}
	return nil
}

// retry makes a system call again as long as a signal interrupts it.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// again makes an error one that the core knows.
func again(call string, err error) error {
	if err == unix.EAGAIN {
		return core.ErrAgain
	}
	return os.NewSyscallError(call, err)
}

func (s *Socket) receiveDescriptors(p []byte) (n int, ds []sock.Descriptor, err error) {
	const op = "receive descriptors"
	if len(p) == 0 {
		return 0, nil, opError(op, nil, core.Because("there must be room for one byte", sock.UnsupportedSocketOperationError))
	}
	oob := make([]byte, unix.CmsgSpace(4*MaxDescriptors)+otherMessages)
	var oobn, flags int
	n, err = s.core.ReadWith(p, func(fd uintptr, p []byte) (n int, err error) {
		n, err = retry(func() (n int, err error) {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), p, oob, recvFlags|unix.MSG_DONTWAIT)
			return n, err
		})
		if err == nil && n == 0 {
			return 0, io.EOF
		}
		return n, again("recvmsg", err)
	})
	if err != nil {
		return 0, nil, err
	}
	ds, err = rights(oob[:oobn])
	if (flags&unix.MSG_CTRUNC != 0 || len(ds) > MaxDescriptors) && err == nil {
		err = core.Because(fmt.Sprintf("more descriptors came than %d, or than this process has room for: they are closed", MaxDescriptors), sock.SocketResourceError)
	}
	if err != nil {
		for _, d := range ds {
			d.Close()
		}
		return n, nil, opError(op, nil, err)
	}
	return n, ds, nil
}

// otherMessages is room for what the system may send beside the descriptors because the socket was told to ask for it.
const otherMessages = 512

// rights returns the descriptors in what recvmsg has received beside the bytes, those before an error too.
func rights(oob []byte) (ds []sock.Descriptor, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		if closeStray(&messages[i]) {
			continue
		}
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials or the like
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
