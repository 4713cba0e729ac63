package datastream

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A QString is UTF-16 on the wire, a Go string UTF-8. What is not valid on one side becomes U+FFFD on the other. The loops below are
// unicode/utf16's, but work on bytes of either order and need no slice of units in between.

// utf16Len returns the number of UTF-16 units of s.
func utf16Len(s string) int64 {
	n := int64(0)
	for _, c := range s {
		n++
		if c > 0xFFFF {
			n++
		}
	}
	return n
}

// text writes s as UTF-16, in pieces that fit the buffer.
func (w *Writer) text(s string) {
	// Asked once, the order costs no call through its interface for each unit. The buffer has room for one past what it holds.
	little := w.order().AppendUint16(w.buf, 1)[len(w.buf)] == 1
	b := w.buf
	for _, c := range s {
		if c > 0xFFFF {
			hi, lo := utf16.EncodeRune(c)
			b = appendUnit(b, uint16(hi), little)
			c = lo
		}
		b = appendUnit(b, uint16(c), little)
		if len(b) >= writeSize {
			w.buf = b
			if w.spill(); w.err != nil {
				return
			}
			b = w.buf
		}
	}
	w.buf = b
}

func appendUnit(b []byte, u uint16, little bool) []byte {
	if little {
		return append(b, byte(u), byte(u>>8))
	}
	return append(b, byte(u>>8), byte(u))
}

// decodeUTF16 returns the string that b holds as UTF-16. It is sized first, so that it is allocated once.
func decodeUTF16(b []byte, little bool) string {
	size := len(b) / 2
	for i := 0; i < len(b); i += 2 {
		if u := unit(b[i:], little); u >= 0x80 {
			size++ // half a pair too: a pair has 4 bytes
			if u >= 0x800 && !utf16.IsSurrogate(u) {
				size++
			}
		}
	}
	var s strings.Builder
	s.Grow(size)
	var chunk [256]byte // spares a call of the Builder for each character
	n := 0
	for len(b) > 0 {
		c := unit(b, little)
		switch {
		case c < utf8.RuneSelf:
			chunk[n] = byte(c)
			n++
		case utf16.IsSurrogate(c) && len(b) >= 4:
			// DecodeRune says U+FFFD of what is no pair; then the second unit may be part of one.
			if c = utf16.DecodeRune(c, unit(b[2:], little)); c != utf8.RuneError {
				b = b[2:]
			}
			n += utf8.EncodeRune(chunk[n:], c)
		default:
			n += utf8.EncodeRune(chunk[n:], c) // U+FFFD for a surrogate
		}
		if b = b[2:]; n > len(chunk)-utf8.UTFMax {
			s.Write(chunk[:n])
			n = 0
		}
	}
	s.Write(chunk[:n])
	return s.String()
}

func unit(b []byte, little bool) rune {
	if little {
		return rune(binary.LittleEndian.Uint16(b))
	}
	return rune(binary.BigEndian.Uint16(b))
}
