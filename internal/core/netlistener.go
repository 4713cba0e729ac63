package core

import (
	"net"
	"sync"
	"syscall"

	"anteroom/sock"
)

// A NetListener is the Listener of a net.Listener, whose Accept waits. It accepts one connection each time that it is asked for one, in a
// goroutine, and keeps that until it is asked again: so at most one more is accepted than a server has room for.
type NetListener[T any] struct {
	net.Listener
	*Waker    // told when conn or err is there, and shut by Close
	network   string
	newSocket func(net.Conn) (*T, error)

	mu     sync.Mutex
	closed bool
	asking bool // a goroutine accepts
	conn   net.Conn
	err    error
	all    sync.WaitGroup
}

// NewNetListener returns a listener whose sockets are what newSocket makes of l's connections; network is for errors. It owns l.
func NewNetListener[T any](l net.Listener, network string, newSocket func(net.Conn) (*T, error)) *NetListener[T] {
	return &NetListener[T]{Listener: l, Waker: NewWaker(), network: network, newSocket: newSocket}
}

// Network implements Endpoint.
func (l *NetListener[T]) Network() string { return l.network }

// Accept implements Listener.
func (l *NetListener[T]) Accept() (*T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.conn, l.err
	l.conn, l.err = nil, nil
	switch {
	case c != nil:
		t, err := l.newSocket(c)
		if err != nil {
			c.Close()
		}
		return t, err
	case err != nil:
		return nil, err
	case !l.asking && !l.closed:
		l.asking = true
		l.all.Go(l.ask)
	}
	return nil, ErrAgain
}

// ask accepts one connection.
func (l *NetListener[T]) ask() {
	c, err := l.Listener.Accept()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking = false
	switch {
	case !l.closed:
		l.conn, l.err = c, err
		l.Tell()
	case c != nil:
		c.Close()
	}
}

// Close stops listening, and waits for the goroutine that accepts.
func (l *NetListener[T]) Close() error {
	l.mu.Lock()
	c := l.conn
	l.closed, l.conn = true, nil
	l.mu.Unlock()
	l.Shut()
	err := l.Listener.Close()
	if c != nil {
		c.Close()
	}
	l.all.Wait()
	return err
}

// noHandle is what stands for a descriptor where there is none.
const noHandle = ^uintptr(0)

// Fd returns the native handle of the net.Listener, if that has one.
func (l *NetListener[T]) Fd() (fd uintptr) {
	fd = noHandle
	if raw, err := l.SyscallConn(); err == nil {
		raw.Control(func(h uintptr) { fd = h })
	}
	return fd
}

// SyscallConn returns the net.Listener's, if that has one.
func (l *NetListener[T]) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := l.Listener.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, Because("there is no listening socket of this process's own", sock.UnsupportedSocketOperationError)
}
