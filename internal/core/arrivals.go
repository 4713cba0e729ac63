package core

import (
	"io"
	"time"

	"anteroom/sock"
)

// inspect says what can be read: how much has arrived, buffered or not, at most as much as the read buffer may hold; and, with cause, that
// nothing will come after that. mu held, and there is a transport.
func (s *Socket) inspect() (available int64, cause error) {
	f := s.flow
	unread, ended, err := s.t.Query()
	if err != nil {
		return int64(f.rbuf.len()), err
	}
	if s.mode&sock.ReadOnly == 0 {
		if err := s.fill(-1); err != nil && err != ErrAgain {
			return 0, err
		}
		return 0, nil
	}
	room := f.room(int64(unread))
	if ended && room == int64(unread) {
		cause = io.EOF
	}
	return int64(f.rbuf.len()) + room, cause
}

// announce has readyRead said of bytes that can be read, if it was not said for all of them and somebody hears it. mu held.
func (s *Socket) announce(available int64) bool {
	f := s.flow
	total := f.consumed + available
	if total <= f.told || !s.hears(sigReadyRead) {
		return false
	}
	f.told = total
	s.post(event{sig: sigReadyRead})
	return true
}

// look announces what has arrived, and returns why no more will, once all that did is announced. mu held, and there is a transport.
func (s *Socket) look() (cause error) {
	available, cause := s.inspect()
	cause = s.byPeer(cause)
	if s.announce(available) {
		s.flow.withheld = cause != nil
		return nil
	}
	return cause
}

// byPeer returns why no more will come unless that is CloseRead's doing, and the peer is still there. mu held, and there is a transport.
func (s *Socket) byPeer(cause error) error {
	if f := s.flow; cause == io.EOF && f != nil && f.shutRead && !hungUp(s.t) {
		return nil
	}
	return cause
}

// catchUp makes what was handed out no news any more. mu held.
func (f *flow) catchUp() {
	f.told, f.waited = max(f.told, f.consumed), max(f.waited, f.consumed)
}

// wasRead makes what Read has handed out no news to waits that begin later, and none to callbacks either if it has found that at once: what it has
// waited for still is.
func (f *flow) wasRead(atOnce bool) {
	f.waited = max(f.waited, f.consumed)
	if atOnce {
		f.told = max(f.told, f.consumed)
	}
}

// endCause returns why a connection whose end was seen by news has ended: io.EOF, or the error that a read would give.
func (s *Socket) endCause(cause error) error {
	if cause != io.EOF || s.t == nil {
		return cause
	}
	if err := s.fill(-1); err != nil && err != ErrAgain {
		return err
	}
	return cause
}

// WaitReadyRead waits until bytes arrive that nobody was told of.
func (s *Socket) WaitReadyRead(timeout time.Duration) error {
	s.mu.Lock()
	err := s.waitReadyRead(timeout)
	s.unlock()
	return err
}

// waitReadyRead is WaitReadyRead. mu held, and let go of while callbacks run.
func (s *Socket) waitReadyRead(timeout time.Duration) error {
	const op = "wait for readyRead"
	f := s.flows()
	s.unstage()
	s.stepOn()
	if s.mode == sock.WriteOnly && s.t != nil {
		return s.newError(op, sock.OperationError, errWriteOnly)
	}
	if s.t != nil && s.state == sock.ConnectedState && f.waited > f.consumed {
		s.collect() // the caller wants more than he has read: the peer must be able to send it
	}
	epoch, begun, waited := s.epoch, f.begun, f.waited
	var cause error
	err := f.in.wait(limitAfter(timeout), func() bool {
		if f.begun != begun {
			return true
		}
		if s.epoch != epoch || s.state != sock.ConnectedState {
			if !s.closed { // another goroutine may have met the end that came with the bytes
				f.waited = max(f.waited, f.consumed+int64(f.rbuf.len()))
			}
			return f.waited > waited || s.state != sock.ConnectingState && s.state != sock.HostLookupState
		}
		if s.ending {
			return false
		}
		available, end := s.inspect()
		s.announce(available)
		f.waited = max(f.waited, f.consumed+available)
		if f.waited == waited {
			cause = end
		}
		return f.waited > waited || cause != nil
	})
	switch {
	case f.begun != begun:
		return s.superseded(op)
	case f.waited > waited:
		return nil
	case err != nil:
		return s.failTimeout(op)
	case cause != nil:
		s.peerEnded("read", s.endCause(cause))
	}
	return s.endError(op)
}

// WaitDisconnected waits until the connection has ended. Meanwhile what arrives is buffered, as far as the read buffer may hold it.
func (s *Socket) WaitDisconnected(timeout time.Duration) error {
	s.mu.Lock()
	err := s.waitDisconnected(timeout)
	s.unlock()
	return err
}

// waitDisconnected is WaitDisconnected. mu held, and let go of while callbacks run.
func (s *Socket) waitDisconnected(timeout time.Duration) error {
	const op = "wait for disconnected"
	f := s.flows()
	s.unstage()
	if s.state == sock.UnconnectedState {
		return s.endError(op)
	}
	var attempt *attempt // one that is under way may fail
	if s.t == nil {
		attempt = f.attempt
	}
	epoch := s.epoch
	s.stepOn()
	for limit := limitAfter(timeout); s.epoch == epoch; s.fire() {
		var cause error
		err := f.in.wait(limit, func() bool {
			switch {
			case s.epoch != epoch:
				return true
			case s.t == nil || s.ending:
				return false
			case s.state == sock.ClosingState:
				return s.home != nil && f.wbuf.len() == 0
			}
			if cause = s.byPeer(s.fill(-1)); cause == ErrAgain {
				cause = nil
			}
			s.announce(int64(f.rbuf.len()))
			return cause != nil || s.due()
		})
		switch {
		case s.epoch != epoch:
		case err != nil:
			return s.failTimeout(op)
		case cause != nil:
			s.peerEnded("read", cause)
		case s.state == sock.ClosingState && f.wbuf.len() == 0:
			err, f.broken = f.broken, nil
			s.flushed(err)
		}
	}
	if attempt != nil && attempt.err != nil {
		return attempt.err
	}
	return nil
}

// endError says why a wait can wait for nothing any more: the peer has ended the connection, the attempt to make it has failed, or there is
// none. mu held.
func (s *Socket) endError(op string) error {
	a := s.flow.attempt
	switch {
	case s.ended && !s.closed && s.err != nil:
		return s.err
	case !s.made && a != nil && a.err != nil:
		return a.err
	}
	return s.notConnected(op)
}

// startWatching sees to it that somebody finds events on behalf of the callbacks, if there are callbacks and a connection: a goroutine, or
// the loop, which may have found some already. mu held.
func (s *Socket) startWatching() {
	switch {
	case s.t == nil || !s.listened():
	case s.home != nil:
		if s.unheard {
			s.unheard = false
			s.home.loop.Post(s.lookAtLoop)
		}
	case !s.flows().watching:
		s.flow.watching = true
		go s.watcher()
	}
}

// watcher finds bytes and the connection's end until the connection or the last callback has gone.
func (s *Socket) watcher() {
	s.mu.Lock()
	f := s.flow
	finished := false
	defer func() {
		if !finished { // a callback ended the goroutine: another one takes over
			s.mu.Lock()
			f.watching = false
			s.startWatching()
			s.mu.Unlock()
		}
	}()
	for s.t != nil && s.home == nil && s.listened() {
		epoch := s.epoch
		var cause error
		err := f.in.await(&never, func() bool {
			if s.epoch != epoch || s.t == nil || s.home != nil || !s.listened() {
				return true
			}
			if s.state != sock.ConnectedState || s.ending {
				return false
			}
			cause = s.look()
			return cause != nil || s.cb.pending()
		})
		switch {
		case s.epoch != epoch:
		case cause != nil:
			s.peerEnded("read", s.endCause(cause))
		case err != nil:
			s.peerEnded("read", err)
		}
		s.fire()
	}
	f.watching, finished = false, true
	s.unlock()
}

// never is the limit of what waits for ever.
var never time.Time
