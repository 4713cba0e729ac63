package datastream

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// lengths of values that no test can have in memory are asked of the method that writes them.
func TestWriterLengths(t *testing.T) {
	for _, tt := range []struct {
		version Version
		n       int64
		want    string // "": an error
	}{
		{Qt_6_6, 0xFFFFFFFD, "fffffffd"},
		{Qt_6_6, 0xFFFFFFFE, "fffffffe"},
		{Qt_6_6, 0xFFFFFFFF, ""},
		{Qt_4_0, 1 << 40, ""},
		{Qt_6_7, 0xFFFFFFFD, "fffffffd"},
		{Qt_6_7, 0xFFFFFFFE, "fffffffe 00000000fffffffe"},
		{Qt_6_7, 0xFFFFFFFF, "fffffffe 00000000ffffffff"},
		{0, 1 << 40, "fffffffe 0000010000000000"},
	} {
		var got bytes.Buffer
		w := NewWriter(&got)
		w.Version = tt.version
		ok := w.ready() && w.length("ByteArray", tt.n)
		err := w.Flush()
		if ok != (err == nil) || !bytes.Equal(got.Bytes(), unhex(t, tt.want)) {
			t.Errorf("version %d, %d: wrote %x, %v; want %s", tt.version, tt.n, got.Bytes(), err, tt.want)
		}
		if tt.want == "" && !errors.Is(err, ErrSizeLimitExceeded) {
			t.Errorf("version %d, %d: %v; want ErrSizeLimitExceeded", tt.version, tt.n, err)
		}
	}
}

// recorder keeps what each Write got.
type recorder struct {
	writes [][]byte
	n      int // what Write returns; negative: all
	err    error
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(p))
	if r.n < 0 {
		return len(p), r.err
	}
	return r.n, r.err
}

func TestWriterWritesOnFlush(t *testing.T) {
	dst := &recorder{n: -1}
	w := NewWriter(dst)
	w.Uint16(1)
	w.String("A")
	if len(dst.writes) != 0 {
		t.Fatalf("wrote %x before Flush", dst.writes)
	}
	for range 2 {
		if err := w.Flush(); err != nil || len(dst.writes) != 1 || !bytes.Equal(dst.writes[0], unhex(t, "0001 00000002 0041")) {
			t.Fatalf("wrote %x, %v", dst.writes, err)
		}
	}
}

func TestWriterBufferDoesNotGrow(t *testing.T) {
	dst := &recorder{n: -1}
	w := NewWriter(dst)
	long := strings.Repeat("ä😀", 5000)
	w.Uint8(1)
	w.String(long)
	w.Raw(make([]byte, 4000))
	w.Raw(make([]byte, 4000))
	w.ByteArray(make([]byte, 1<<20))
	for range 10000 {
		w.Uint64(2)
	}
	w.StringList([]string{long, long})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if limit := writeSize + 16; cap(w.buf) > limit {
		t.Errorf("the buffer has become %d bytes; want %d", cap(w.buf), limit)
	}
	total := 0
	for _, p := range dst.writes {
		total += len(p)
		if len(p) > writeSize+16 && len(p) != 1<<20 {
			t.Errorf("a Write of %d bytes", len(p))
		}
	}
	if want := 1 + (4 + 30000) + 8000 + (4 + 1<<20) + 80000 + 4 + 2*(4+30000); total != want {
		t.Errorf("wrote %d bytes; want %d", total, want)
	}
}

func TestWriterFirstErrorStays(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		dst  *recorder
		want error
	}{
		{"error", &recorder{err: broken}, broken},
		{"error after all was taken", &recorder{n: -1, err: broken}, broken},
		{"short write", &recorder{n: 1}, io.ErrShortWrite},
	} {
		w := NewWriter(tt.dst)
		w.Uint16(1)
		if w.Err() != nil {
			t.Errorf("%s: %v before Flush", tt.name, w.Err())
		}
		err := w.Flush()
		if !errors.Is(err, tt.want) || !errors.Is(err, ErrWriteFailed) {
			t.Errorf("%s: %v", tt.name, err)
		}
		w.Bool(true)
		w.Float64(1)
		w.String(strings.Repeat("a", 10000))
		w.NullString()
		w.ByteArray(make([]byte, 10000))
		w.ByteArray(nil)
		w.StringList([]string{"a"})
		w.Raw(make([]byte, 10000))
		if again := w.Flush(); again != err || w.Err() != err || len(tt.dst.writes) != 1 {
			t.Errorf("%s: %v after %v, and %d writes", tt.name, again, err, len(tt.dst.writes))
		}
	}
}

func TestWriterFailsWithinValue(t *testing.T) {
	for name, write := range map[string]func(*Writer){
		"String":     func(w *Writer) { w.String(strings.Repeat("a", 10000)) },
		"ByteArray":  func(w *Writer) { w.ByteArray(make([]byte, 10000)) },
		"StringList": func(w *Writer) { w.StringList(make([]string, 10000)) },
		"Raw":        func(w *Writer) { w.Raw(make([]byte, 10000)) },
	} {
		dst := &recorder{err: io.ErrClosedPipe}
		w := NewWriter(dst)
		if write(w); !errors.Is(w.Err(), io.ErrClosedPipe) || len(dst.writes) != 1 {
			t.Errorf("%s: %v after %d writes", name, w.Err(), len(dst.writes))
		}
	}
}

func TestWriterVersionUnsupported(t *testing.T) {
	for _, v := range []Version{-1, 1, 6} {
		dst := &recorder{n: -1}
		w := NewWriter(dst)
		w.Version = v
		w.Float32(1)
		if err := w.Flush(); !errors.Is(err, errors.ErrUnsupported) || len(dst.writes) != 0 {
			t.Errorf("version %d: %v, wrote %x", v, err, dst.writes)
		}
	}
}
