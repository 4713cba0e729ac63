package datastream

import (
	"io"
	"strings"
	"testing"
)

var benchTexts = []struct{ name, text string }{
	{"short", "You've been leading a dog's life. Stay off the furniture."},
	{"ascii64K", strings.Repeat("a", 64<<10)},
	{"mixed64K", strings.Repeat("aä€😀", 64<<10/10)},
}

func BenchmarkWriterString(b *testing.B) {
	for _, bb := range benchTexts {
		b.Run(bb.name, func(b *testing.B) {
			w := NewWriter(io.Discard)
			b.SetBytes(int64(len(bb.text)))
			b.ReportAllocs()
			for b.Loop() {
				w.String(bb.text)
			}
			if err := w.Flush(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkReaderString(b *testing.B) {
	for _, bb := range benchTexts {
		b.Run(bb.name, func(b *testing.B) {
			r := NewReader(repeat(b, bb.text))
			b.SetBytes(int64(len(bb.text)))
			b.ReportAllocs()
			for b.Loop() {
				_ = r.String()
			}
			if err := r.Err(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkReaderTransaction(b *testing.B) {
	r := NewReader(repeat(b, benchTexts[0].text))
	b.ReportAllocs()
	for b.Loop() {
		r.StartTransaction()
		_ = r.String()
		if !r.CommitTransaction() {
			b.Fatal(r.Err())
		}
	}
}

func BenchmarkReaderUint32(b *testing.B) {
	r := NewReader(endless{})
	b.ReportAllocs()
	for b.Loop() {
		r.Uint32()
	}
}

// repeat is a source of text again and again.
func repeat(b *testing.B, text string) io.Reader {
	var one strings.Builder
	w := NewWriter(&one)
	w.String(text)
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	rest := ""
	return ReaderFunc(func(p []byte) (int, error) {
		if rest == "" {
			rest = one.String()
		}
		n := copy(p, rest)
		rest = rest[n:]
		return n, nil
	})
}

func TestWriterAllocatesNothing(t *testing.T) {
	w := NewWriter(io.Discard)
	list, p := []string{"a", "ä😀"}, []byte("abc")
	if n := testing.AllocsPerRun(1000, func() {
		w.Uint16(1)
		w.Float32(1)
		w.String("Hi é")
		w.ByteArray(p)
		w.StringList(list)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReaderAllocatesWhatItReturns(t *testing.T) {
	var stream strings.Builder
	w := NewWriter(&stream)
	w.String("Hi é")
	w.ByteArray([]byte("abc"))
	w.Float64(1)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	src := strings.NewReader("")
	r := NewReader(src)
	if n := testing.AllocsPerRun(1000, func() {
		src.Reset(stream.String())
		_ = r.String()
		r.ByteArray()
		r.Float64()
	}); n != 2 || r.Err() != nil {
		t.Errorf("%v allocations, %v; want one for the string and one for the bytes", n, r.Err())
	}
}
