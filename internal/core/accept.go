package core

import (
	"context"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"anteroom/sock"
)

// room reports whether the queue may take one more. Whoever waits is room for one. mu held.
func (s *Server[T]) room() bool {
	return s.queue.len()+s.handling < max(s.maxPending(), s.waiting)
}

// accept accepts one connection if it may and there is one, and reports whether it has. mu held.
func (s *Server[T]) accept() bool {
	for s.l != nil && s.ending == nil && !s.paused && !s.resting && s.room() {
		t, err := s.l.Accept()
		switch err {
		case nil:
			s.exhausted, s.pause = false, firstPause
			s.accepted(t)
			return true
		case ErrAgain:
			return false
		case syscall.EINTR, syscall.ECONNABORTED:
			// It went before it was accepted: the next one.
		default:
			if end, ok := err.(*EndError); ok {
				if s.ending = end.Err; s.handling == 0 {
					s.acceptEnded()
				} // else whoever asks about a connection that came before the end
			} else {
				s.acceptFailed(err)
			}
			return false
		}
	}
	return false
}

// accepted has a new connection queued: at once, or, if somebody must be asked first, in order with the callbacks. mu held.
func (s *Server[T]) accepted(t *T) {
	if s.admit == nil && s.incoming == nil {
		s.enqueue(t)
		return
	}
	s.handling++
	s.questions = append(s.questions, question[T]{s.l, s.admit, t})
	s.cb.post(event{do: s.askNext})
}

// A question is whether a connection is let in, and by whom it is received.
type question[T any] struct {
	l     Listener[T]
	admit func(*T) error
	t     *T
}

// askNext lets the admission check and the override decide about the first accepted connection, if there is one still. No lock is held.
func (s *Server[T]) askNext() {
	s.mu.Lock()
	if len(s.questions) == 0 {
		s.mu.Unlock()
		return
	}
	l, admit, t := s.questions[0].l, s.questions[0].admit, s.questions[0].t
	s.questions = slices.Delete(s.questions, 0, 1)
	s.mu.Unlock()
	owned := true
	defer func() { // also if one of them panics
		if owned {
			s.hooks.Discard(t)
		}
		s.mu.Lock()
		if s.handling--; s.handling == 0 && s.l == l && s.ending != nil {
			s.acceptEnded()
		}
		s.acceptMore()
		s.mu.Unlock()
	}()
	if admit != nil {
		if err := admit(t); err != nil {
			s.Reject(err)
			return
		}
	}
	s.mu.Lock()
	incoming := s.incoming
	if s.l != l {
		incoming = nil // closed meanwhile
	} else if owned = false; incoming == nil {
		s.enqueue(t)
	}
	queued := s.queued
	s.mu.Unlock()
	if incoming != nil {
		incoming(s.hooks.Release(t))
		s.mu.Lock()
		if s.queued == queued {
			s.handed++
			s.gate.tell()
		}
		s.mu.Unlock()
	}
}

// acceptFailed tells of an error of accept, once until accepting succeeds again, and rests. mu held.
func (s *Server[T]) acceptFailed(cause error) {
	if !s.exhausted {
		s.exhausted = true
		s.tellAcceptError(acceptError(s.l, cause))
	}
	s.resting = true
	l, pause := s.l, s.pause
	s.pause = min(2*s.pause, lastPause)
	s.rest = time.AfterFunc(pause, func() {
		s.mu.Lock()
		if s.l == l {
			s.resting = false
			s.acceptMore()
		}
		s.unlock()
	})
}

// acceptEnded stops listening with a listener that can accept no more. What is pending can still be taken. mu held.
func (s *Server[T]) acceptEnded() {
	l := s.l
	s.ended = acceptError(l, s.ending)
	s.tellAcceptError(s.ended)
	s.stop()
	s.cb.post(event{do: func() { l.Close() }})
}

// tellAcceptError notes an error and tells the callbacks. mu held.
func (s *Server[T]) tellAcceptError(err error) {
	s.err = err
	s.cb.post(event{sig: sigAcceptError, err: err})
}

// acceptMore makes whoever accepts look again: there may be room, or accepting was resumed. mu held.
func (s *Server[T]) acceptMore() {
	if s.l == nil {
		return
	}
	s.gate.poke()
	switch {
	case s.crowd != nil && s.crowd.notifier != nil:
		s.watchIfWanted()
	case !s.acceptor && s.waiting == 0:
		s.recallSoon()
	}
}

// recallSoon brings the acceptor back unless takers come. mu held.
func (s *Server[T]) recallSoon() {
	if s.acceptor || s.recalled || s.crowd != nil && s.crowd.notifier != nil {
		return
	}
	s.recalled, s.seen = true, s.leaves
	if s.recall == nil {
		s.recall = time.AfterFunc(s.patience, s.recallAcceptor)
	} else {
		s.recall.Reset(s.patience)
	}
}

func (s *Server[T]) recallAcceptor() {
	s.mu.Lock()
	s.recalled = false
	switch {
	case s.l == nil, s.acceptor:
		s.mu.Unlock()
	case s.waiting > 0, s.leaves != s.seen: // they come and go
		s.patience = min(2*s.patience, lastRecall)
		if s.waiting == 0 {
			s.recallSoon()
		}
		s.mu.Unlock()
	default:
		s.acceptor, s.patience = true, firstRecall
		s.acceptForOthers()
		s.unlock()
	}
}

// acceptForOthers fills the queue until the server is closed or takers wait for themselves. mu held, and let go of meanwhile.
func (s *Server[T]) acceptForOthers() {
	finished := false
	defer func() {
		if !finished { // a callback ended the goroutine: another one takes over
			s.mu.Lock()
			defer s.mu.Unlock()
		}
		s.acceptor = false
		if s.l != nil && s.waiting == 0 {
			s.recallSoon()
		}
	}()
	l := s.l
	for s.l == l && s.waiting == 0 {
		s.gate.await(&never, func() bool { return s.l != l || s.accept() || s.due() })
		s.run()
	}
	finished = true
}

// Accept waits for a connection and takes it. It fails when the server is closed, when ctx ends and when the deadline passes.
func (s *Server[T]) Accept(ctx context.Context, network string) (*T, error) {
	for {
		t, err := s.waitAndPop(ctx, network)
		if err != nil {
			return nil, err
		}
		if s.take(t, nil) == nil {
			return t, nil
		}
	}
}

func (s *Server[T]) waitAndPop(ctx context.Context, network string) (*T, error) {
	s.mu.Lock()
	l := s.l
	switch {
	case l == nil:
		defer s.mu.Unlock()
		return s.leftOver(network)
	case ctx.Err() != nil:
		s.mu.Unlock()
		return nil, takeError(l, ctx.Err())
	case expired(s.deadline):
		s.mu.Unlock()
		return nil, takeError(l, os.ErrDeadlineExceeded)
	}
	try := s.tryAccept
	if ctx.Done() != nil {
		taken := try
		stop := context.AfterFunc(ctx, func() {
			s.mu.Lock()
			s.gate.poke()
			s.mu.Unlock()
		})
		defer stop()
		try = func() bool { return ctx.Err() != nil || taken() }
	}
	for {
		s.wait()
		var err error
		if s.queue.len() == 0 {
			err = s.gate.await(&s.deadline, try)
		}
		s.waiting--
		s.runAsTaker() // one of them may take the connection
		switch {
		case s.l == nil && s.ended != nil:
			defer s.mu.Unlock()
			return s.leftOver(network)
		case s.l != l:
			s.leave() // the next listener has counted on this taker
			s.mu.Unlock()
			return nil, takeError(l, net.ErrClosed)
		case s.queue.len() > 0:
			t := s.pop()
			s.leave()
			s.mu.Unlock()
			return t, nil
		case s.endsHere():
			s.leave()
			err := acceptError(l, s.ending)
			s.mu.Unlock()
			return nil, err
		case ctx.Err() != nil:
			err = ctx.Err()
		}
		if err != nil {
			s.leave()
			s.mu.Unlock()
			return nil, takeError(l, err)
		}
	}
}

// wait counts who is going to wait, which is room for one. mu held.
func (s *Server[T]) wait() {
	s.waiting++
	if s.crowd != nil && s.crowd.notifier != nil {
		s.watchIfWanted()
	}
}

// leftOver takes what is pending of a listener that has ended by itself, and then says why it has. mu held.
func (s *Server[T]) leftOver(network string) (*T, error) {
	switch {
	case s.ended == nil:
		return nil, closedError("accept", network)
	case s.queue.len() > 0:
		return s.pop(), nil
	}
	return nil, s.ended
}

// leave sees to it that somebody accepts when the last taker has left. mu held.
func (s *Server[T]) leave() {
	s.leaves++
	if s.l != nil && s.waiting == 0 {
		s.recallSoon()
	}
}

// runAsTaker runs the callbacks that are due. A taker that is one of them asks about connections instead: nobody else would. A taker whose
// goroutine one of them ends has left. mu held, and let go of meanwhile.
func (s *Server[T]) runAsTaker() {
	finished := false
	defer func() {
		if !finished {
			s.mu.Lock()
			s.leave()
			s.mu.Unlock()
		}
	}()
	if s.called() {
		for len(s.questions) > 0 {
			s.mu.Unlock()
			s.askNext()
			s.mu.Lock()
		}
	} else {
		s.run()
	}
	finished = true
}

// endsHere reports whether no more will be accepted, which others are told when the callback that calls has returned. mu held.
func (s *Server[T]) endsHere() bool { return s.ending != nil && s.called() }

func takeError(l Endpoint, cause error) error {
	return &sock.Error{Op: "accept", Net: l.Network(), Addr: l.Addr(), Code: sock.CodeOf(cause), Err: cause}
}

// WaitNew waits until a connection is pending, or an override has been given one.
func (s *Server[T]) WaitNew(timeout time.Duration, network string) error {
	const op = "wait for newConnection"
	s.mu.Lock()
	l := s.l
	if l == nil {
		defer s.mu.Unlock()
		switch {
		case s.ended == nil:
			return closedError(op, network)
		case s.queue.len() > 0:
			return nil
		}
		return s.ended
	}
	told := s.told
	limit := limitAfter(timeout)
	try := s.tryAccept
	var err error
	for err == nil && s.l == l && s.queue.len() == 0 && s.handed == told && !s.endsHere() {
		s.wait()
		err = s.gate.wait(limit, func() bool { return s.handed != told || try() })
		s.waiting--
		s.runAsTaker()
	}
	switch {
	case s.l == nil && s.ended != nil && s.queue.len() == 0:
		err = s.ended
	case s.l == nil && s.ended != nil:
		err = nil
	case s.l != l:
		err = &sock.Error{Op: op, Net: network, Addr: l.Addr(), Code: sock.OperationError, Err: net.ErrClosed}
	case s.queue.len() > 0 || s.handed != told:
		s.told = s.handed
		err = nil
	case s.endsHere():
		err = acceptError(l, s.ending)
	case err != nil:
		err = &sock.Error{Op: op, Net: network, Addr: l.Addr(), Code: sock.CodeOf(err), Err: err}
		s.err = err
	}
	s.leave()
	s.mu.Unlock()
	return err
}
