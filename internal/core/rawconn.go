package core

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// A rawConn is a syscall.RawConn with the deadlines that the object's user has set: the poller's own limit may be one of a wait, or
// have passed to wake somebody.
type rawConn struct {
	syscall.RawConn
	mu      *sync.Mutex
	in, out rawSide
}

// A rawSide is where one direction waits; the zero value is a direction that nobody else waits for.
type rawSide struct {
	gate     *gate
	deadline *time.Time
}

func (c *rawConn) Read(f func(fd uintptr) bool) error  { return c.wait(c.in, c.RawConn.Read, f) }
func (c *rawConn) Write(f func(fd uintptr) bool) error { return c.wait(c.out, c.RawConn.Write, f) }

func (c *rawConn) wait(side rawSide, wait func(func(uintptr) bool) error, f func(uintptr) bool) error {
	g := side.gate
	if g == nil {
		return wait(f)
	}
	for {
		c.mu.Lock()
		limit := *side.deadline
		if !g.led && g.poll != nil {
			g.arm(limit)
		}
		c.mu.Unlock()
		if err := wait(f); !errors.Is(err, os.ErrDeadlineExceeded) || expired(limit) {
			return err
		}
	}
}

// SyscallConn returns a syscall.RawConn of the connection.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return nil, s.notConnected("syscallconn")
	}
	raw, err := s.t.SyscallConn()
	f := s.flows()
	return &rawConn{RawConn: raw, mu: &s.mu, in: rawSide{&f.in, &f.readDeadline}, out: rawSide{&f.out, &f.writeDeadline}}, err
}

// SyscallConn returns a syscall.RawConn of the listener.
func (s *Server[T]) SyscallConn(network string) (syscall.RawConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l == nil {
		return nil, closedError("syscallconn", network)
	}
	raw, err := s.l.SyscallConn()
	return &rawConn{RawConn: raw, mu: &s.mu, in: rawSide{&s.gate, &s.deadline}}, err
}
