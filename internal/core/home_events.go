package core

import (
	"anteroom/loop"
	"anteroom/sock"
)

// happened is what Ready does in all cases. hint says that an edge has told of the end, or of an urgent byte.
func (s *Socket) happened(ev loop.Events, hint bool) {
	s.mu.Lock()
	switch {
	case s.t == nil || s.home == nil:
		s.mu.Unlock()
		return
	case !s.home.here(): // it was moved since it asked to be looked at
		s.home.loop.Post(s.lookAtLoop)
		s.mu.Unlock()
		return
	}
	if f := s.flow; f != nil {
		f.in.lookAgain()
		if s.asked&ev&loop.Writable != 0 {
			epoch := s.epoch
			if s.roomMade(); s.epoch != epoch {
				s.unlock()
				return
			}
		}
	}
	switch {
	case s.t == nil || s.state != sock.ConnectedState || s.ending || ev&(loop.Readable|loop.Hangup) == 0:
	case ev&loop.Hangup == 0:
		s.arrived(0)
	default:
		s.hungUp(hint)
	}
	s.unlock()
}

// roomMade goes on sending. mu held, and let go of while callbacks run.
func (s *Socket) roomMade() {
	f := s.flow
	s.asked &^= loop.Writable
	epoch := s.epoch
	if f.wbuf.len() > 0 && f.writer == nil {
		s.flushPart() // which wants room again if it needs more
	}
	if s.t == nil || s.epoch != epoch {
		return
	}
	f.out.lookAgain() // a Write that needs more says so itself
	if s.asked&loop.Writable == 0 {
		s.watchFor(s.asked)
	}
}

// mostTurns bounds how often callbacks are told in one go, because they have left something: of 64 KiB each time where streams come in.
const mostTurns = 4

// arrived tells the callbacks of bytes: once, and again if they have read what fitted and there may be more, or if more was buffered while they
// ran, which no edge tells of any more. They have been told before, so many times in this turn. It reports whether they will be told again. mu
// held, and let go of while they run.
func (s *Socket) arrived(before int) (again bool) {
	switch {
	case s.mode&sock.ReadOnly == 0:
		s.flows()
		s.fill(-1)
		return false
	case !s.hears(sigReadyRead):
		s.unheard = true
		return false
	case s.cb.running(): // on a goroutine that is going to end
		s.cb.note(event{sig: sigReadyRead})
		return false
	}
	for turns := before + 1; ; turns++ {
		epoch, read := s.epoch, s.readSoFar()
		s.full, s.fills, s.owed = false, 0, false
		s.cb.tell(&s.mu, sigReadyRead, s)
		s.flushWritten()
		last := turns == mostTurns // others want their turn
		if !s.left(epoch, read, last) {
			return false
		}
		if last {
			s.owe()
			return true
		}
	}
}

// left reports whether the callbacks, since the connection was epoch and readSoFar said before, have left something; or, if it may guess, whether
// they may have. mu held.
func (s *Socket) left(epoch uint32, before int64, guess bool) bool {
	switch {
	case s.epoch != epoch || s.t == nil || s.state != sock.ConnectedState || s.ending:
		return false
	case s.leftSome(before), s.fills > 1 && s.flow.rbuf.len() > 0:
		return true
	case guess:
		return s.full
	}
	s.full = s.full && hasBytes(int(s.fd-1))
	return s.full
}

// runAtLoop runs the callbacks that are due, and sees to it that they are told of what they have left, which no edge tells of any more. mu held,
// and let go of while they run.
func (s *Socket) runAtLoop() {
	told := s.cb.willTell(sigReadyRead)
	before, total := s.readSoFar(), s.buffered()
	s.full = false
	if s.fills = 0; s.flow != nil && s.flow.rbuf.len() > 0 {
		s.fills = 1
	}
	s.cb.run(&s.mu, s)
	s.flushWritten()
	switch {
	case s.home == nil:
	case s.leftSome(before), !told && s.buffered() > total, told && s.fills > 1 && s.flow.rbuf.len() > 0:
		s.owe()
	case s.full && s.t != nil:
		s.home.loop.Post(s.lookAtLoop)
	}
}

// buffered returns how many bytes were read or are buffered. mu held.
func (s *Socket) buffered() int64 {
	if s.flow == nil {
		return 0
	}
	return s.flow.consumed + int64(s.flow.rbuf.len())
}

// leftSome reports whether bytes are buffered after some have been read since readSoFar said before. mu held.
func (s *Socket) leftSome(before int64) bool {
	return s.flow != nil && s.flow.rbuf.len() > 0 && s.flow.consumed > before
}

// owe has the loop tell the callbacks again. mu held.
func (s *Socket) owe() {
	if !s.owed && s.t != nil {
		s.owed = true
		s.home.loop.Post(s.lookAtLoop)
	}
}

func (s *Socket) readSoFar() int64 {
	if s.flow == nil {
		return 0
	}
	return s.flow.consumed
}

// hungUp tells the callbacks of the last bytes, and then of the end, if that is it. hint says that a read may stop before all that has arrived. mu
// held, and let go of while callbacks run.
func (s *Socket) hungUp(hint bool) {
	if !s.listened() {
		if s.unheard = true; hint {
			s.trust = wary // who looks later is given no hint
		}
		return
	}
	unread, cause := peek(int(s.fd - 1))
	owed := s.owed && s.flow != nil && s.flow.rbuf.len() > 0
	s.owed = false
	if unread || owed {
		if unread && hint {
			s.trust = wary
		}
		epoch := s.epoch
		if again := s.arrived(0); again || s.epoch != epoch || s.t == nil || s.state != sock.ConnectedState || s.ending {
			return
		}
		unread, cause = peek(int(s.fd - 1))
	}
	switch {
	case unread: // nobody wants it now: it is kept
		s.flows()
		if _, cause = s.inspect(); cause == nil {
			return // not all of it: tellAgain follows when some was read
		}
	case cause == nil:
		return // an event of the past
	}
	s.peerEnded("read", cause)
}

// lookAtLoop looks for bytes and the end, on the loop.
func (s *Socket) lookAtLoop() { s.happened(loop.Readable|loop.Hangup, false) }
