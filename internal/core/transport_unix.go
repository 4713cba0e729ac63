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

// A runtimeTransport is a descriptor at the Go runtime's poller, by way of an os.File or of package net: its RawConn waits, and everything
// else is done on the descriptor's number, which the owner's mutex keeps open.
type runtimeTransport struct {
	fd   int
	conn Conn
	raw  syscall.RawConn
}

// NewTransport attaches fd, a connected non-blocking stream socket that the transport owns from now on, to the runtime's poller.
func NewTransport(fd int) (Transport, error) {
	file := os.NewFile(uintptr(fd), "socket")
	if file == nil {
		return nil, syscall.EBADF
	}
	t, err := NewConnTransport(file)
	if err != nil {
		file.Close()
	}
	return t, err
}

// NewConnTransport makes a transport of a stream socket that is at the runtime's poller already, and that the transport owns from now on.
func NewConnTransport(c Conn) (Transport, error) {
	t := &runtimeTransport{conn: c}
	var err error
	if t.raw, err = c.SyscallConn(); err != nil {
		return nil, err
	}
	return t, t.raw.Control(func(fd uintptr) { t.fd = int(fd) })
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
func (t *runtimeTransport) Close() error                          { return t.conn.Close() }
func (t *runtimeTransport) Pollers() (Poller, Poller)             { return (*readSide)(t), (*writeSide)(t) }
func (t *runtimeTransport) Fd() uintptr                           { return uintptr(t.fd) }
func (t *runtimeTransport) SyscallConn() (syscall.RawConn, error) { return t.raw, nil }

type readSide runtimeTransport

func (t *readSide) Wait(ready func(uintptr) bool) error { return t.raw.Read(ready) }
func (t *readSide) SetLimit(limit time.Time) error      { return t.conn.SetReadDeadline(limit) }

type writeSide runtimeTransport

func (t *writeSide) Wait(ready func(uintptr) bool) error { return t.raw.Write(ready) }
func (t *writeSide) SetLimit(limit time.Time) error      { return t.conn.SetWriteDeadline(limit) }
