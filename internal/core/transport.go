package core

import (
	"syscall"
	"time"
)

// A Transport carries the bytes of one connection. Its calls never wait and, but for Close, are made one at a time; to wait there are its
// two pollers.
type Transport interface {
	// Read reads what has arrived. It returns ErrAgain if nothing has, and io.EOF at the end.
	Read(p []byte) (int, error)
	// Write writes as much as is taken now. It returns ErrAgain if nothing is.
	Write(p []byte) (int, error)
	// Query says how many bytes have arrived and were not read, and whether no more will.
	Query() (unread int, ended bool, err error)
	CloseRead() error
	CloseWrite() error
	// Close ends both waits and closes the connection once nobody uses it.
	Close() error
	// Pollers returns where to wait for bytes and for room.
	Pollers() (in, out Poller)
	// Fd returns the descriptor, which the transport keeps.
	Fd() uintptr
	SyscallConn() (syscall.RawConn, error)
}

// A direction is that of the bytes.
type direction int

const (
	inward direction = iota
	outward
)

// A pledger is a Transport that may be sending bytes of which Write has said ErrAgain. When whoever wrote them gives up, they are nobody's any more.
type pledger interface {
	// Pledge returns how many of these bytes count as sent. If they are to be kept Close waits until they are, and they all count.
	Pledge(keep bool) int
	// Recant has Close wait for nothing.
	Recant()
}

// A wholeTransport may have no directions that end one by one; Whole says why then.
type wholeTransport interface{ Whole() error }

// A Conn is what the runtime's poller offers of a connection: an *os.File, a *net.TCPConn.
type Conn interface {
	syscall.Conn
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

// ErrAgain says that a call would have to wait. It is the only error of its type.
var ErrAgain error = new(againError)

type againError struct{ _ byte }

func (*againError) Error() string { return "would wait" }
