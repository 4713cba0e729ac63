package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// piece is how much is read and written at once at most, and what a connection needs of memory, twice.
const piece = 64 << 10

// A message is what a connection sends, and what must come back. No two of a run are alike, if they are of 8 bytes at least, so that an
// answer to another one is not taken for the right one.
type message struct {
	size    int
	number  uint64
	first   []byte // the beginning, which differs
	pattern []byte // the rest, again and again; shared, and never written to
}

func newMessage(pattern []byte, size, of int) *message {
	m := &message{size: size, number: uint64(of) << 40, pattern: pattern, first: make([]byte, min(size, len(pattern)))}
	copy(m.first, pattern)
	return m
}

// next makes another message of it.
func (m *message) next() {
	m.number++
	if len(m.first) >= 8 {
		binary.LittleEndian.PutUint64(m.first, m.number)
		return
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], m.number)
	copy(m.first, b[:])
}

// writeTo writes the message.
func (m *message) writeTo(w io.Writer) error {
	sent, err := w.Write(m.first)
	for sent < m.size && err == nil {
		var n int
		n, err = w.Write(m.pattern[:min(len(m.pattern), m.size-sent)])
		sent += n
	}
	return err
}

// check compares what has come back with the message from an offset on; it must not reach beyond its end.
func (m *message) check(got []byte, offset int) error {
	whole := got
	for from := offset; len(got) > 0; {
		want := m.pattern[from%len(m.pattern):]
		if from < len(m.first) {
			want = m.first[from:]
		}
		n := min(len(want), len(got))
		if !bytes.Equal(want[:n], got[:n]) {
			i := 0
			for want[i] == got[i] {
				i++
			}
			return &mismatch{at: from + i, got: got[i], want: want[i], excerpt: excerpt(whole)}
		}
		from += n
		got = got[n:]
	}
	return nil
}

// excerpt copies the beginning of an answer, for a person to read.
func excerpt(b []byte) []byte { return bytes.Clone(b[:min(len(b), 24)]) }

// A mismatch is an answer that differs from what was sent.
type mismatch struct {
	at        int
	got, want byte
	excerpt   []byte
}

func (e *mismatch) Error() string {
	return fmt.Sprintf("byte %d of an answer was 0x%02x in place of 0x%02x; what came begins with %q", e.at, e.got, e.want, e.excerpt)
}

// An excess is an answer that is longer than what was sent.
type excess struct{ size int }

func (e *excess) Error() string {
	return fmt.Sprintf("more has come than the %d bytes that were sent", e.size)
}

// A partial is an answer that was not whole when something ended it.
type partial struct {
	got, size int
	err       error
}

func (e *partial) Error() string {
	if e.err == io.EOF {
		return fmt.Sprintf("closed after %d of %d bytes had come back", e.got, e.size)
	}
	return fmt.Sprintf("%d of %d bytes had come back: %v", e.got, e.size, e.err)
}

func (e *partial) Unwrap() error { return e.err }
