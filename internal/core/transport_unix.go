//go:build unix

package core

import (
	"io"
	"os"
	"syscall"
	"time"

	"anteroom/internal/sysfd"
	"golang.org/x/sys/unix"
)

// A runtimeTransport is a descriptor at the Go runtime's poller, by way of an os.File: its RawConn waits, and everything else is done on
// the descriptor's number, which the owner's mutex keeps open.
type runtimeTransport struct {
	fd   int
	file *os.File
	raw  syscall.RawConn
}

// NewTransport attaches fd, a connected non-blocking stream socket that the transport owns from now on, to the runtime's poller.
func NewTransport(fd int) (Transport, error) {
	t := &runtimeTransport{fd: fd, file: os.NewFile(uintptr(fd), "socket")}
	if t.file == nil {
		return nil, syscall.EBADF
	}
	var err error
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, err
	}
	return t, nil
}

func (t *runtimeTransport) Read(p []byte) (int, error) {
	n, errno := sysfd.Read(t.fd, p)
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

func (t *runtimeTransport) Write(p []byte) (int, error) {
	n, errno := sysfd.Write(t.fd, p)
	switch {
	case errno == syscall.EAGAIN:
		return 0, ErrAgain
	case errno != 0:
		return 0, errno
	}
	return n, nil
}

func (t *runtimeTransport) Query() (int, bool, error) {
	st, errno := sysfd.Query(t.fd)
	if errno != 0 {
		return 0, false, errno
	}
	return st.Unread, st.Ended, nil
}

func (t *runtimeTransport) CloseRead() error                      { return sysfd.Shutdown(t.fd, unix.SHUT_RD) }
func (t *runtimeTransport) CloseWrite() error                     { return sysfd.Shutdown(t.fd, unix.SHUT_WR) }
func (t *runtimeTransport) Close() error                          { return t.file.Close() }
func (t *runtimeTransport) Pollers() (Poller, Poller)             { return (*readSide)(t), (*writeSide)(t) }
func (t *runtimeTransport) Fd() uintptr                           { return uintptr(t.fd) }
func (t *runtimeTransport) SyscallConn() (syscall.RawConn, error) { return t.raw, nil }

type readSide runtimeTransport

func (t *readSide) Wait(ready func(uintptr) bool) error { return t.raw.Read(ready) }
func (t *readSide) SetLimit(limit time.Time) error      { return t.file.SetReadDeadline(limit) }

type writeSide runtimeTransport

func (t *writeSide) Wait(ready func(uintptr) bool) error { return t.raw.Write(ready) }
func (t *writeSide) SetLimit(limit time.Time) error      { return t.file.SetWriteDeadline(limit) }
