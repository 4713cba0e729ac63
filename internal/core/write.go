package core

import (
	"errors"
	"math"
	"os"
	"syscall"
	"time"

	"anteroom/loop"
	"anteroom/sock"
)

// A writeOp is one Write under way.
type writeOp struct {
	s    *Socket
	p    []byte
	send func(fd uintptr, p []byte) (int, error) // the first bytes, in place of the transport's Write; nil: none
	n    int
	err  error
	try  func() bool

	begun uint32 // the flow's
}

func newWriteOp(s *Socket) *writeOp {
	o := &writeOp{s: s}
	o.try = o.once
	return o
}

// once sends what can be sent now, and reports whether all is sent, or nothing more can be. What WriteBuffered holds goes first, and
// nobody else's bytes come between. mu held.
func (o *writeOp) once() bool {
	s, f := o.s, o.s.flow
	if f.writer == o && o.n == len(o.p) {
		return true // all was sent before the end
	}
	if f.begun != o.begun {
		o.err = s.superseded("write")
		return true
	}
	if s.t == nil || s.state != sock.ConnectedState {
		o.err = s.notConnected("write")
		return true
	}
	if f.writer != o {
		if f.writer != nil {
			return false
		}
		s.unstage()
		if f.shutWrite {
			o.err = syscall.EPIPE
			return true
		}
		if f.wbuf.len() > 0 {
			if _, err := s.flushNow(); err != nil {
				o.err = err
				return true
			}
			if f.wbuf.len() > 0 {
				return false
			}
		}
		f.writer = o
	}
	for o.n < len(o.p) {
		var n int
		var err error
		if o.send == nil || o.n > 0 {
			n, err = s.t.Write(o.p[o.n:])
		} else {
			n, err = o.send(s.t.Fd(), o.p)
		}
		o.n += n
		if err == ErrAgain {
			s.wantRoom()
			return false
		}
		if err != nil {
			o.err = err
			return true
		}
	}
	return true
}

// WriteWith is Write with another system call for the first bytes, which must not wait, and returns ErrAgain or an errno.
func (s *Socket) WriteWith(p []byte, send func(fd uintptr, p []byte) (int, error)) (int, error) {
	s.mu.Lock()
	return s.writeWith(p, send)
}

// writeWith is WriteWith in all cases, and Write if send is nil. mu held, and let go of.
func (s *Socket) writeWith(p []byte, send func(fd uintptr, p []byte) (int, error)) (int, error) {
	s.flows()
	switch {
	case s.mode == sock.ReadOnly && s.t != nil:
		err := s.newError("write", sock.OperationError, errReadOnly)
		s.mu.Unlock()
		return 0, err
	case send == nil && len(p) > 0 && s.state == sock.ConnectedState && s.t != nil && s.plainOut():
		// Most often there is room, and nobody to wait for.
		sent, err := s.t.Write(p)
		return s.writeRest(p, sent, err)
	}
	return s.writeOn(p, send, 0)
}

// writeRest goes on writing after a first try that has sent so many bytes of p, and maybe met err. mu held, and let go of.
func (s *Socket) writeRest(p []byte, sent int, err error) (int, error) {
	if sent < len(p) && (err == nil || err == ErrAgain) {
		return s.writeOn(p, nil, sent)
	}
	if err != nil {
		err = s.wrap("write", err)
	}
	s.unlock()
	return sent, err
}

// writeOn writes what of p was not sent yet, and waits for room and for others. mu held, and let go of.
func (s *Socket) writeOn(p []byte, send func(fd uintptr, p []byte) (int, error), sent int) (int, error) {
	f := s.flow
	o := f.spare
	if f.spare = nil; o == nil {
		o = newWriteOp(s)
	}
	o.p, o.send, o.n, o.begun = p, send, sent, f.begun
	var err error
	if f.out.led || !f.writeDeadline.IsZero() || !o.once() {
		err = f.out.await(&f.writeDeadline, o.try)
	}
	n := o.n
	if err == nil {
		err = o.err
	}
	if t, ok := s.t.(pledger); ok && err != nil && f.writer == o && f.begun == o.begun {
		// Or what follows would take these bytes for its own. With the connection they go, too, unless more has to be sent.
		n += t.Pledge(o.err == nil || f.wbuf.len() > 0)
	}
	o.p, o.send, o.n, o.err = nil, nil, 0, nil
	f.spare = o
	if f.writer == o {
		f.writer = nil
		f.out.tell()
		if f.wbuf.len() > 0 && s.t != nil {
			s.flushSoon(0)
		}
	}
	if err != nil {
		err = s.wrap("write", err)
	}
	s.unlock()
	return n, err
}

// plainOut reports whether nothing stands before what is written now, and nothing bounds when. mu held, and there is a flow.
func (s *Socket) plainOut() bool {
	f := s.flow
	return !s.staged && f.wbuf.len() == 0 && f.writer == nil && !f.shutWrite && f.writeDeadline.IsZero()
}

// flushDelay is how long WriteBuffered's bytes may wait for more of them, or for a Flush or a wait, before they are sent all the same.
const flushDelay = time.Millisecond

// writeBuffered is WriteBuffered in all cases. mu held, and let go of.
func (s *Socket) writeBuffered(p []byte) (int, error) {
	f := s.flow
	switch {
	case s.mode == sock.ReadOnly && s.t != nil:
		err := s.newError("write", sock.OperationError, errReadOnly)
		s.mu.Unlock()
		return 0, err
	case s.t == nil, s.closed, s.ended, s.state != sock.ConnectedState && s.state != sock.ClosingState:
		err := s.notConnected("write")
		s.mu.Unlock()
		return 0, err
	case f != nil && f.shutWrite:
		err := s.newError("write", sock.OperationError, syscall.EPIPE)
		s.mu.Unlock()
		return 0, err
	case len(p) == 0:
	case s.home != nil && s.home.stage(s, p):
		s.mu.Unlock()
		return len(p), nil
	default:
		f = s.flows()
		s.unstage()
		f.sent = 0
		f.wbuf.write(p)
		s.flushSoon(flushDelay) // if a callback wrote this, it goes when that has returned
	}
	s.unlock()
	return len(p), nil
}

// flushNow sends what it can of wbuf, and returns how much that was. mu held, and there is a transport.
func (s *Socket) flushNow() (sent int64, err error) { return s.flushUpTo(math.MaxInt64) }

// flushUpTo is flushNow, but does not go on when it has sent most.
func (s *Socket) flushUpTo(most int64) (sent int64, err error) {
	f := s.flow
	if f.writer != nil {
		return 0, nil // in the middle of a Write
	}
	for f.wbuf.len() > 0 && sent < most {
		p := f.wbuf.bytes()
		n, err := s.t.Write(p[:min(int64(len(p)), most-sent)])
		f.wbuf.skip(n)
		sent += int64(n)
		if err == ErrAgain {
			s.wantRoom()
			break
		}
		if err != nil {
			return sent, err
		}
	}
	if sent > 0 {
		f.sent += sent
		f.sends++
		f.out.tell()
		s.post(event{sig: sigBytesWritten, arg: sent})
	}
	if f.wbuf.len() == 0 && f.shutWrite {
		s.t.CloseWrite()
	}
	return sent, nil
}

// flushOnce sends what it can of wbuf, and takes the steps that follow when it is empty or the peer has gone. mu held, and let go of
// while callbacks run.
func (s *Socket) flushOnce() (sent int64) {
	sent, err := s.flushNow()
	s.flushed(err)
	return sent
}

// mostFlushed is how much of wbuf a loop sends before others have their turn.
const mostFlushed = 1 << 20

// flushPart is flushOnce where a loop sends: what is more than others can wait for is sent in its next turns. mu held, and let go of while callbacks
// run.
func (s *Socket) flushPart() {
	f := s.flow
	switch {
	case s.home == nil:
		s.flushOnce()
		return
	case f.cut, s.asked&loop.Writable != 0:
		return // the loop will go on, or tell of room
	}
	sent, err := s.flushUpTo(mostFlushed)
	if err == nil && sent >= mostFlushed && f.wbuf.len() > 0 {
		f.cut = true
		s.home.loop.Post(s.flushAtLoop)
	}
	s.flushed(err)
}

// flushed takes the steps that follow an attempt to send. mu held, and let go of while callbacks run.
func (s *Socket) flushed(err error) {
	switch {
	case s.t == nil:
	case err != nil:
		s.flow.wbuf.reset()
		s.peerEnded("write", err)
	case s.state == sock.ClosingState && s.flow.wbuf.len() == 0 && !s.ending:
		s.finishWhenSent()
	}
}

// flushSoon has wbuf sent in the background after a delay, unless somebody sends it before. mu held.
func (s *Socket) flushSoon(delay time.Duration) {
	f := s.flow
	if f.flushing {
		return
	}
	f.flushing = true
	if s.home != nil {
		s.home.loop.Post(s.flushAtLoop)
		return
	}
	if f.timer == nil {
		f.timer = time.AfterFunc(delay, s.flusher)
	} else {
		f.timer.Reset(delay)
	}
}

// flusher sends wbuf until it is empty, the write deadline passes while the connection is closing, or that has gone.
func (s *Socket) flusher() {
	s.mu.Lock()
	f := s.flow
	finished := false
	defer func() {
		if !finished { // a callback ended the goroutine: another one takes over
			s.mu.Lock()
			f.flushing = false
			if s.t != nil {
				s.flushSoon(0)
			}
			s.mu.Unlock()
		}
	}()
	for s.t != nil && f.wbuf.len() > 0 {
		epoch := s.epoch
		var failed error
		var sent int64
		limit, closing := &never, s.state == sock.ClosingState
		if closing {
			limit = &f.writeDeadline
		}
		err := f.out.await(limit, func() bool {
			if s.t == nil || s.epoch != epoch || f.wbuf.len() == 0 || closing != (s.state == sock.ClosingState) {
				return true
			}
			sent, failed = s.flushNow()
			return sent > 0 || failed != nil
		})
		if s.epoch != epoch {
			continue
		}
		if err != nil {
			if !closing {
				break // there is nothing to wait at any more
			}
			// The deadline, which may have passed before anything was tried.
			if _, failed = s.flushNow(); failed == nil && f.wbuf.len() > 0 {
				f.wbuf.reset()
				s.failTimeout("write")
			}
		}
		s.flushed(failed)
		s.fire()
	}
	f.flushing, finished = false, true
	// A connection may have been disconnected in the moment between: nobody else would end it.
	if s.t != nil {
		s.flushed(nil)
	}
	s.unlock()
}

// Flush sends what it can of what WriteBuffered holds, and reports whether that was anything.
func (s *Socket) Flush() bool {
	s.mu.Lock()
	staged := s.unstage()
	if s.t == nil || s.flow == nil || s.flow.wbuf.len() == 0 {
		s.unlock()
		return staged > 0
	}
	sent := staged + s.flushOnce()
	if s.flow.wbuf.len() == 0 {
		s.flow.sent = 0 // the caller knows: a wait would wait for other bytes
	}
	s.unlock()
	return sent > 0
}

// BytesToWrite returns how much of what WriteBuffered was given is not sent.
func (s *Socket) BytesToWrite() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if s.staged {
		n = len(s.home.out)
	}
	if s.flow != nil {
		n += s.flow.wbuf.len()
	}
	return int64(n)
}

// WaitBytesWritten waits until some of what WriteBuffered holds is sent.
func (s *Socket) WaitBytesWritten(timeout time.Duration) error {
	s.mu.Lock()
	err := s.waitBytesWritten(timeout)
	s.unlock()
	return err
}

// waitBytesWritten is WaitBytesWritten. mu held, and let go of while callbacks run: to unlock it in a deferred call would be too much after one that
// does not return.
func (s *Socket) waitBytesWritten(timeout time.Duration) error {
	const op = "wait for bytesWritten"
	f := s.flows()
	s.unstage()
	if f.sent > 0 { // in the background, since the last bytes were queued: the wait comes late
		f.sent = 0
		return nil
	}
	if s.t == nil {
		return s.notConnected(op)
	}
	if f.wbuf.len() == 0 {
		return s.newError(op, sock.OperationError, errNothing)
	}
	epoch, begun, sends := s.epoch, f.begun, f.sends
	var failed error
	err := f.out.wait(limitAfter(timeout), func() bool {
		if s.epoch != epoch || s.t == nil || f.sends != sends || f.wbuf.len() == 0 {
			return true
		}
		_, failed = s.flushNow()
		return f.sends != sends || failed != nil
	})
	sent := f.sends != sends // by whoever was first
	switch {
	case f.begun != begun:
		return s.superseded(op)
	case sent:
		f.sent = 0
	case err != nil:
		return s.failTimeout(op)
	}
	if s.epoch == epoch {
		s.flushed(failed)
	}
	if sent {
		return nil
	}
	return s.endError(op)
}

var errNothing = errors.New("nothing is waiting to be written")

// SetWriteDeadline bounds Write, and the sending of what WriteBuffered holds.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return s.notConnected("set deadline")
	}
	f := s.flows()
	f.writeDeadline = t
	f.out.rearm(&f.writeDeadline)
	if f.wbuf.len() > 0 {
		s.flushSoon(0)
	}
	return nil
}

// CloseWrite tells the peer that no more will be written, after what WriteBuffered holds.
func (s *Socket) CloseWrite() error {
	s.mu.Lock()
	defer s.unlock()
	if s.t == nil {
		return s.notConnected("close write")
	}
	f := s.flows()
	s.unstage()
	if t, ok := s.t.(wholeTransport); ok {
		if err := t.Whole(); err != nil {
			return s.newError("close write", sock.CodeOf(err), err)
		}
	}
	f.shutWrite = true
	if f.wbuf.len() > 0 {
		s.flushSoon(0)
		return nil
	}
	if err := s.t.CloseWrite(); err != nil {
		return s.newError("close write", sock.CodeOf(err), os.NewSyscallError("shutdown", err))
	}
	return nil
}
