package datastream

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	nullCode     = 0xFFFFFFFF // in place of a length: null
	extendedSize = 0xFFFFFFFE // from Qt_6_7 on, in place of a length: the length follows in 64 bits
)

// writeSize is how much a Writer collects before it writes without being told to.
const writeSize = 4096

// A Writer writes values in the format of QDataStream. Make one with [NewWriter]; its fields may be set then, and changed between
// values. What is written is collected, and reaches the destination with Flush, or earlier, whenever 4 KiB have come together.
//
// After the first error nothing more is written, and Flush and Err return that error.
//
// Qt: QDataStream
type Writer struct {
	// Version is the format to write; zero means [DefaultVersion].
	//
	// Qt: QDataStream::setVersion
	Version Version

	// Order is the byte order of integers, floating-point numbers, lengths and the units of a String; nil means binary.BigEndian.
	//
	// Qt: QDataStream::setByteOrder
	Order binary.AppendByteOrder

	// SinglePrecision makes Float32 and Float64 both write 4 bytes. If it is false they both write 8. Before Qt_4_6 it means nothing:
	// there Float32 writes 4 bytes and Float64 writes 8.
	//
	// Qt: QDataStream::setFloatingPointPrecision
	SinglePrecision bool

	dst io.Writer
	buf []byte
	err error
}

// NewWriter returns a Writer that writes to dst, big-endian and in [DefaultVersion]. It is dst's only user until Flush returned.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// Bool writes one byte, 0 or 1.
func (w *Writer) Bool(v bool) {
	var b uint8
	if v {
		b = 1
	}
	w.Uint8(b)
}

// Int8 writes one byte.
func (w *Writer) Int8(v int8) { w.Uint8(uint8(v)) }

// Int16 writes 2 bytes.
func (w *Writer) Int16(v int16) { w.Uint16(uint16(v)) }

// Int32 writes 4 bytes.
func (w *Writer) Int32(v int32) { w.Uint32(uint32(v)) }

// Int64 writes 8 bytes.
func (w *Writer) Int64(v int64) { w.Uint64(uint64(v)) }

// Uint8 writes one byte.
func (w *Writer) Uint8(v uint8) {
	if w.ready() {
		w.buf = append(w.buf, v)
		w.spill()
	}
}

// Uint16 writes 2 bytes.
func (w *Writer) Uint16(v uint16) {
	if w.ready() {
		w.buf = w.order().AppendUint16(w.buf, v)
		w.spill()
	}
}

// Uint32 writes 4 bytes.
func (w *Writer) Uint32(v uint32) {
	if w.ready() {
		w.buf = w.order().AppendUint32(w.buf, v)
		w.spill()
	}
}

// Uint64 writes 8 bytes.
func (w *Writer) Uint64(v uint64) {
	if w.ready() {
		w.buf = w.order().AppendUint64(w.buf, v)
		w.spill()
	}
}

// Float32 writes v as IEEE 754 double precision in 8 bytes; with SinglePrecision, and before Qt_4_6, as single precision in 4.
func (w *Writer) Float32(v float32) {
	if !w.SinglePrecision && w.Version.atLeast(Qt_4_6) {
		w.Uint64(math.Float64bits(float64(v)))
		return
	}
	w.Uint32(math.Float32bits(v))
}

// Float64 writes v as IEEE 754 double precision in 8 bytes; with SinglePrecision from Qt_4_6 on as single precision in 4, rounded, and
// infinite if it is too large for that.
func (w *Writer) Float64(v float64) {
	if w.SinglePrecision && w.Version.atLeast(Qt_4_6) {
		w.Uint32(math.Float32bits(float32(v)))
		return
	}
	w.Uint64(math.Float64bits(v))
}

// String writes s as a QString that is not null: the length of its UTF-16 in bytes, then the UTF-16. Each byte of s that is not part of
// valid UTF-8 becomes U+FFFD, as in QString::fromUtf8. A String whose UTF-16 has more than 4294967294 bytes needs Qt_6_7: an earlier
// Version cannot say its length, nothing of it is written, and the error Is [ErrSizeLimitExceeded].
func (w *Writer) String(s string) {
	if w.ready() && w.length("String", 2*utf16Len(s)) {
		w.text(s)
	}
}

// NullString writes the null QString, which Qt tells from the empty one.
func (w *Writer) NullString() { w.Uint32(nullCode) }

// ByteArray writes p as a QByteArray: its length, then its bytes. Nil is the null QByteArray, as [Reader.ByteArray] returns it; for the
// empty one that is not null write []byte{}. A p of more than 4294967294 bytes needs Qt_6_7, as with String.
//
// Qt: QDataStream::writeBytes
func (w *Writer) ByteArray(p []byte) {
	if p == nil {
		w.NullByteArray()
		return
	}
	if w.ready() && w.length("ByteArray", int64(len(p))) {
		w.Raw(p)
	}
}

// NullByteArray writes the null QByteArray, which Qt tells from the empty one.
func (w *Writer) NullByteArray() { w.Uint32(nullCode) }

// StringList writes how many strings there are, then each as String does. Nil is the empty list.
func (w *Writer) StringList(list []string) {
	if w.ready() && w.length("StringList", int64(len(list))) {
		for _, s := range list {
			w.String(s)
		}
	}
}

// Raw writes p as it is, without a length.
//
// Qt: QDataStream::writeRawData
func (w *Writer) Raw(p []byte) {
	if !w.ready() {
		return
	}
	if len(w.buf)+len(p) > cap(w.buf) && w.Flush() != nil {
		return
	}
	if len(p) > writeSize {
		// Copying so much would cost more than the Write of its own.
		w.write(p)
		return
	}
	w.buf = append(w.buf, p...)
	w.spill()
}

// Flush writes what has been collected to the destination, in one Write, and returns the first error that there was. It does not call a
// Flush of the destination's own.
func (w *Writer) Flush() error {
	if len(w.buf) > 0 {
		w.write(w.buf)
		w.buf = w.buf[:0]
	}
	return w.err
}

// Err returns the first error that there was, or nil. An error that only Flush can meet is not known before Flush: it is enough to ask
// one of the two at the end of a message, Flush where its end is to be sent. A short write is an error that Is io.ErrShortWrite.
//
// Qt: QDataStream::status
func (w *Writer) Err() error { return w.err }

// ready reports whether a value may be written, and sees to it that there is a buffer.
func (w *Writer) ready() bool {
	if w.err == nil && !w.Version.valid() {
		w.fail(w.Version.err())
	}
	if w.err != nil {
		return false
	}
	if w.buf == nil {
		// What spill sees may be past writeSize by the longest part of a value that is appended whole: a length in its long form.
		w.buf = make([]byte, 0, writeSize+16)
	}
	return true
}

// length writes a length or count of n.
func (w *Writer) length(what string, n int64) bool {
	switch {
	case n < extendedSize:
		w.buf = w.order().AppendUint32(w.buf, uint32(n))
	case w.Version.atLeast(Qt_6_7):
		w.buf = w.order().AppendUint32(w.buf, extendedSize)
		w.buf = w.order().AppendUint64(w.buf, uint64(n))
	case n == extendedSize:
		// Before Qt_6_7 the number is a length like any other.
		w.buf = w.order().AppendUint32(w.buf, extendedSize)
	default:
		w.fail(fmt.Errorf("%w: %s: a length of %d needs Qt_6_7 (%d), and Version is %d: raise Version on both sides, or send less at once",
			ErrSizeLimitExceeded, what, n, int(Qt_6_7), int(w.Version)))
		return false
	}
	w.spill()
	return w.err == nil
}

func (w *Writer) order() binary.AppendByteOrder {
	if w.Order == nil {
		return binary.BigEndian
	}
	return w.Order
}

// spill keeps the buffer from growing.
func (w *Writer) spill() {
	if len(w.buf) >= writeSize {
		w.write(w.buf)
		w.buf = w.buf[:0]
	}
}

func (w *Writer) write(p []byte) {
	n, err := w.dst.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.fail(fmt.Errorf("%w: %d of %d bytes written: %w", ErrWriteFailed, n, len(p), err))
	}
}

// fail keeps the first error. What is still in the buffer will never be sent: its beginning may be, and the rest would not follow it.
func (w *Writer) fail(err error) {
	w.err, w.buf = err, nil
}
