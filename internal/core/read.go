package core

import (
	"errors"
	"io"
	"os"
	"time"

	"anteroom/sock"
)

// A readOp is one Read under way. The one that belongs to the flow is used again and again, so that a Read allocates nothing.
type readOp struct {
	s     *Socket
	p     []byte
	recv  func(fd uintptr, p []byte) (int, error) // in place of the transport's Read; nil: none
	n     int
	err   error
	looks int // how often it has looked for bytes
	try   func() bool
}

func newReadOp(s *Socket) *readOp {
	o := &readOp{s: s}
	o.try = o.once
	return o
}

// once reads if there is anything. mu held.
func (o *readOp) once() bool {
	s := o.s
	o.looks++
	o.n, o.err = s.readNow(o.p, o.recv)
	return o.err != ErrAgain
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
		f.in.poke() // there is room for more, which makes news of what has arrived already
	}
}

// Read is net.Conn's.
func (s *Socket) Read(p []byte) (int, error) { return s.ReadWith(p, nil) }

// ReadWith is Read with another system call, which must not wait, and which Read's errors are returned by: ErrAgain, io.EOF, an errno. It
// fails if bytes are buffered.
func (s *Socket) ReadWith(p []byte, recv func(fd uintptr, p []byte) (int, error)) (int, error) {
	s.mu.Lock()
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
	o := f.reader
	if f.reader = nil; o == nil {
		o = newReadOp(s)
	}
	o.p, o.recv = p, recv
	err := f.in.await(&f.readDeadline, o.try)
	n := o.n
	if err == nil {
		err = o.err
	}
	if o.looks == 1 {
		f.catchUp() // what a Read has waited for still is news to others
	}
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
	if total <= f.told || !s.cb.hears(sigReadyRead) {
		return false
	}
	f.told = total
	s.cb.post(event{sig: sigReadyRead})
	return true
}

// look announces what has arrived, and returns why no more will, once all that did is announced. mu held, and there is a transport.
func (s *Socket) look() (cause error) {
	available, cause := s.inspect()
	if s.announce(available) {
		return nil
	}
	return cause
}

// catchUp makes what was handed out no news any more. mu held.
func (f *flow) catchUp() {
	f.told, f.waited = max(f.told, f.consumed), max(f.waited, f.consumed)
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
	const op = "wait for readyRead"
	s.mu.Lock()
	defer s.unlock()
	f := s.flows()
	if s.mode == sock.WriteOnly && s.t != nil {
		return s.newError(op, sock.OperationError, errWriteOnly)
	}
	if s.t != nil && s.state == sock.ConnectedState && f.waited > f.consumed {
		s.collect() // the caller wants more than he has read: the peer must be able to send it
	}
	epoch, waited := s.epoch, f.waited
	var cause error
	err := f.in.wait(limitAfter(timeout), func() bool {
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
	case f.waited > waited:
		return nil
	case err != nil:
		return s.failTimeout(op)
	case cause != nil:
		s.peerEnded("read", s.endCause(cause))
	}
	return s.endError(op)
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

// BytesAvailable returns how many bytes could be read without waiting.
func (s *Socket) BytesAvailable() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == sock.WriteOnly || s.pending > 0 {
		return 0
	}
	f := s.flows()
	if s.t != nil && s.state == sock.ConnectedState {
		// Who asks may be waiting for more than the system's buffer holds.
		s.collect()
	}
	return int64(f.rbuf.len())
}

// collect moves what has arrived by now to the read buffer, as much as it may hold. mu held, and there is a transport.
func (s *Socket) collect() {
	if available, err := s.inspect(); available > 0 || err == nil {
		s.pull(available)
	}
}

// pull is fill while there is a connection to read from, and else says that there is none: errGone, or io.EOF if it has ended. mu held.
func (s *Socket) pull(n int64) error {
	switch {
	case s.closed || !s.made:
		return errGone
	case s.state != sock.ConnectedState || s.t == nil:
		return io.EOF
	}
	return s.fill(n)
}

// fill makes the read buffer hold n bytes, or what has arrived if that is less; n < 0: all. It returns why there is no more: ErrAgain, at
// the end io.EOF or the transport's error, and nil if there may be more. A socket that only writes throws it away. mu held, and there is a
// transport.
func (s *Socket) fill(n int64) error {
	f := s.flows()
	for n < 0 || int64(f.rbuf.len()) < n {
		unread, ended, err := s.t.Query()
		switch {
		case err != nil:
			return err
		case unread == 0 && !ended:
			return ErrAgain
		}
		room := int64(max(unread, 1))
		if n >= 0 {
			room = min(room, n-int64(f.rbuf.len()))
		}
		if room = f.room(room); room == 0 {
			return nil
		}
		got, err := s.t.Read(f.rbuf.grow(int(room)))
		f.rbuf.add(got)
		switch {
		case got == 0:
		case s.mode&sock.ReadOnly == 0:
			f.consumed += int64(f.rbuf.len())
			f.rbuf.reset()
			f.catchUp()
		default:
			// The poller may not have told of these bytes yet, and now never will.
			s.announce(int64(f.rbuf.len()))
			f.in.tell()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errGone stands for a connection that is not there any more; notConnected says why.
var errGone = errors.New("not connected")

// take is what the never-waiting readers have in common: it buffers up to n bytes (n < 0: all there is), has use look at the buffer and
// say how many to take from it, and meets the connection's end if there is nothing before it.
func (s *Socket) take(op string, n int64, use func(b []byte) int) error {
	s.mu.Lock()
	f := s.flows()
	if s.mode == sock.WriteOnly && s.t != nil {
		err := s.newError(op, sock.OperationError, errWriteOnly)
		s.mu.Unlock()
		return err
	}
	err := s.pull(n)
	if f.rbuf.len() > 0 {
		used := use(f.rbuf.bytes())
		f.rbuf.skip(used)
		s.wasConsumed(used)
		f.catchUp()
		s.unlock()
		return nil
	}
	switch {
	case err == errGone:
		err = s.notConnected(op)
	case err == ErrAgain:
		err = nil
	case err != nil:
		err = s.meetEnd(err)
	}
	s.unlock()
	return err
}

// meetEnd takes the steps that follow the peer's end, if it has not been met before, and returns io.EOF. mu held, and let go of while
// callbacks run.
func (s *Socket) meetEnd(cause error) error {
	if s.state == sock.ConnectedState {
		s.peerEnded("read", cause)
	}
	return io.EOF
}

// ReadAvailable reads without waiting.
func (s *Socket) ReadAvailable(p []byte) (n int, err error) {
	s.mu.Lock()
	f := s.flows()
	if len(p) > 0 && f.rbuf.len() == 0 && f.limit == 0 && s.t != nil && s.state == sock.ConnectedState && s.mode != sock.WriteOnly {
		// The plain case needs no buffer.
		n, err = s.readNow(p, nil)
		f.catchUp()
		switch {
		case err == ErrAgain:
			err = nil
		case err != nil:
			err = s.meetEnd(err)
		}
		s.unlock()
		return n, err
	}
	s.mu.Unlock()
	err = s.take("read", int64(len(p)), func(b []byte) int {
		n = copy(p, b)
		return n
	})
	return n, err
}

// Peek returns the next n bytes, or those there are, and leaves them unread.
func (s *Socket) Peek(n int) (b []byte, err error) {
	if n <= 0 {
		return nil, nil
	}
	err = s.take("peek", int64(n), func(buffered []byte) int {
		b = append(b, buffered[:min(n, len(buffered))]...)
		return 0
	})
	return b, err
}

// ReadLine returns the bytes up to and with the next newline, but at most max; or what there is, if there is no newline.
func (s *Socket) ReadLine(max int) (line []byte, err error) {
	n := int64(-1)
	if max > 0 {
		n = int64(max)
	}
	err = s.take("read", n, func(b []byte) int {
		if max > 0 {
			b = b[:min(max, len(b))]
		}
		line = append(line, b[:lineEnd(b)]...)
		return len(line)
	})
	return line, err
}

// skipChunk is how much Skip buffers at a time.
const skipChunk = 32 << 10

// Skip throws away the next n bytes, or those there are.
func (s *Socket) Skip(n int64) (skipped int64, err error) {
	for skipped < n && err == nil {
		step := min(n-skipped, skipChunk)
		took := int64(0)
		err = s.take("skip", step, func(b []byte) int {
			took = min(step, int64(len(b)))
			return int(took)
		})
		if skipped += took; took == 0 {
			break
		}
	}
	if skipped > 0 {
		err = nil
	}
	return skipped, err
}

// CanReadLine reports whether a whole line could be read without waiting.
func (s *Socket) CanReadLine() bool {
	found := false
	s.take("read", -1, func(b []byte) int {
		end := lineEnd(b)
		found = b[end-1] == '\n'
		return 0
	})
	return found
}

func lineEnd(b []byte) int {
	for i, c := range b {
		if c == '\n' {
			return i + 1
		}
	}
	return len(b)
}

// ReadBufferSize returns the limit of what may be unread.
func (s *Socket) ReadBufferSize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flow == nil {
		return 0
	}
	return s.flow.limit
}

// SetReadBufferSize sets the limit of what may be unread.
func (s *Socket) SetReadBufferSize(n int64) {
	s.mu.Lock()
	f := s.flows()
	f.limit = max(n, 0)
	f.in.poke()
	s.unlock()
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
	if err := s.t.CloseRead(); err != nil {
		return s.newError("close read", sock.CodeOf(err), os.NewSyscallError("shutdown", err))
	}
	return nil
}

// watch starts the goroutine that finds events on behalf of the callbacks, if there are callbacks and a connection. mu held.
func (s *Socket) watch() {
	if s.t == nil || !s.cb.any() || s.flows().watching {
		return
	}
	s.flow.watching = true
	go s.watcher()
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
			s.watch()
			s.mu.Unlock()
		}
	}()
	for s.t != nil && s.cb.any() {
		epoch := s.epoch
		var cause error
		err := f.in.await(&never, func() bool {
			if s.epoch != epoch || s.t == nil || !s.cb.any() {
				return true
			}
			if s.state != sock.ConnectedState || s.ending {
				return false
			}
			cause = s.look()
			return cause != nil || s.cb.due()
		})
		consumed := f.consumed
		switch {
		case s.epoch != epoch:
		case cause != nil:
			s.peerEnded("read", s.endCause(cause))
		case err != nil:
			s.peerEnded("read", err)
		}
		s.fire()
		if s.epoch == epoch && f.consumed > consumed {
			// A callback that reads a part of what there is at each signal gets one for the rest, too.
			f.told = f.consumed
		}
	}
	f.watching, finished = false, true
	s.unlock()
}

// never is the limit of what waits for ever.
var never time.Time
