package poll

import (
	"sync"
	"sync/atomic"
)

// A Table keeps what tokens stand for, each in a slot. A slot is used again when what it stood for is gone, but its generation counts on, so
// that a token, and an event that carries it, is known to be over for ever: it cannot reach whoever has the slot next. The methods may be called
// from any goroutine; those that an event calls defer nothing, for it would pay for that.
type Table[H any] struct {
	mu    sync.Mutex
	pages []*page[H]
	free  uint32 // the first free slot, counted from 1; 0: none
	over  atomic.Uint64
}

// A Found is what a token stands for, and its mark.
type Found[H any] struct {
	H    H
	Mark uint32
}

// A page of interfaces, with the eight bytes that the runtime puts before it, just fits into a size class of its allocator: 512 slots would
// waste a tenth.
type page[H any] [340]slot[H]

type slot[H any] struct {
	h          H
	generation uint32 // of h, or of the one to come; from 1
	next       uint32 // as free, counted from 1; while taken, the mark
}

func slotOf(token uint64) uint32 { return uint32(token) }

func generation(token uint64) uint32 { return uint32(token >> 32) }

// slot returns a slot, or nil if there is none. mu held.
func (t *Table[H]) slot(i uint32) *slot[H] {
	const size = uint32(len(page[H]{}))
	if i/size >= uint32(len(t.pages)) {
		return nil
	}
	return &t.pages[i/size][i%size]
}

// Add returns a token for h, which is not 0.
func (t *Table[H]) Add(h H) (token uint64) {
	t.mu.Lock()
	if t.free == 0 {
		t.grow()
	}
	i := t.free - 1
	s := t.slot(i)
	s.h, t.free, s.next = h, s.next, 0
	token = uint64(s.generation)<<32 | uint64(i)
	t.mu.Unlock()
	return token
}

// grow makes free slots. mu held.
func (t *Table[H]) grow() {
	p := new(page[H])
	base := uint32(len(t.pages) * len(p))
	for i := range p {
		p[i] = slot[H]{generation: 1, next: base + uint32(i) + 2}
	}
	p[len(p)-1].next = 0
	t.pages = append(t.pages, p)
	t.free = base + 1
}

// Get returns what a token stands for, and its mark, or zero values if it is over.
func (t *Table[H]) Get(token uint64) Found[H] {
	t.mu.Lock()
	f := t.find(token)
	t.mu.Unlock()
	return f
}

// GetAll is Get for each of the events; found is as long. It returns what Over is: as long as that stays the same, so does what was found, except
// for the marks. So a batch costs one lock, and the memory that its slots need comes at once and not one after the other.
func (t *Table[H]) GetAll(events []Event, found []Found[H]) (over uint64) {
	t.mu.Lock()
	for i := range events {
		found[i] = t.find(events[i].Token)
	}
	over = t.over.Load()
	t.mu.Unlock()
	return over
}

// Over returns how many times tokens have ended.
func (t *Table[H]) Over() uint64 { return t.over.Load() }

// find is Get. mu held.
func (t *Table[H]) find(token uint64) (f Found[H]) {
	if s := t.slot(slotOf(token)); s != nil && s.generation == generation(token) {
		f = Found[H]{s.h, s.next}
	}
	return f
}

// Mark gives what a token stands for a mark, which is 0 at first, and returns the one that it had: mark itself if the token is over.
func (t *Table[H]) Mark(token uint64, mark uint32) (before uint32) {
	before = mark
	t.mu.Lock()
	if s := t.slot(slotOf(token)); s != nil && s.generation == generation(token) {
		before, s.next = s.next, mark
	}
	t.mu.Unlock()
	return before
}

// Remove ends a token, and reports whether it has.
func (t *Table[H]) Remove(token uint64) bool {
	t.mu.Lock()
	s := t.slot(slotOf(token))
	taken := s != nil && s.generation == generation(token) && s.generation != 0
	if taken {
		var none H
		s.h = none
		t.over.Add(1)
		s.generation++
		if s.generation != 0 { // after four thousand million it rests
			s.next, t.free = t.free, slotOf(token)+1
		}
	}
	t.mu.Unlock()
	return taken
}

// Clear ends all tokens. Nothing may be added afterwards.
func (t *Table[H]) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages, t.free = nil, 0
	t.over.Add(1)
}
