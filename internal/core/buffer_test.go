package core

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestBufferIsAQueueOfBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b buffer
		var want []byte
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "p")
				b.write(p)
				want = append(want, p...)
			},
			"grow and add": func(t *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "p")
				n := copy(b.grow(len(p)), p[:rapid.IntRange(0, len(p)).Draw(t, "n")])
				b.add(n)
				want = append(want, p[:n]...)
			},
			"skip": func(t *rapid.T) {
				n := rapid.IntRange(0, len(want)).Draw(t, "n")
				b.skip(n)
				want = want[n:]
			},
			"": func(t *rapid.T) {
				if b.len() != len(want) || !bytes.Equal(b.bytes(), want) {
					t.Fatalf("holds %d bytes, want %d", b.len(), len(want))
				}
				if len(want) == 0 && cap(b.b) > 0 {
					t.Fatal("holds memory though it is empty")
				}
			},
		})
	})
}
