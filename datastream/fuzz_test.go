package datastream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"reflect"
	"runtime/metrics"
	"testing"
	"testing/quick"
)

// everything has one value of each kind.
type everything struct {
	Bool    bool
	I8      int8
	I16     int16
	I32     int32
	I64     int64
	U8      uint8
	U16     uint16
	U32     uint32
	U64     uint64
	Float32 float32
	Float64 float64
	Text    string
	Bytes   []byte
	List    []string
}

func (e *everything) write(w *Writer) {
	w.Bool(e.Bool)
	w.Int8(e.I8)
	w.Int16(e.I16)
	w.Int32(e.I32)
	w.Int64(e.I64)
	w.Uint8(e.U8)
	w.Uint16(e.U16)
	w.Uint32(e.U32)
	w.Uint64(e.U64)
	w.Float32(e.Float32)
	w.Float64(e.Float64)
	w.String(e.Text)
	w.ByteArray(e.Bytes)
	w.StringList(e.List)
}

func (e *everything) read(r *Reader) {
	*e = everything{
		r.Bool(), r.Int8(), r.Int16(), r.Int32(), r.Int64(), r.Uint8(), r.Uint16(), r.Uint32(), r.Uint64(),
		r.Float32(), r.Float64(), r.String(), r.ByteArray(), r.StringList(),
	}
}

func TestRoundTrip(t *testing.T) {
	orders := []interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}{binary.BigEndian, binary.LittleEndian, binary.NativeEndian}
	check := func(in everything, nul bool, order uint8, version uint8) bool {
		if nul {
			in.Bytes = nil
		}
		if in.List == nil {
			in.List = []string{}
		}
		var stream bytes.Buffer
		w := NewWriter(&stream)
		w.Order, w.Version = orders[int(order)%len(orders)], Qt_4_0+Version(version%20)
		in.write(w)
		if err := w.Flush(); err != nil {
			t.Log(err)
			return false
		}
		// Whether the bytes come as they please or one by one makes no difference.
		slow := NewReader(bytewise(stream.Bytes()))
		quick := NewReader(&stream)
		for _, r := range []*Reader{quick, slow} {
			r.Order, r.Version = orders[int(order)%len(orders)], w.Version
			var out everything
			for tries := 0; ; tries++ {
				r.StartTransaction()
				out.read(r)
				if r.CommitTransaction() {
					break
				}
				if r.Err() != nil || r == quick {
					t.Log(r.Err())
					return false
				}
			}
			if !reflect.DeepEqual(in, out) || r.Buffered() != 0 {
				t.Logf("%+v became %+v", in, out)
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 50}); err != nil {
		t.Error(err)
	}
}

// FuzzReader reads script's kinds of values from stream: nothing may panic, take memory for what did not come, or depend on how the bytes
// come; and what was read is written as the bytes that were read, where there is one way only.
func FuzzReader(f *testing.F) {
	for _, tt := range qtTests {
		f.Add([]byte("abcdefghijklmno"), unhex(f, tt.big), uint8(0))
		f.Add([]byte("lmno"), unhex(f, tt.big), uint8(15))
		f.Add([]byte("nlmo"), unhex(f, tt.little), uint8(1))
	}
	f.Add([]byte("l"), unhex(f, "fffffffe 0000000000000002 0041"), uint8(0))
	f.Add([]byte("ln"), unhex(f, "00000003 004100"), uint8(0))
	f.Add([]byte("n"), unhex(f, "7fffffff 00000000"), uint8(2))
	f.Add([]byte("ppmqqr"), unhex(f, message), uint8(0))

	f.Fuzz(func(t *testing.T, script, stream []byte, flags uint8) {
		if len(script) > 100 {
			t.Skip()
		}
		const limit = 1 << 20
		setup := func(r *Reader) {
			r.MaxBytes = limit
			r.SinglePrecision = flags&2 != 0
			r.Version = Qt_4_0 + Version(flags>>2&31)
			if flags&1 != 0 {
				r.Order = binary.LittleEndian
			}
		}
		whole := NewReader(bytes.NewReader(stream))
		setup(whole)
		var out bytes.Buffer
		w := NewWriter(&out)
		w.SinglePrecision, w.Version = whole.SinglePrecision, whole.Version
		if flags&1 != 0 {
			w.Order = binary.LittleEndian
		}
		var values []any
		canonical := true
		before := heapAllocs()
		for _, kind := range script {
			v, same := copyValue(kind, whole, w)
			if whole.Err() != nil {
				break
			}
			values = append(values, v)
			canonical = canonical && same
			read := len(stream) - whole.src.(*bytes.Reader).Len() - whole.Buffered()
			if canonical && w.Flush() == nil && !bytes.Equal(out.Bytes(), stream[:read]) && !longForm(whole.Version, stream[:read]) {
				t.Fatalf("%q: read %x, wrote %x", kind, stream[:read], out.Bytes())
			}
		}
		if spent, most := heapAllocs()-before, uint64(limit+200*len(stream)); spent > most {
			t.Fatalf("%d bytes of memory for %d bytes", spent, len(stream))
		}
		if err := whole.Err(); err != nil && err != io.EOF && !errors.Is(err, ErrReadPastEnd) && !errors.Is(err, ErrReadCorruptData) &&
			!errors.Is(err, ErrSizeLimitExceeded) && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("an error of no kind: %v", err)
		}

		// The same again, one byte at a time, with nothing between, in one transaction for each value.
		if len(stream) > 1000 {
			return
		}
		slow := NewReader(bytewise(stream))
		setup(slow)
		null := NewWriter(io.Discard)
		for i, want := range values {
			for {
				slow.StartTransaction()
				got, _ := copyValue(script[i], slow, null)
				if slow.CommitTransaction() {
					if !same(got, want) {
						t.Fatalf("%q: %#v byte by byte, and %#v at once", script[i], got, want)
					}
					break
				}
				if slow.Err() != nil {
					t.Fatalf("%q: %v byte by byte, and %#v at once", script[i], slow.Err(), want)
				}
			}
		}
	})
}

// heapAllocs returns how many bytes have been allocated so far: about, but cheaply.
func heapAllocs() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// copyValue reads a value of some kind and writes it. It reports whether that has to give the same bytes.
func copyValue(kind byte, r *Reader, w *Writer) (v any, canonical bool) {
	switch kind % 16 {
	case 0:
		b := r.Bool()
		w.Bool(b)
		return b, false // 2 is true too
	case 1:
		n := r.Int8()
		w.Int8(n)
		return n, true
	case 2:
		n := r.Int16()
		w.Int16(n)
		return n, true
	case 3:
		n := r.Int32()
		w.Int32(n)
		return n, true
	case 4:
		n := r.Int64()
		w.Int64(n)
		return n, true
	case 5:
		n := r.Uint8()
		w.Uint8(n)
		return n, true
	case 6:
		n := r.Uint16()
		w.Uint16(n)
		return n, true
	case 7:
		n := r.Uint32()
		w.Uint32(n)
		return n, true
	case 8:
		n := r.Uint64()
		w.Uint64(n)
		return n, true
	case 9:
		x := r.Float32()
		w.Float32(x)
		return x, false // rounded
	case 10:
		x := r.Float64()
		w.Float64(x)
		return x, x == x // the processor may quiet a NaN
	case 11:
		p := r.Raw(3)
		w.Raw(p)
		return p, true
	case 12, 13:
		s, ok := r.NullString()
		if !ok {
			w.NullString()
			return nil, true
		}
		w.String(s)
		return s, !bytes.ContainsRune([]byte(s), '\uFFFD')
	case 14:
		list := r.StringList()
		w.StringList(list)
		return list, false // null became empty
	default:
		p, ok := r.NullByteArray()
		if !ok {
			w.NullByteArray()
			return nil, true
		}
		w.ByteArray(p)
		return p, true
	}
}

// same is reflect.DeepEqual, but a NaN is the same as itself.
func same(a, b any) bool {
	switch x := a.(type) {
	case float32:
		return math.Float32bits(x) == math.Float32bits(b.(float32))
	case float64:
		return math.Float64bits(x) == math.Float64bits(b.(float64))
	}
	return reflect.DeepEqual(a, b)
}

// longForm reports whether b may hold a length that did not need its long form.
func longForm(v Version, b []byte) bool {
	return v.atLeast(Qt_6_7) && (bytes.Contains(b, []byte{0xFF, 0xFF, 0xFF, 0xFE}) || bytes.Contains(b, []byte{0xFE, 0xFF, 0xFF, 0xFF}))
}
