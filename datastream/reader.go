package datastream

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// DefaultMaxBytes is what a Reader allows whose MaxBytes is zero: 64 MiB.
const DefaultMaxBytes = 64 << 20

// A Reader reads values in the format of QDataStream. Make one with [NewReader]; its fields may be set then, and changed between values.
//
// After the first error every method returns zero, and Err returns that error; only what ran out in a transaction may be tried again. A
// value is read whole or not at all. A length is never believed: memory is taken for what has arrived, no more than MaxBytes of it.
//
// String reads a value, it does not describe the Reader; fmt prints a Reader without reading from it.
//
// Qt: QDataStream
type Reader struct {
	// Version is the format to read; zero means [DefaultVersion].
	//
	// Qt: QDataStream::setVersion
	Version Version

	// Order is the byte order of integers, floating-point numbers, lengths and the units of a String; nil means binary.BigEndian.
	//
	// Qt: QDataStream::setByteOrder
	Order binary.ByteOrder

	// SinglePrecision makes Float32 and Float64 both read 4 bytes. If it is false they both read 8. Before Qt_4_6 it means nothing:
	// there Float32 reads 4 bytes and Float64 reads 8.
	//
	// Qt: QDataStream::setFloatingPointPrecision
	SinglePrecision bool

	// MaxBytes is the most bytes that one value may have, with its length, or in a transaction all that it reads together. Each string of
	// a StringList counts for 16 bytes more, its place in the list. A String may need half as much again when it has become UTF-8. What
	// is longer is an error that Is [ErrSizeLimitExceeded], as soon as its length is read. Zero means [DefaultMaxBytes]; negative, as
	// much as there is memory: only for a source that is trusted.
	MaxBytes int

	source
	depth int   // how many transactions have been started and not ended
	err   error // the first error
	retry bool  // err came of running out in a transaction, and the next one may try again
}

// NewReader returns a Reader that reads from src, big-endian, in [DefaultVersion], and at most [DefaultMaxBytes] at once.
//
// The Reader owns src: it takes what a Read gives, which may be more than the value needs; see [Reader.Buffered]. It calls Read only when
// a value needs more than it has, so it does not wait for anything that the value does not need. If src answers (0, nil) it has no more
// yet, which is what transactions are for; see [Reader.StartTransaction] and [ReaderFunc].
func NewReader(src io.Reader) *Reader { return &Reader{source: source{src: src}} }

// Bool reads one byte, and reports whether it is not 0.
func (r *Reader) Bool() bool { return r.Uint8() != 0 }

// Int8 reads one byte.
func (r *Reader) Int8() int8 { return int8(r.Uint8()) }

// Int16 reads 2 bytes.
func (r *Reader) Int16() int16 { return int16(r.Uint16()) }

// Int32 reads 4 bytes.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Int64 reads 8 bytes.
func (r *Reader) Int64() int64 { return int64(r.Uint64()) }

// Uint8 reads one byte.
func (r *Reader) Uint8() uint8 {
	r.begin()
	if b := r.take("1 byte", 1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads 2 bytes.
func (r *Reader) Uint16() uint16 {
	r.begin()
	if b := r.take("2 bytes", 2); b != nil {
		return r.order().Uint16(b)
	}
	return 0
}

// Uint32 reads 4 bytes.
func (r *Reader) Uint32() uint32 {
	r.begin()
	if b := r.take("4 bytes", 4); b != nil {
		return r.order().Uint32(b)
	}
	return 0
}

// Uint64 reads 8 bytes.
func (r *Reader) Uint64() uint64 {
	r.begin()
	if b := r.take("8 bytes", 8); b != nil {
		return r.order().Uint64(b)
	}
	return 0
}

// Float32 reads 8 bytes as IEEE 754 double precision and rounds them; with SinglePrecision, and before Qt_4_6, 4 as single precision.
func (r *Reader) Float32() float32 {
	if !r.SinglePrecision && r.Version.atLeast(Qt_4_6) {
		return float32(math.Float64frombits(r.Uint64()))
	}
	return math.Float32frombits(r.Uint32())
}

// Float64 reads 8 bytes as IEEE 754 double precision; with SinglePrecision from Qt_4_6 on 4 as single precision.
func (r *Reader) Float64() float64 {
	if r.SinglePrecision && r.Version.atLeast(Qt_4_6) {
		return float64(math.Float32frombits(r.Uint32()))
	}
	return math.Float64frombits(r.Uint64())
}

// String reads a QString; the null one is "", as the empty one is. Each half of a surrogate pair without its other half becomes U+FFFD.
// A length that is odd, or negative in its long form, is an error that Is [ErrReadCorruptData].
//
// Unlike Qt, which takes -1 in the long form for null, this refuses what no Qt writes.
func (r *Reader) String() string {
	s, _ := r.NullString()
	return s
}

// NullString reads a QString as String does, and reports whether there was one: ok is false if it was null, or if there is an error.
func (r *Reader) NullString() (s string, ok bool) {
	r.begin()
	b := r.payload("String", 2)
	return decodeUTF16(b, r.little()), b != nil
}

// ByteArray reads a QByteArray. The null one is nil, the empty one is not; nil is also what there is after an error. The caller owns what
// is returned. A length that is negative in its long form is an error that Is [ErrReadCorruptData].
//
// Qt: QDataStream::readBytes
func (r *Reader) ByteArray() []byte {
	r.begin()
	return own(r.payload("ByteArray", 1))
}

// NullByteArray reads a QByteArray as ByteArray does, and reports whether there was one: ok is false, and b nil, if it was null, or if there is an
// error.
func (r *Reader) NullByteArray() (b []byte, ok bool) {
	b = r.ByteArray()
	return b, b != nil
}

// StringList reads a count, and so many strings, each as String does. The list is nil only after an error.
func (r *Reader) StringList() []string {
	r.begin()
	n, ok := r.length("StringList")
	if !ok {
		return nil
	}
	if n < 0 {
		r.err = fmt.Errorf("%w: StringList: the count is 4294967295, and a list is never null: %s", ErrReadCorruptData, hint)
		return nil
	}
	if !r.reserve(n) {
		return nil
	}
	// Four bytes that are here speak for one string; the count alone speaks for none.
	list := make([]string, 0, min(n, int64(r.Buffered()/4)))
	for range n {
		b := r.payload("StringList", 2)
		if r.err != nil {
			return nil
		}
		list = append(list, decodeUTF16(b, r.little()))
	}
	return list
}

// Raw reads the next n bytes as they are, without a length. The caller owns what is returned; it is nil only after an error. A negative n
// is an error.
//
// Qt: QDataStream::readRawData
func (r *Reader) Raw(n int) []byte {
	r.begin()
	switch {
	case r.err != nil:
		return nil
	case n < 0:
		r.err = fmt.Errorf("%w: Raw(%d): there is no negative number of bytes: check where the number comes from", ErrReadCorruptData, n)
		return nil
	case n == 0:
		return []byte{}
	}
	return own(r.take("Raw", int64(n)))
}

// Buffered returns how many bytes have come from the source and are unread; Raw reads so many without asking the source for more. It is
// how to hand the stream on to somebody who knows nothing of this Reader.
func (r *Reader) Buffered() int { return len(r.buf) - r.pos }

// Err returns the first error that there was, or nil.
//
//   - It is io.EOF itself if the source ended before the first byte of a value, or of a transaction: a clean end, if the peer may end there.
//   - It Is [ErrReadPastEnd] and io.ErrUnexpectedEOF if the source ended later.
//   - It Is [ErrReadPastEnd] and the source's own error if the source failed.
//   - It Is [ErrReadPastEnd] and nothing else if the source had no more yet: in a transaction until it ends, outside for ever.
//   - It Is [ErrReadCorruptData] or [ErrSizeLimitExceeded] if nothing sensible can follow.
//
// Qt: QDataStream::status
func (r *Reader) Err() error { return r.err }

// Format keeps fmt from calling String, which would read.
func (r *Reader) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "datastream.Reader(%d bytes buffered)", r.Buffered())
}

// payload reads a length and the bytes that it announces. It returns nil for null and after an error; what it returns is good until the
// next read. The length has to be a multiple of unit.
func (r *Reader) payload(what string, unit int64) []byte {
	n, ok := r.length(what)
	switch {
	case !ok || n < 0:
		return nil
	case n == 0:
		return []byte{}
	case n%unit != 0:
		r.err = fmt.Errorf("%w: %s: %d bytes are not a whole number of UTF-16 units: %s", ErrReadCorruptData, what, n, hint)
		return nil
	}
	return r.take(what, n)
}

// length reads a length or a count; -1 is null.
func (r *Reader) length(what string) (n int64, ok bool) {
	b := r.take(what, 4)
	if b == nil {
		return 0, false
	}
	first := r.order().Uint32(b)
	if first == nullCode {
		return -1, true
	}
	if first < extendedSize || !r.Version.atLeast(Qt_6_7) {
		return int64(first), true
	}
	// As in Qt, a length that would have done without the long form is good.
	if b = r.take(what, 8); b == nil {
		return 0, false
	}
	if n = int64(r.order().Uint64(b)); n < 0 {
		r.err = fmt.Errorf("%w: %s: a length of %d: %s", ErrReadCorruptData, what, n, hint)
		return 0, false
	}
	return n, true
}

func (r *Reader) order() binary.ByteOrder {
	if r.Order == nil {
		return binary.BigEndian
	}
	return r.Order
}

// little reports whether the units of a string are little-endian.
func (r *Reader) little() bool { return r.order().Uint16(one[:]) != 1 }

var one = [2]byte{0, 1}

// own returns a copy of b that is nil only if b is.
func own(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// hint is how an error ends that a wrong idea of the stream leads to more often than a broken peer does.
const hint = "check that both sides agree on what is sent, and on Version and Order"
