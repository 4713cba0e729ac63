package core

import (
	"net"

	"anteroom/sock"
)

// How a connection ends: because the peer has ended it, or by Disconnect, Close and Abort.

// finish ends the connection: from here on there is no transport. mu held; fire closes it if somebody may wait at it.
func (s *Socket) finish() {
	s.epoch++
	switch {
	case s.home != nil:
		s.leave()
	case s.flow == nil: // nobody waits at it
		s.t.Close()
	default:
		s.flow.corpse = s.t
	}
	s.t = nil
	s.ending = false
	if f := s.flow; f != nil {
		f.wbuf.reset()
		f.shutWrite, f.shutRead = false, false
		f.in.shut()
		f.out.shut()
	}
	s.setState(sock.UnconnectedState)
	s.untold = !s.post(event{sig: sigDisconnected}) && s.ended
}

// peerEnded takes the steps that follow the peer's end: the error while still connected, then Closing, Unconnected and disconnected.
// What is unread stays readable. mu held, and let go of while callbacks run.
func (s *Socket) peerEnded(op string, cause error) {
	if s.t == nil || s.ending || s.byPeer(cause) == nil {
		return
	}
	s.unstage()
	if s.home == nil || s.flow != nil { // else nothing is buffered, and nothing unread
		f := s.flows()
		f.unlimited(func() { s.fill(-1) })
		if f.wbuf.len() > 0 {
			s.flushNow() // the peer may have ended its side only
		}
		if s.flow.writer != nil {
			s.flow.writer.once() // what it does not know yet to be sent
		}
		if s.state == sock.ConnectedState {
			s.announce(int64(s.flow.rbuf.len()))
		}
	}
	s.ended, s.ending = true, true
	s.fail(op, cause)
	s.then((*Socket).closeEnded)
}

// closeEnded goes on from peerEnded. mu held, and let go of while callbacks run.
func (s *Socket) closeEnded() {
	if s.state == sock.ClosingState {
		s.finish()
		return
	}
	s.setState(sock.ClosingState)
	s.then((*Socket).finish)
}

// Disconnect closes the connection once what WriteBuffered holds has been sent.
func (s *Socket) Disconnect() {
	s.mu.Lock()
	if !s.giveUp() && s.state == sock.ConnectedState && !s.ending { // else the peer's end is under way
		f := s.flows()
		s.unstage()
		f.unlimited(s.collect) // what has arrived stays readable
		s.setState(sock.ClosingState)
		if s.flow.wbuf.len() > 0 {
			s.flushSoon(flushDelay)
		} else {
			s.finishWhenSent()
		}
	}
	s.unlock()
}

// giveUp ends what is no connection in anybody's hands: an attempt, or one that nobody has taken. It reports whether that is all there was. mu
// held.
func (s *Socket) giveUp() bool {
	switch {
	case s.state == sock.ConnectingState, s.state == sock.HostLookupState:
		s.abandon(net.ErrClosed)
	case s.state == sock.ConnectedState && s.t == nil:
		s.drop()
	default:
		return false
	}
	return true
}

// finishWhenSent takes the step after Closing: to Unconnected, unless a callback has written meanwhile. mu held, and let go of while
// callbacks run.
func (s *Socket) finishWhenSent() {
	s.then(func(*Socket) {
		if s.flow != nil && s.flow.wbuf.len() > 0 && !s.ending {
			s.flushSoon(0)
			return
		}
		s.finish()
	})
}

// Close ends the connection as Disconnect does, and the use of the socket with it: what is unread is dropped.
func (s *Socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.unstage()
	if s.state == sock.ConnectedState && s.t != nil && s.flow != nil && s.flow.wbuf.len() > 0 && !s.ending {
		// What can go now goes: the program may end right after this.
		begun := s.flow.begun
		if s.flushOnce(); s.flow.begun != begun { // it has met the end, and a callback has connected anew
			s.unlock()
			return nil
		}
	}
	s.closed = true
	if s.flow != nil {
		s.flow.rbuf.reset()
	}
	switch {
	case s.giveUp():
	case s.state == sock.ConnectedState:
		s.setState(sock.ClosingState)
		s.finishWhenSent()
	case s.state == sock.ClosingState && s.flow != nil:
		s.flow.in.poke()
		s.flow.out.poke()
	}
	s.unlock()
	return nil
}

// Abort ends the connection at once. What WriteBuffered holds, and what is unread, is dropped.
func (s *Socket) Abort() {
	s.mu.Lock()
	s.staged = false
	if s.flow != nil {
		s.flow.rbuf.reset()
	}
	if !s.giveUp() && (s.state == sock.ConnectedState || s.state == sock.ClosingState) {
		s.ended = false
		if t, ok := s.t.(pledger); ok && s.state == sock.ClosingState {
			t.Recant() // else a Write whose time was over has said that they are sent
		}
		s.finish()
	}
	s.unlock()
}

// drop closes a connection that nobody has taken. mu held.
func (s *Socket) drop() {
	if s.held() {
		sock.FromFd(uintptr(s.fd - 1)).Close()
		s.fd = 0
	}
	s.epoch++
	s.setState(sock.UnconnectedState)
}
