package core

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"anteroom/sock"
)

// An attempt is one try to connect, which may take long.
type attempt struct {
	dial   func() (Transport, error) // one that does not wait, and is tried again
	limit  time.Time
	delay  time.Duration
	timer  *time.Timer
	cancel context.CancelFunc // of a Dialer
	err    error              // why it failed
	done   bool
	heard  bool // WaitConnected has said that the connection was made
}

// end notes that the attempt is over. The socket's mu held.
func (a *attempt) end() {
	a.done = true
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.cancel != nil {
		a.cancel()
	}
}

// A Dialer makes a connection in its own time: it may wait, and ends soon after ctx does. It calls found when it knows where to connect to.
type Dialer func(ctx context.Context, found func()) (Transport, error)

// A BusyError is what dial returns if the server is there and has no room now; Err is what the system said.
type BusyError struct{ Err error }

func (e *BusyError) Error() string { return "the server is busy: " + e.Err.Error() }
func (e *BusyError) Unwrap() error { return e.Err }

// While a server is busy, it is tried again after firstRetry, then after twice as long each time, but at least every lastRetry.
const (
	firstRetry = time.Millisecond
	lastRetry  = 64 * time.Millisecond
)

// Connect starts a connection. Dial is called at once, and again with a growing delay while it answers with a BusyError, until limit; it must
// not wait. Connect returns nil if the connection is made or under way.
func (s *Socket) Connect(end Endpoint, mode sock.OpenMode, limit time.Time, dial func() (Transport, error)) error {
	s.mu.Lock()
	a := &attempt{dial: dial, limit: limit, delay: firstRetry}
	err := s.start(a, end, mode, sock.ConnectingState, func(*Socket) { s.try(a) })
	if err == nil {
		err = a.err
	}
	s.unlock()
	return err
}

// ConnectBackground starts a connection that dial makes, in a goroutine, within timeout.
func (s *Socket) ConnectBackground(end Endpoint, mode sock.OpenMode, timeout time.Duration, dial Dialer) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	a := &attempt{cancel: cancel}
	s.mu.Lock()
	err := s.start(a, end, mode, sock.HostLookupState, func(*Socket) { go s.dial(ctx, a, dial) })
	if err != nil {
		cancel()
	}
	s.unlock()
	return err
}

// ConnectDialing connects with dial, in the caller's goroutine, until that is done or ctx ends.
func (s *Socket) ConnectDialing(ctx context.Context, end Endpoint, mode sock.OpenMode, dial Dialer) error {
	s.mu.Lock()
	if err := s.startEnded(ctx, end, mode); err != nil {
		s.unlock()
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &attempt{cancel: cancel}
	err := s.start(a, end, mode, sock.HostLookupState, func(*Socket) {
		s.mu.Unlock()
		s.dial(ctx, a, dial)
		s.mu.Lock()
	})
	if err == nil {
		err = a.err
		a.heard = err == nil
	}
	s.unlock()
	return err
}

// dial makes an attempt's connection.
func (s *Socket) dial(ctx context.Context, a *attempt, dial Dialer) {
	var told sync.WaitGroup
	defer told.Wait()
	t, err := dial(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.found(a); s.cb.pending() {
			// Dial may call this in a goroutine that a callback must not end, or keep.
			told.Go(func() {
				s.mu.Lock()
				s.unlock()
			})
		}
	})
	s.mu.Lock()
	if err != nil {
		s.attemptFailed(a, sock.CodeOf(err), err)
		s.unlock()
		return
	}
	s.found(a)
	s.then(func(*Socket) {
		if !a.done {
			s.attemptMade(a, t)
			t = nil
		}
	})
	s.unlock()
	if t != nil { // nobody wants it any more
		t.Close()
	}
}

// found ends the look-up of an attempt's host. mu held.
func (s *Socket) found(a *attempt) {
	if !a.done && s.state == sock.HostLookupState {
		s.setState(sock.ConnectingState)
	}
}

// startEnded fails with ctx's error, as an attempt would, if ctx has ended already. mu held.
func (s *Socket) startEnded(ctx context.Context, end Endpoint, mode sock.OpenMode) error {
	err := ctx.Err()
	if err == nil || s.state != sock.UnconnectedState {
		return nil
	}
	s.begin(end, mode)
	err = s.fail("connect", err)
	s.flows().attempt = &attempt{done: true, err: err}
	return err
}

// ConnectContext connects, and waits until that is done or ctx ends.
func (s *Socket) ConnectContext(ctx context.Context, end Endpoint, mode sock.OpenMode, limit time.Time, dial func() (Transport, error)) error {
	s.mu.Lock()
	if err := s.startEnded(ctx, end, mode); err != nil {
		s.unlock()
		return err
	}
	a := &attempt{dial: dial, limit: limit, delay: firstRetry}
	err := s.start(a, end, mode, sock.ConnectingState, func(*Socket) { s.try(a) })
	if err != nil {
		s.unlock()
		return err
	}
	if !a.done {
		stop := context.AfterFunc(ctx, func() {
			s.mu.Lock()
			s.attemptFailed(a, sock.CodeOf(ctx.Err()), ctx.Err())
			s.unlock()
		})
		s.awaitAttempt(a, time.Time{})
		stop()
	}
	err = a.err
	a.heard = err == nil
	s.unlock()
	return err
}

// start begins an attempt, in a state, with a first step. It fails only if the socket is in use. mu held, and let go of while callbacks run.
func (s *Socket) start(a *attempt, end Endpoint, mode sock.OpenMode, state sock.State, step func(*Socket)) error {
	if s.state != sock.UnconnectedState {
		return s.fail("connect", &stateError{s.state})
	}
	s.begin(end, mode)
	s.flows().attempt = a
	s.setState(state)
	s.then(step)
	return nil
}

// A stateError says that a connection cannot be begun because of the one there is.
type stateError struct{ state sock.State }

func (e *stateError) Error() string {
	return "the socket is in " + e.state.String() + ": disconnect or abort it first"
}
func (e *stateError) Unwrap() []error { return []error{sock.OperationError, syscall.EISCONN} }

// try dials once. mu held, and let go of while callbacks run.
func (s *Socket) try(a *attempt) {
	t, err := a.dial()
	var busy *BusyError
	switch {
	case err == nil:
		s.attemptMade(a, t)
	case !errors.As(err, &busy):
		s.attemptFailed(a, sock.CodeOf(err), err)
	case expired(a.limit):
		s.attemptFailed(a, sock.SocketTimeoutError, err)
	default:
		wait := a.delay
		a.delay = min(2*a.delay, lastRetry)
		if !a.limit.IsZero() {
			wait = min(wait, max(time.Until(a.limit), 0))
		}
		a.timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			if !a.done {
				s.try(a)
			}
			s.unlock()
		})
	}
}

// A Preparer is an Endpoint that has something to do to a connection that was dialled before anybody is told of it. The socket's mu held.
type Preparer interface{ Prepare(fd uintptr) }

func (s *Socket) attemptMade(a *attempt, t Transport) {
	if p, ok := s.end.(Preparer); ok {
		p.Prepare(t.Fd())
	}
	if err := s.attach(t); err != nil {
		t.Close()
		s.attemptFailed(a, sock.CodeOf(err), err)
		return
	}
	a.end()
	s.setState(sock.ConnectedState)
	s.then(func(*Socket) {
		s.post(event{sig: sigConnected})
		s.startWatching()
	})
}

// attemptFailed ends an attempt that is under way: the error first, while still connecting. mu held, and let go of while callbacks run.
func (s *Socket) attemptFailed(a *attempt, code sock.SocketError, cause error) {
	if a.done {
		return
	}
	a.end()
	a.err = s.failCode("connect", code, cause)
	s.then(func(*Socket) {
		s.epoch++
		s.setState(sock.UnconnectedState)
	})
}

// abandon ends an attempt because the caller no longer wants it: no error is signalled. mu held.
func (s *Socket) abandon(cause error) {
	a := s.flow.attempt
	if !a.done {
		a.end()
		a.err = s.newError("connect", sock.OperationError, cause)
	}
	s.epoch++
	s.setState(sock.UnconnectedState)
}

// awaitAttempt waits until an attempt has ended. mu held, and let go of while waiting.
func (s *Socket) awaitAttempt(a *attempt, limit time.Time) error {
	return s.flow.in.wait(limit, func() bool { return a.done })
}

// WaitConnected waits until the connection is made.
func (s *Socket) WaitConnected(timeout time.Duration) error {
	s.mu.Lock()
	defer s.unlock()
	s.stepOn()
	var a *attempt
	if s.flow != nil {
		a = s.flow.attempt
	}
	if s.state == sock.ConnectedState {
		if a != nil {
			a.heard = true
		}
		return nil
	}
	switch {
	case a != nil && s.ended && !s.closed && !a.heard:
		a.heard = true // it was made; that the peer has ended it since is for the next wait to say
		return nil
	case a == nil || s.made:
		return s.notConnected("wait for connected")
	case a.done:
		return a.err
	}
	if err := s.awaitAttempt(a, limitAfter(timeout)); err != nil {
		return s.failTimeout("wait for connected")
	}
	a.heard = a.err == nil
	return a.err
}
