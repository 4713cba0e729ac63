//go:build unix

package core

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"anteroom/internal/sysfd"
	"golang.org/x/sys/unix"
)

// A runtimeTransport is a descriptor that waits at the Go runtime's poller, by way of an os.File or of package net; everything else is done
// on the descriptor's number, which the owner's mutex keeps open.
//
// It comes to the poller when somebody has to wait: a connection whose request is there when it is accepted is served and closed without.
type runtimeTransport struct {
	fd     int
	seated atomic.Bool // it is at the poller: raw and conn are set, and stay
	others bool        // others may wait there
	closed bool
	raw    syscall.RawConn
	conn   Conn

	mu     sync.Mutex    // of closed and limits, and of taking the seat
	limits *[2]time.Time // what SetLimit said before it was seated
}

// NewTransport makes a transport of fd, a connected non-blocking stream socket that the transport owns from now on.
func NewTransport(fd int) (Transport, error) { return &runtimeTransport{fd: fd}, nil }

// NewConnTransport makes a transport of a stream socket that is at the runtime's poller already, and that the transport owns from now on.
func NewConnTransport(c Conn) (Transport, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	t := &runtimeTransport{others: true, raw: raw, conn: c}
	t.seated.Store(true)
	return t, raw.Control(func(fd uintptr) { t.fd = int(fd) })
}

// sit brings the descriptor to the poller.
func (t *runtimeTransport) sit() error {
	if t.seated.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.seated.Load():
		return nil
	case t.closed:
		return os.ErrClosed
	}
	file := os.NewFile(uintptr(t.fd), "socket")
	if file == nil {
		return syscall.EBADF
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	t.raw, t.conn = raw, file
	defer t.seated.Store(true)
	if t.limits != nil {
		for d, limit := range t.limits {
			if err := t.limit(direction(d), limit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *runtimeTransport) Read(p []byte) (int, error) {
	n, errno := sysfd.Read(t.fd, p)
	return t.hasRead(p, n, errno)
}

// hasRead returns what Read returns whose call has read n bytes into p, or met errno.
func (t *runtimeTransport) hasRead(p []byte, n uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return readResult(n, p)
	case syscall.EINTR:
		return t.Read(p)
	}
	return failed(errno)
}

func (t *runtimeTransport) Write(p []byte) (int, error) { return writeFd(t.fd, p) }

func (t *runtimeTransport) Query() (int, bool, error) { return queryFd(uintptr(t.fd)) }

func (t *runtimeTransport) CloseRead() error          { return sysfd.Shutdown(t.fd, unix.SHUT_RD) }
func (t *runtimeTransport) CloseWrite() error         { return sysfd.Shutdown(t.fd, unix.SHUT_WR) }
func (t *runtimeTransport) Pollers() (Poller, Poller) { return (*readSide)(t), (*writeSide)(t) }
func (t *runtimeTransport) Fd() uintptr               { return uintptr(t.fd) }

func (t *runtimeTransport) SyscallConn() (syscall.RawConn, error) {
	if err := t.sit(); err != nil {
		return nil, err
	}
	return t.raw, nil
}

func (t *runtimeTransport) Close() error {
	t.mu.Lock()
	t.closed = true
	seated := t.seated.Load()
	t.mu.Unlock()
	if seated {
		return t.conn.Close()
	}
	return sysfd.Close(t.fd)
}

// takeSeat has what Wait has to do once: it tries, and comes to the poller if that was in vain. It reports whether Wait is over.
func (t *runtimeTransport) takeSeat(d direction, ready func(uintptr) bool) (done bool, err error) {
	switch {
	case t.passed(d):
		return true, os.ErrDeadlineExceeded
	case ready(uintptr(t.fd)):
		return true, nil
	}
	err = t.sit()
	return err != nil, err
}

func (t *runtimeTransport) setLimit(d direction, limit time.Time) error {
	if t.seated.Load() {
		return t.limit(d, limit)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.seated.Load():
		return t.limit(d, limit)
	case t.closed:
		return os.ErrClosed
	case t.limits == nil:
		t.limits = new([2]time.Time)
	}
	t.limits[d] = limit
	return nil
}

// passed reports whether a limit that was set before there was a seat has passed.
func (t *runtimeTransport) passed(d direction) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limits != nil && expired(t.limits[d])
}

// limit sets a limit at the poller.
func (t *runtimeTransport) limit(d direction, limit time.Time) error {
	if d == inward {
		return t.conn.SetReadDeadline(limit)
	}
	return t.conn.SetWriteDeadline(limit)
}

type readSide runtimeTransport

func (t *readSide) Wait(ready func(uintptr) bool) error {
	if !t.seated.Load() {
		if done, err := (*runtimeTransport)(t).takeSeat(inward, ready); done {
			return err
		}
	}
	return t.raw.Read(ready)
}
func (t *readSide) SetLimit(limit time.Time) error {
	return (*runtimeTransport)(t).setLimit(inward, limit)
}
func (t *readSide) Prompt() bool { return !t.others }

type writeSide runtimeTransport

func (t *writeSide) Wait(ready func(uintptr) bool) error {
	if !t.seated.Load() {
		if done, err := (*runtimeTransport)(t).takeSeat(outward, ready); done {
			return err
		}
	}
	return t.raw.Write(ready)
}
func (t *writeSide) SetLimit(limit time.Time) error {
	return (*runtimeTransport)(t).setLimit(outward, limit)
}
func (t *writeSide) Prompt() bool { return !t.others }

// hungUp reports whether both directions have ended.
func hungUp(t Transport) bool { return sysfd.HungUp(int(t.Fd())) }

// readResult is what a read of n bytes into p is to return.
func readResult(n uintptr, p []byte) (int, error) {
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return int(n), nil
}

// writeFd is Write of a transport whose descriptor is fd.
func writeFd(fd int, p []byte) (int, error) {
	n, errno := sysfd.Write(fd, p)
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EINTR:
		return writeFd(fd, p)
	}
	return failed(errno)
}

// failed is what a call is to return that has met errno.
func failed(errno syscall.Errno) (int, error) {
	if errno == syscall.EAGAIN {
		return 0, ErrAgain
	}
	return 0, errno
}

func queryFd(fd uintptr) (unread int, ended bool, err error) {
	st, errno := sysfd.Query(int(fd))
	if errno != 0 {
		return 0, false, errno
	}
	return st.Unread, st.Ended, nil
}
