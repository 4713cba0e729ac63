package core

import (
	"errors"
	"io"

	"anteroom/sock"
)

// BytesAvailable returns how many bytes could be read without waiting.
func (s *Socket) BytesAvailable() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == sock.WriteOnly || s.held() {
		return 0
	}
	f := s.flows()
	if s.t != nil && s.state == sock.ConnectedState {
		// Who asks may be waiting for more than the system's buffer holds.
		s.collect()
		if s.home != nil {
			s.summon()
		}
	}
	return int64(f.rbuf.len())
}

// Holds reports whether the socket holds bytes of its connection that were not read, or not sent: who goes on with the connection would miss
// them. What the system holds does not count.
func (s *Socket) Holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return false
	}
	f := s.flow
	return s.staged || f != nil && (f.rbuf.len() > 0 || f.wbuf.len() > 0 || f.writer != nil)
}

// ErrHolds is why a connection cannot be taken from a socket that Holds.
var ErrHolds = Because("the socket holds bytes that were not read or not sent: read them, and wait until BytesToWrite is 0, first", sock.OperationError)

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
	fills := min(s.fills+1, 2)
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
			// The poller may not have told of these bytes yet, and now never will. A callback that asks is likely to read them: whoever
			// runs it looks for what it has left.
			s.fills = fills
			switch {
			case s.home != nil && !s.runsHere():
				s.post(event{sig: sigReadyRead}) // the loop will find nothing
				s.summon()
			case !s.cb.running():
				s.announce(int64(f.rbuf.len()))
			}
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
		s.full = s.full || err == nil && f.rbuf.len() == 0 // all of what was buffered, and nobody has asked whether there is more
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

// readAvailable is ReadAvailable in all cases. mu held, and let go of.
func (s *Socket) readAvailable(p []byte) (n int, err error) {
	if len(p) > 0 && s.t != nil && s.state == sock.ConnectedState && s.mode != sock.WriteOnly && s.plain() {
		// The plain case needs no buffer.
		n, err = s.t.Read(p)
		return s.hasRead(n, err)
	}
	s.mu.Unlock()
	err = s.take("read", int64(len(p)), func(b []byte) int {
		n = copy(p, b)
		return n
	})
	return n, err
}

// hasRead returns what a never-waiting read returns whose n bytes or err came from the transport and not from the buffer. mu held, and let go of.
func (s *Socket) hasRead(n int, err error) (int, error) {
	if f := s.flow; f != nil {
		f.consumed += int64(n)
		f.catchUp()
	} else if n > 0 {
		s.fills = 1 // what was told of was read, though nothing counts it: what is buffered from here on came meanwhile
	}
	switch {
	case err == nil && s.cb.running():
		s.mu.Unlock()
		return n, nil
	case err == ErrAgain:
		err = nil
	case err != nil:
		err = s.meetEnd(err)
	}
	s.unlock()
	return n, err
}

// plain reports whether nothing is buffered, and nothing bounds what may be. mu held.
func (s *Socket) plain() bool {
	if s.flow == nil {
		return s.home != nil
	}
	return s.flow.rbuf.len() == 0 && s.flow.limit == 0
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
	s.tellAgain()
	s.unlock()
}
