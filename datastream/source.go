package datastream

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// A ReaderFunc is a function that is an io.Reader. It makes a Reader's source of a method that never waits and gives 0 and nil while
// there is no more, such as a socket's ReadAvailable: NewReader(ReaderFunc(socket.ReadAvailable)).
type ReaderFunc func(p []byte) (n int, err error)

var _ io.Reader = ReaderFunc(nil)

// Read calls f.
func (f ReaderFunc) Read(p []byte) (n int, err error) { return f(p) }

const (
	readSize = 4096     // what the buffer of a Reader begins with
	keepSize = 64 << 10 // a larger buffer is given up when all in it has been read
	slotSize = 16       // what a string takes in a list besides its bytes
)

// source is what a Reader knows of the bytes. Those of the value that is being read, or of the transaction, stay in buf until it is done:
// that is what makes either whole or not at all, and what MaxBytes bounds.
type source struct {
	src   io.Reader
	buf   []byte
	start int   // buf[start:pos] is what the value or the transaction has read
	pos   int   // buf[pos:] is unread
	slots int64 // what lists count for besides buf[start:pos]
	late  error // what src gave together with its last bytes
}

// forget makes what has been read so far final.
func (s *source) forget() {
	s.start, s.slots = s.pos, 0
	if s.pos == len(s.buf) {
		s.start, s.pos, s.buf = 0, 0, s.buf[:0]
		if cap(s.buf) > keepSize {
			s.buf = nil
		}
	}
}

// rewind makes what has been read since forget unread.
func (s *source) rewind() { s.pos, s.slots = s.start, 0 }

// makeRoom makes room for a Read when n unread bytes are wanted. A buffer that is less than half full does not grow, however large n is,
// so that memory follows what has arrived. By a quarter it grows at least, or a long transaction of short values would be copied and copied.
func (s *source) makeRoom(n int) {
	if s.start > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.start:])]
		s.pos -= s.start
		s.start = 0
	}
	have, missing := len(s.buf), n-(len(s.buf)-s.pos)
	if free := cap(s.buf) - have; free < missing && free <= have {
		size := have + max(readSize, have/4, min(have, missing))
		s.buf = append(make([]byte, 0, size), s.buf...)
	}
}

var (
	errNoMore = fmt.Errorf("%w: the source has no more yet: read in a transaction, and start it again when more has come", ErrReadPastEnd)
	errCount  = errors.New("the source's Read returned an impossible count: repair it")
)

// begin comes before each value.
func (r *Reader) begin() {
	if r.depth == 0 {
		r.forget()
	}
	if r.err == nil && !r.Version.valid() {
		r.err = r.Version.err()
	}
}

// take returns the next n bytes, n > 0, of a value that is called what. It returns nil after an error, and what it returns is good until
// the next read.
func (r *Reader) take(what string, n int64) []byte {
	if r.err != nil {
		return nil
	}
	if n > r.room() {
		r.tooLarge(what, n, "bytes")
		return nil
	}
	if int64(r.Buffered()) < n && !r.fill(what, int(n)) {
		return nil
	}
	b := r.buf[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b
}

// reserve counts the places of n strings, which have at least a length each.
func (r *Reader) reserve(n int64) bool {
	if n > r.room()/(slotSize+4) {
		r.tooLarge("StringList", n, "strings")
		return false
	}
	r.slots += slotSize * n
	return true
}

// room returns how many bytes the value, or the transaction, may still have.
func (r *Reader) room() int64 {
	limit := int64(r.MaxBytes)
	switch {
	case limit == 0:
		limit = DefaultMaxBytes
	case limit < 0:
		limit = math.MaxInt
	}
	return limit - int64(r.pos-r.start) - r.slots
}

func (r *Reader) tooLarge(what string, n int64, unit string) {
	r.err = fmt.Errorf("%w: %s: %d more %s, and MaxBytes leaves room for %d bytes: raise MaxBytes if so much is expected, else %s",
		ErrSizeLimitExceeded, what, n, unit, max(0, r.room()), hint)
}

// fill reads until n bytes are unread.
func (r *Reader) fill(what string, n int) bool {
	for r.Buffered() < n {
		if r.late != nil {
			r.runOut(what, n, r.late)
			return false
		}
		r.makeRoom(n)
		free := r.buf[len(r.buf):cap(r.buf)]
		m, err := r.src.Read(free)
		if m < 0 || m > len(free) {
			m, err = 0, errCount
		}
		r.buf = r.buf[:len(r.buf)+m]
		r.late = err
		if m == 0 && err == nil {
			r.runOut(what, n, nil)
			return false
		}
	}
	return true
}

// runOut says that fewer than n bytes are unread, because of cause; nil is a source that has no more yet.
func (r *Reader) runOut(what string, n int, cause error) {
	switch {
	case cause == nil:
		r.err = errNoMore
	case cause == io.EOF && len(r.buf) == r.start:
		r.err = io.EOF
	case cause == io.EOF:
		r.err = fmt.Errorf("%w: %s: the source ended, and %d more bytes were due: %w", ErrReadPastEnd, what, n-r.Buffered(), io.ErrUnexpectedEOF)
	default:
		r.err = fmt.Errorf("%w: %s: %w", ErrReadPastEnd, what, cause)
	}
	r.late = nil
	r.retry = r.depth > 0
}
