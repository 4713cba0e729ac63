package core

import (
	"sync"
	"syscall"
	"time"
)

// A rawConn is a syscall.RawConn that waits at the object's gates, with the deadlines that its user has set: beside it, waits and accepting
// go on.
type rawConn struct {
	raw     syscall.RawConn
	mu      *sync.Mutex
	alive   func() bool // it is still the object's. mu held
	in, out rawSide
}

// A rawSide is where one direction waits; the zero value is a direction in which nobody can wait.
type rawSide struct {
	gate     *gate
	deadline *time.Time
}

func (c *rawConn) Control(f func(fd uintptr)) error    { return c.raw.Control(f) }
func (c *rawConn) Read(f func(fd uintptr) bool) error  { return c.wait(c.in, f) }
func (c *rawConn) Write(f func(fd uintptr) bool) error { return c.wait(c.out, f) }

func (c *rawConn) wait(side rawSide, f func(uintptr) bool) error {
	if side.gate == nil {
		return syscall.EINVAL
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return side.gate.awaitRaw(side.deadline, f, c.raw.Control, c.alive)
}

// SyscallConn returns a syscall.RawConn of the connection.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return nil, s.notConnected("syscallconn")
	}
	raw, err := s.t.SyscallConn()
	s.lent = true
	f := s.flows()
	begun := f.begun
	return &rawConn{raw: raw, mu: &s.mu, alive: func() bool { return f.begun == begun }, in: rawSide{&f.in, &f.readDeadline}, out: rawSide{&f.out, &f.writeDeadline}}, err
}

// SyscallConn returns a syscall.RawConn of the listener.
func (s *Server[T]) SyscallConn(network string) (syscall.RawConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l == nil {
		return nil, closedError("syscallconn", network)
	}
	l := s.l
	raw, err := l.SyscallConn()
	return &rawConn{raw: raw, mu: &s.mu, alive: func() bool { return s.l == l }, in: rawSide{&s.gate, &s.deadline}}, err
}
