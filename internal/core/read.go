package core

import (
	"errors"
	"io"
	"os"
	"time"

	"anteroom/sock"
)

// A readOp is one Read under way. The one that belongs to the flow is used again and again, so that a Read allocates nothing. What a Read at the
// runtime's poller needs stands first, in one line of the processor's cache.
type readOp struct {
	p     []byte
	n     int
	err   error
	begun uint32             // the flow's
	looks uint32             // how often it has looked for bytes
	step  func(uintptr) bool // of a Read that waits at the runtime's poller

	s    *Socket
	recv func(fd uintptr, p []byte) (int, error) // in place of the transport's Read; nil: none
	try  func() bool
}

// look reads if there is anything. mu held.
func (o *readOp) look() bool {
	o.looks++
	if o.s.flow.begun != o.begun {
		o.n, o.err = 0, o.s.superseded("read")
		return true
	}
	o.n, o.err = o.s.readNow(o.p, o.recv)
	if isAgain(o.err) && o.s.staged && o.s.home.here() {
		o.s.unstage() // the peer may be waiting for it
	}
	return !isAgain(o.err)
}

// isAgain is err == ErrAgain, but quicker.
func isAgain(err error) bool {
	_, again := err.(*againError)
	return again
}

// readNow reads what there is: first what is buffered, then from the transport, or with recv. It returns ErrAgain if there is nothing. mu held.
func (s *Socket) readNow(p []byte, recv func(uintptr, []byte) (int, error)) (int, error) {
	f := s.flow
	if s.closed {
		return 0, s.notConnected("read")
	}
	if n := f.rbuf.len(); n > 0 {
		if recv != nil {
			return 0, s.newError("read", sock.OperationError, errBuffered)
		}
		n = copy(p, f.rbuf.bytes())
		f.rbuf.skip(n)
		s.full = s.full || f.rbuf.len() == 0 // nobody has asked whether there is more
		s.wasConsumed(n)
		return n, nil
	}
	switch {
	case s.ended:
		return 0, io.EOF
	case s.t == nil || s.state == sock.ClosingState:
		return 0, s.notConnected("read")
	}
	var n int
	var err error
	if recv == nil {
		n, err = s.t.Read(p)
	} else {
		n, err = recv(s.t.Fd(), p)
		if s.full = n > 0; s.full && s.home != nil && !(s.cb.running() && s.home.here()) { // it may have stopped at descriptors
			s.owe()
		}
	}
	if n > 0 {
		s.wasConsumed(n)
	}
	return n, err
}

var errBuffered = errors.New("bytes are buffered already, which came without what else was sent with them: read them first")

// wasConsumed counts bytes that were handed out, or thrown away. mu held.
func (s *Socket) wasConsumed(n int) {
	f := s.flow
	f.consumed += int64(n)
	if f.limit > 0 && n > 0 {
		s.roomToRead()
	}
}

// roomToRead tells of room for more, which makes news of what has arrived already. mu held.
func (s *Socket) roomToRead() {
	s.flow.in.poke()
	s.tellAgain()
}

// ReadWith is Read with another system call, which must not wait, and which Read's errors are returned by: ErrAgain, io.EOF, an errno. It
// fails if bytes are buffered.
func (s *Socket) ReadWith(p []byte, recv func(fd uintptr, p []byte) (int, error)) (int, error) {
	s.mu.Lock()
	return s.readWith(p, recv)
}

// readWith is ReadWith in all cases, and Read if recv is nil. mu held, and let go of.
func (s *Socket) readWith(p []byte, recv func(fd uintptr, p []byte) (int, error)) (int, error) {
	f := s.flows()
	switch {
	case s.mode == sock.WriteOnly && s.t != nil:
		err := s.newError("read", sock.OperationError, errWriteOnly)
		s.mu.Unlock()
		return 0, err
	case len(p) == 0:
		s.mu.Unlock()
		return 0, nil
	}
	o := s.newReader()
	o.p, o.recv, o.begun = p, recv, f.begun
	return s.readEnds(o, f.in.await(&f.readDeadline, o.try))
}

// newReader returns what one Read needs, until readEnds. mu held, and there is a flow.
func (s *Socket) newReader() *readOp {
	f := s.flow
	o := f.reader
	f.reader = nil
	if o == nil {
		if o = &f.own; o.s != nil {
			o = new(readOp)
		}
		o.s, o.try = s, o.look
	}
	return o
}

// readEnds returns what Read returns after its wait, which has failed with err. mu held, and let go of.
func (s *Socket) readEnds(o *readOp, err error) (int, error) {
	f, n := s.flow, o.n
	if err == nil {
		err = o.err
	}
	f.wasRead(o.looks == 1)
	o.p, o.recv, o.err, o.looks = nil, nil, nil, 0
	f.reader = o
	if err != nil {
		n = 0
		err = s.wrap("read", err)
	}
	s.unlock()
	return n, err
}

var (
	errWriteOnly = errors.New("the socket was opened WriteOnly")
	errReadOnly  = errors.New("the socket was opened ReadOnly")
)

// wrap makes an error of Read or Write what a caller sees: io.EOF as it is, and a transport's errno or a deadline with op and code.
func (s *Socket) wrap(op string, err error) error {
	if err == io.EOF {
		return err
	}
	if _, ok := err.(*sock.Error); ok {
		return err
	}
	return s.newError(op, sock.CodeOf(err), err)
}

// SetReadDeadline bounds Read.
func (s *Socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return s.notConnected("set deadline")
	}
	f := s.flows()
	f.readDeadline = t
	f.in.rearm(&f.readDeadline)
	return nil
}

// CloseRead ends reading.
func (s *Socket) CloseRead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return s.notConnected("close read")
	}
	if t, ok := s.t.(wholeTransport); ok {
		if err := t.Whole(); err != nil {
			return s.newError("close read", sock.CodeOf(err), err)
		}
	}
	if err := s.t.CloseRead(); err != nil {
		return s.newError("close read", sock.CodeOf(err), os.NewSyscallError("shutdown", err))
	}
	s.flows().shutRead = true
	return nil
}
