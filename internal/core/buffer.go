package core

// A buffer is a queue of bytes that holds no memory while it is empty.
type buffer struct {
	b   []byte // b[off:] is what is queued
	off int
}

func (b *buffer) len() int      { return len(b.b) - b.off }
func (b *buffer) bytes() []byte { return b.b[b.off:] }
func (b *buffer) reset()        { *b = buffer{} }

// grow returns room for n bytes at the end. What add is told of them is queued.
func (b *buffer) grow(n int) []byte {
	if cap(b.b)-len(b.b) < n && b.off > len(b.b)/2 { // not less, or a full buffer would be moved for every few bytes
		b.b = b.b[:copy(b.b, b.b[b.off:])]
		b.off = 0
	}
	if cap(b.b)-len(b.b) < n {
		grown := make([]byte, len(b.b), max(len(b.b)+n, 2*cap(b.b)))
		copy(grown, b.b)
		b.b = grown
	}
	return b.b[len(b.b) : len(b.b)+n]
}

// add queues the first n bytes of what grow returned.
func (b *buffer) add(n int) {
	b.b = b.b[:len(b.b)+n]
	b.trim()
}

// write queues a copy of p.
func (b *buffer) write(p []byte) {
	copy(b.grow(len(p)), p)
	b.add(len(p))
}

// skip takes n bytes from the front.
func (b *buffer) skip(n int) {
	b.off += n
	b.trim()
}

func (b *buffer) trim() {
	if b.off == len(b.b) {
		*b = buffer{}
	}
}
