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
	fd   int
	seat atomic.Pointer[seat] // nil until then

	mu     sync.Mutex
	limits *[2]time.Time // what SetLimit said before there was a seat
	closed bool
	others bool // others may wait at the seat
}

// A seat is a descriptor's place at the runtime's poller.
type seat struct {
	conn Conn
	raw  syscall.RawConn
}

// NewTransport makes a transport of fd, a connected non-blocking stream socket that the transport owns from now on.
func NewTransport(fd int) (Transport, error) { return &runtimeTransport{fd: fd}, nil }

// NewConnTransport makes a transport of a stream socket that is at the runtime's poller already, and that the transport owns from now on.
func NewConnTransport(c Conn) (Transport, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	t := &runtimeTransport{others: true}
	t.seat.Store(&seat{c, raw})
	return t, raw.Control(func(fd uintptr) { t.fd = int(fd) })
}

// sit brings the descriptor to the poller.
func (t *runtimeTransport) sit() (*seat, error) {
	if at := t.seat.Load(); at != nil {
		return at, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := t.seat.Load(); at != nil {
		return at, nil
	}
	if t.closed {
		return nil, os.ErrClosed
	}
	file := os.NewFile(uintptr(t.fd), "socket")
	if file == nil {
		return nil, syscall.EBADF
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	at := &seat{file, raw}
	if t.limits != nil {
		for d, limit := range t.limits {
			if err := at.setLimit(direction(d), limit); err != nil {
				return nil, err
			}
		}
	}
	t.seat.Store(at)
	return at, nil
}

func (t *runtimeTransport) Read(p []byte) (int, error)  { return readFd(uintptr(t.fd), p) }
func (t *runtimeTransport) Write(p []byte) (int, error) { return writeFd(uintptr(t.fd), p) }
func (t *runtimeTransport) Query() (int, bool, error)   { return queryFd(uintptr(t.fd)) }

func (t *runtimeTransport) CloseRead() error          { return sysfd.Shutdown(t.fd, unix.SHUT_RD) }
func (t *runtimeTransport) CloseWrite() error         { return sysfd.Shutdown(t.fd, unix.SHUT_WR) }
func (t *runtimeTransport) Pollers() (Poller, Poller) { return (*readSide)(t), (*writeSide)(t) }
func (t *runtimeTransport) Fd() uintptr               { return uintptr(t.fd) }

func (t *runtimeTransport) SyscallConn() (syscall.RawConn, error) {
	at, err := t.sit()
	if err != nil {
		return nil, err
	}
	return at.raw, nil
}

func (t *runtimeTransport) Close() error {
	t.mu.Lock()
	t.closed = true
	at := t.seat.Load()
	t.mu.Unlock()
	if at != nil {
		return at.conn.Close()
	}
	return sysfd.Close(t.fd)
}

func (t *runtimeTransport) wait(d direction, ready func(uintptr) bool) error {
	at := t.seat.Load()
	if at == nil {
		switch {
		case t.passed(d):
			return os.ErrDeadlineExceeded
		case ready(uintptr(t.fd)):
			return nil
		}
		var err error
		if at, err = t.sit(); err != nil {
			return err
		}
	}
	if d == inward {
		return at.raw.Read(ready)
	}
	return at.raw.Write(ready)
}

func (t *runtimeTransport) setLimit(d direction, limit time.Time) error {
	if at := t.seat.Load(); at != nil {
		return at.setLimit(d, limit)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.seat.Load()
	switch {
	case at != nil:
		return at.setLimit(d, limit)
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

func (at *seat) setLimit(d direction, limit time.Time) error {
	if d == inward {
		return at.conn.SetReadDeadline(limit)
	}
	return at.conn.SetWriteDeadline(limit)
}

type readSide runtimeTransport

func (t *readSide) Wait(ready func(uintptr) bool) error {
	return (*runtimeTransport)(t).wait(inward, ready)
}
func (t *readSide) SetLimit(limit time.Time) error {
	return (*runtimeTransport)(t).setLimit(inward, limit)
}

func (t *readSide) Prompt() bool { return !t.others }

type writeSide runtimeTransport

func (t *writeSide) Wait(ready func(uintptr) bool) error {
	return (*runtimeTransport)(t).wait(outward, ready)
}
func (t *writeSide) SetLimit(limit time.Time) error {
	return (*runtimeTransport)(t).setLimit(outward, limit)
}
func (t *writeSide) Prompt() bool { return !t.others }

func readFd(fd uintptr, p []byte) (int, error) {
	n, errno := sysfd.Read(int(fd), p)
	return readResult(n, errno, p)
}

func readResult(n int, errno syscall.Errno, p []byte) (int, error) {
	switch {
	case errno == syscall.EAGAIN:
		return 0, ErrAgain
	case errno != 0:
		return 0, errno
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func writeFd(fd uintptr, p []byte) (int, error) {
	n, errno := sysfd.Write(int(fd), p)
	if errno == 0 {
		return n, nil
	}
	return writeResult(errno)
}

func writeResult(errno syscall.Errno) (int, error) {
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
