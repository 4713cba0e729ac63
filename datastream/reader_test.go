package datastream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// reads is every way to read a value that has bytes.
var reads = map[string]func(*Reader) any{
	"Bool":          func(r *Reader) any { return r.Bool() },
	"Int8":          func(r *Reader) any { return r.Int8() },
	"Int16":         func(r *Reader) any { return r.Int16() },
	"Int32":         func(r *Reader) any { return r.Int32() },
	"Int64":         func(r *Reader) any { return r.Int64() },
	"Uint8":         func(r *Reader) any { return r.Uint8() },
	"Uint16":        func(r *Reader) any { return r.Uint16() },
	"Uint32":        func(r *Reader) any { return r.Uint32() },
	"Uint64":        func(r *Reader) any { return r.Uint64() },
	"Float32":       func(r *Reader) any { return r.Float32() },
	"Float64":       func(r *Reader) any { return r.Float64() },
	"String":        func(r *Reader) any { return r.String() },
	"NullString":    func(r *Reader) any { s, _ := r.NullString(); return s },
	"ByteArray":     func(r *Reader) any { return r.ByteArray() },
	"NullByteArray": func(r *Reader) any { b, _ := r.NullByteArray(); return b },
	"StringList":    func(r *Reader) any { return r.StringList() },
	"Raw":           func(r *Reader) any { return r.Raw(5) },
}

// What the Writer writes by a name the Reader reads by the same one.
func TestReaderHasTheWritersNames(t *testing.T) {
	r, w := reflect.TypeFor[*Reader](), reflect.TypeFor[*Writer]()
	for i := range w.NumMethod() {
		name := w.Method(i).Name
		if _, ok := r.MethodByName(name); !ok && name != "Flush" {
			t.Errorf("the Reader has no %s", name)
		}
	}
}

func TestReaderAtTheEndIsEOF(t *testing.T) {
	for name, read := range reads {
		r := NewReader(strings.NewReader(""))
		if v := read(r); !reflect.ValueOf(v).IsZero() || r.Err() != io.EOF {
			t.Errorf("%s returned %v, and Err %v; want the zero value and io.EOF itself", name, v, r.Err())
		}
	}
}

func TestReaderInMidValueIsUnexpectedEOF(t *testing.T) {
	for _, tt := range []struct{ name, bytes string }{
		{"Uint16", "00"},
		{"Uint64", "00000000000000"},
		{"String", "000000"},
		{"String", "00000008"},
		{"String", "00000008 0041"},
		{"String", "fffffffe 0000"},
		{"ByteArray", "00000008 414243"},
		{"StringList", "00000002"},
		{"StringList", "00000002 00000000"},
		{"StringList", "00000001 00000002 00"},
		{"Raw", "00000000"},
	} {
		r := NewReader(bytes.NewReader(unhex(t, tt.bytes)))
		v := reads[tt.name](r)
		if err := r.Err(); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrReadPastEnd) || errors.Is(err, io.EOF) {
			t.Errorf("%s of %s: %v; want io.ErrUnexpectedEOF and ErrReadPastEnd, not io.EOF", tt.name, tt.bytes, err)
		}
		if !reflect.ValueOf(v).IsZero() {
			t.Errorf("%s of %s returned %v with an error", tt.name, tt.bytes, v)
		}
	}
}

func TestReaderCorruptData(t *testing.T) {
	for _, tt := range []struct {
		name, bytes string
		maxBytes    int
		want        error
	}{
		{"String", "00000003 004100", 0, ErrReadCorruptData},              // odd: Qt says ReadCorruptData too
		{"StringList", "00000001 00000001 00", 0, ErrReadCorruptData},     // the same in a list
		{"StringList", "ffffffff", 0, ErrReadCorruptData},                 // a list is never null
		{"String", "fffffffe ffffffffffffffff", 0, ErrReadCorruptData},    // -1
		{"ByteArray", "fffffffe 8000000000000000", 0, ErrReadCorruptData}, // the smallest
		{"ByteArray", "fffffffe 8000000000000000", -1, ErrReadCorruptData},
		{"StringList", "fffffffe fffffffffffffffe", 0, ErrReadCorruptData},
		{"ByteArray", "fffffffd", 0, ErrSizeLimitExceeded},
		{"String", "fffffffc", 0, ErrSizeLimitExceeded},
		{"StringList", "fffffffd", 0, ErrSizeLimitExceeded},
		{"ByteArray", "fffffffe 7fffffffffffffff", 0, ErrSizeLimitExceeded},
		{"ByteArray", "fffffffe 7fffffffffffffff", -1, ErrSizeLimitExceeded}, // no memory holds that and its length
		{"StringList", "fffffffe 7fffffffffffffff", -1, ErrSizeLimitExceeded},
		{"ByteArray", "00000008 4142434445464748", 11, ErrSizeLimitExceeded},
		{"StringList", "00000002 00000000 00000000", 43, ErrSizeLimitExceeded}, // 4 + 2 * (16 + 4)
		{"StringList", "00000002 00000000 00000002 0041", 45, ErrSizeLimitExceeded},
		{"Uint64", "0000000000000000", 7, ErrSizeLimitExceeded},
		{"Raw", "0000000000", 4, ErrSizeLimitExceeded},
	} {
		r := NewReader(io.MultiReader(bytes.NewReader(unhex(t, tt.bytes)), endless{}))
		r.MaxBytes = tt.maxBytes
		v := reads[tt.name](r)
		if !errors.Is(r.Err(), tt.want) || !strings.HasPrefix(r.Err().Error(), "datastream: ") {
			t.Errorf("%s of %s, MaxBytes %d: %v; want %v", tt.name, tt.bytes, tt.maxBytes, r.Err(), tt.want)
		}
		if !reflect.ValueOf(v).IsZero() {
			t.Errorf("%s of %s returned %v with an error", tt.name, tt.bytes, v)
		}
	}
}

// endless has zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestReaderMaxBytesIsAllowed(t *testing.T) {
	for _, tt := range []struct {
		name, bytes string
		maxBytes    int
		want        any
	}{
		{"ByteArray", "00000003 414243", 7, []byte("ABC")},
		{"String", "00000002 0041", 6, "A"},
		{"StringList", "00000002 00000000 00000002 0041", 46, []string{"", "A"}},
		{"StringList", "00000000", 4, []string{}},
		{"Uint8", "07", 1, uint8(7)},
	} {
		r := NewReader(bytes.NewReader(unhex(t, tt.bytes)))
		r.MaxBytes = tt.maxBytes
		if v := reads[tt.name](r); r.Err() != nil || !reflect.DeepEqual(v, tt.want) {
			t.Errorf("%s of %s, MaxBytes %d: %v, %v; want %v", tt.name, tt.bytes, tt.maxBytes, v, r.Err(), tt.want)
		}
	}
}

func TestReaderLongFormOfLengths(t *testing.T) {
	const long, short = "fffffffe 0000000000000002 0041", "00000002 0041"
	for _, version := range []Version{0, Qt_6_7, Qt_6_10} {
		r := NewReader(bytes.NewReader(unhex(t, long+short)))
		r.Version = version
		if a, b := r.String(), r.ByteArray(); a != "A" || string(b) != "\x00A" || r.Err() != nil {
			t.Errorf("version %d: read %q, %q, %v", version, a, b, r.Err())
		}
	}
	// Before, it is a length as any other, and as Qt's too much for what follows.
	r := NewReader(bytes.NewReader(unhex(t, long)))
	r.Version, r.MaxBytes = Qt_6_6, -1
	if r.ByteArray(); math.MaxInt > math.MaxInt32 && !errors.Is(r.Err(), io.ErrUnexpectedEOF) {
		t.Errorf("version %d: %v", r.Version, r.Err())
	}
}

func TestReaderFirstErrorStays(t *testing.T) {
	r := NewReader(bytes.NewReader(unhex(t, "00000003 004100 07")))
	_ = r.String()
	first := r.Err()
	for name, read := range reads {
		if v := read(r); !reflect.ValueOf(v).IsZero() || r.Err() != first {
			t.Errorf("%s after an error returned %v, and Err changed from %v to %v", name, v, first, r.Err())
		}
	}
	r.StartTransaction()
	if r.CommitTransaction() || r.Err() != first {
		t.Errorf("a transaction made %v of %v", r.Err(), first)
	}
}

func TestReaderRaw(t *testing.T) {
	r := NewReader(strings.NewReader("abcdef"))
	if p := r.Raw(0); p == nil || len(p) != 0 {
		t.Errorf("Raw(0) = %v; want no bytes, but not nil", p)
	}
	a := r.Raw(3)
	if p := r.Raw(r.Buffered()); string(a) != "abc" || string(p) != "def" {
		t.Errorf("read %q and what was buffered, %q", a, p)
	}
	r.Raw(-1)
	if err := r.Err(); !errors.Is(err, ErrReadCorruptData) {
		t.Errorf("Raw(-1): %v", err)
	}
}

func TestReaderVersionUnsupported(t *testing.T) {
	for _, v := range []Version{-1, 1, 6} {
		r := NewReader(endless{})
		r.Version = v
		if r.Float32(); !errors.Is(r.Err(), errors.ErrUnsupported) {
			t.Errorf("version %d: %v", v, r.Err())
		}
	}
}

func TestReaderSourceFails(t *testing.T) {
	r := NewReader(io.MultiReader(strings.NewReader("\x00"), iotest.ErrReader(os.ErrDeadlineExceeded)))
	r.Uint16()
	if err := r.Err(); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, ErrReadPastEnd) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source that failed: %v", err)
	}
	for _, n := range []int{-1, 1 << 30} {
		r := NewReader(ReaderFunc(func([]byte) (int, error) { return n, nil }))
		r.Uint16()
		if err := r.Err(); !errors.Is(err, ErrReadPastEnd) {
			t.Errorf("a source that returned %d: %v", n, err)
		}
	}
}

func TestReaderNoMoreYetOutsideOfTransactionIsFinal(t *testing.T) {
	calls := 0
	r := NewReader(ReaderFunc(func(p []byte) (int, error) {
		calls++
		return 0, nil
	}))
	for range 3 {
		r.Uint16()
	}
	if err := r.Err(); !errors.Is(err, ErrReadPastEnd) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || calls != 1 {
		t.Errorf("%v after %d calls; want ErrReadPastEnd and 1", err, calls)
	}
}

func TestReaderWaitsForNoMoreThanItNeeds(t *testing.T) {
	data := unhex(t, "00000002 0041")
	r := NewReader(ReaderFunc(func(p []byte) (int, error) {
		if len(data) == 0 {
			t.Fatal("a Read that would have waited")
		}
		n := copy(p, data)
		data = data[n:]
		return n, nil
	}))
	if s := r.String(); s != "A" {
		t.Errorf("read %q, %v", s, r.Err())
	}
}

// Texts of all widths and lengths, one after the other, meet every border of the buffers.
func TestReaderLongStream(t *testing.T) {
	var stream bytes.Buffer
	w := NewWriter(&stream)
	letters := []string{"a", "ä", "€", "😀"}
	text := func(i int) string { return strings.Repeat(letters[i%4], i%700) + strings.Repeat(letters[i/4%4], i%300) }
	const n = 800
	for i := range n {
		w.String(text(i))
		w.Uint8(uint8(i))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]io.Reader{
		"at once":  bytes.NewReader(stream.Bytes()),
		"in parts": iotest.HalfReader(bytes.NewReader(stream.Bytes())),
		"bytewise": iotest.OneByteReader(bytes.NewReader(stream.Bytes())),
	} {
		r := NewReader(src)
		for i := range n {
			if s, k := r.String(), r.Uint8(); s != text(i) || k != uint8(i) {
				t.Fatalf("%s: text %d is %q, then %d, %v", name, i, s, k, r.Err())
			}
		}
		if r.Uint8(); r.Err() != io.EOF {
			t.Errorf("%s: at the end %v", name, r.Err())
		}
	}
}

func TestReaderDataWithEOF(t *testing.T) {
	r := NewReader(iotest.DataErrReader(bytes.NewReader(unhex(t, "0001 00000002 0041"))))
	n, s := r.Uint16(), r.String()
	if n != 1 || s != "A" || r.Err() != nil {
		t.Errorf("read %d, %q, %v", n, s, r.Err())
	}
	if r.Uint8(); r.Err() != io.EOF {
		t.Errorf("at the end: %v", r.Err())
	}
}

func TestReaderHostileLengthTakesNoMemory(t *testing.T) {
	for _, tt := range []struct{ name, bytes string }{
		{"String", "03000000"},
		{"ByteArray", "03fffffc"},
		{"StringList", "00300000"},
		{"ByteArray", "fffffffe 0000000003000000"},
	} {
		head := unhex(t, tt.bytes)
		tail := make([]byte, 100<<10)
		spent := allocated(func() {
			r := NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(tail)))
			reads[tt.name](r)
			if !errors.Is(r.Err(), io.ErrUnexpectedEOF) {
				t.Errorf("%s of %s: %v", tt.name, tt.bytes, r.Err())
			}
		})
		// All that was allocated while the buffer grew to what has come; a list's places, one for each 4 bytes, grew beside it.
		if limit := uint64(32 * len(tail)); spent > limit {
			t.Errorf("%s of %s and %d bytes more took %d bytes", tt.name, tt.bytes, len(tail), spent)
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestReaderGivesUpLargeBuffer(t *testing.T) {
	var stream bytes.Buffer
	w := NewWriter(&stream)
	w.ByteArray(make([]byte, 1<<20))
	w.Uint8(7)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&stream)
	if p, n := r.ByteArray(), r.Uint8(); len(p) != 1<<20 || n != 7 || r.Err() != nil {
		t.Fatalf("read %d bytes and %d, %v", len(p), n, r.Err())
	}
	if r.Uint8(); cap(r.buf) > keepSize {
		t.Errorf("%d bytes are kept", cap(r.buf))
	}
}

func TestReaderIsPrintedWithoutReading(t *testing.T) {
	r := NewReader(bytes.NewReader(unhex(t, "07 00000002 0041")))
	r.Uint8()
	if s := fmt.Sprint(r) + fmt.Sprintf("%+v", struct{ R *Reader }{r}); !strings.Contains(s, "6 bytes buffered") || r.String() != "A" {
		t.Errorf("printed %q", s)
	}
}
