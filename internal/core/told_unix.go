//go:build unix

package core

import (
	"io"
	"syscall"

	"anteroom/internal/sysfd"
	"anteroom/loop"
	"anteroom/sock"
)

// What happens at a loop nearly always: bytes have come of which one function is to be told, it reads them and writes an answer, and that is sent.
// The three functions here are for this case alone, and leave all others to those that can do everything, such as happened, readAvailable and
// writeBuffered. They are in one piece, and ask for nothing that needs a call before they have asked for all that does not: after a system call the
// processor has forgotten where our returns lead, and each takes some ten nanoseconds, as long as taking a mutex; all that is user code takes some
// three hundred for a message.

// Ready is called by the loop when something has happened to the descriptor.
func (s *Socket) Ready(ev loop.Events) {
	s.mu.Lock()
	h := s.home
	if ev != loop.Readable || h == nil || h.heard&(1<<sigReadyRead) == 0 || s.t == nil || s.state != sock.ConnectedState || s.ending ||
		s.cb.due != nil || s.cb.first != nil || s.flow != nil || s.mode&sock.ReadOnly == 0 {
		s.readyOtherwise(ev)
		return
	}
	if !h.here() {
		s.readyOtherwise(ev)
		return
	}
	epoch := s.epoch
	s.full, s.fills, s.owed, s.cb.due = false, 0, false, telling
	s.mu.Unlock()
	returned := false
	defer func() {
		if !returned {
			s.cb.goOnElsewhere(&s.mu, s, event{}, nil)
		}
	}()
	h.all.ReadyRead(s)
	returned = true
	s.mu.Lock()
	if s.cb.due != telling || s.full || s.flow != nil || s.home != h {
		s.cb.told(&s.mu, s)
		s.flushWritten()
		if s.left(epoch, 0, false) {
			s.arrived(1)
		}
		s.unlock()
		return
	}
	s.cb.due = nil
	if h.owner == s {
		h.owner = nil
		if s.staged {
			s.staged = false
			if n, errno := sysfd.Write(int(s.fd-1), h.out); errno != 0 || int(n) != len(h.out) || s.hears(sigBytesWritten) {
				s.unstaged(n, errno)
				s.flushWritten() // which meets what has kept it from being sent
				s.unlock()
				return
			}
		}
	}
	s.mu.Unlock()
}

// readyOtherwise is Ready where there is more to do, or something else. mu held, and let go of.
func (s *Socket) readyOtherwise(ev loop.Events) {
	s.mu.Unlock()
	s.happened(ev, ev&loop.Hangup != 0 && ev&loop.Left == 0)
}

// ReadAvailable reads without waiting.
func (s *Socket) ReadAvailable(p []byte) (int, error) {
	s.mu.Lock()
	if h := s.home; s.cb.due == telling && h != nil && s.flow == nil && s.trust == trusted && s.t != nil && s.state == sock.ConnectedState &&
		s.mode != sock.WriteOnly && len(p) > 0 {
		if h.here() && (!h.passes || h.loop.DoubtPays() && !h.loop.Samples(s.watch)) {
			n, errno := sysfd.Read(int(s.fd-1), p)
			if errno != 0 || n == 0 {
				return s.readNothing(p, errno)
			}
			s.full, s.fills = sysfd.Filled(int(n), p), 1
			if h.passes && !s.full {
				h.loop.Doubt(s.watch, uintptr(s.fd-1))
			}
			s.mu.Unlock()
			return int(n), nil
		}
	}
	return s.readAvailable(p)
}

// readNothing is the rest of a read into p that has met the end or errno. mu held, and let go of.
func (s *Socket) readNothing(p []byte, errno syscall.Errno) (int, error) {
	s.full = false
	switch errno {
	case 0:
		return s.hasRead(0, io.EOF)
	case syscall.EINTR:
		return s.readAvailable(p)
	}
	return s.hasRead(failed(errno))
}

// WriteBuffered queues p.
func (s *Socket) WriteBuffered(p []byte) (int, error) {
	s.mu.Lock()
	if h := s.home; s.cb.due == telling && h != nil && s.flow == nil && s.t != nil && s.state == sock.ConnectedState && !s.closed && !s.ended &&
		s.mode != sock.ReadOnly && !s.staged && uint(len(p)-1) < mostStaged {
		if h.here() && h.owner == nil {
			h.owner, h.out, s.staged = s, append(h.out[:0], p...), true
			s.mu.Unlock()
			return len(p), nil
		}
	}
	return s.writeBuffered(p)
}
