//go:build unix

package core

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"anteroom/internal/sysfd"
	"anteroom/sock"
)

// An FdListener is what Listeners of a bound, listening descriptor have in common: it waits at the runtime's poller, and knows whether others may
// have the socket, too. The methods that package net has by the same names are as there.
type FdListener struct {
	fd     int
	name   string
	file   *os.File // nil: the descriptor is somebody else's until Own
	raw    syscall.RawConn
	shared atomic.Bool // others may have the socket, too, and have made it blocking
}

// Init gives the listener its descriptor, which others may have, too, and a name for its file.
func (l *FdListener) Init(fd int, name string, shared bool) {
	l.fd, l.name = fd, name
	l.shared.Store(shared)
}

// Own makes the descriptor the listener's, if it is not.
func (l *FdListener) Own() {
	if l.file == nil {
		l.file = os.NewFile(uintptr(l.fd), l.name) // nil only of a negative number
		l.raw, _ = l.file.SyscallConn()            // which fails only of nil
	}
}

// Wait implements Poller.
func (l *FdListener) Wait(ready func(uintptr) bool) error { return l.raw.Read(ready) }

// SetLimit implements Poller.
func (l *FdListener) SetLimit(t time.Time) error { return l.file.SetReadDeadline(t) }

// Fd implements Listener.
func (l *FdListener) Fd() uintptr { return uintptr(l.fd) }

// SyscallConn implements Listener. As after Lend and Dup, others may have the descriptor then.
func (l *FdListener) SyscallConn() (syscall.RawConn, error) {
	l.shared.Store(true)
	return l.raw, nil
}

// Lend returns the descriptor, which stays the listener's.
func (l *FdListener) Lend() sock.Descriptor {
	l.shared.Store(true)
	return sock.Lend(l.Fd())
}

// Dup returns a duplicate.
func (l *FdListener) Dup() (*os.File, error) {
	l.shared.Store(true)
	fd, err := sysfd.Dup(l.fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.name), nil
}

// Ready comes before the system's accept, which must not wait: it returns what a Listener's Accept does if there may be no connection.
func (l *FdListener) Ready() error {
	if l.shared.Load() {
		if errno := sysfd.CheckShared(l.fd); errno != 0 {
			return AcceptErrno(errno)
		}
	}
	return nil
}

// Close closes the descriptor if it is the listener's.
func (l *FdListener) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
