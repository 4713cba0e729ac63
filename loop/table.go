package loop

import "sync"

// A table keeps the handlers, each in a slot. A slot is used again when its handler is gone, but its generation counts on, so that a
// registration, and an event that carries its token, is known to be over for ever: it cannot reach the slot's next handler.
type table struct {
	mu    sync.Mutex
	pages []*page
	free  uint32 // the first free slot, counted from 1; 0: none
}

// A page, with the eight bytes that the runtime puts before it, just fits into a size class of its allocator: 512 slots would waste a tenth.
type page [340]slot

type slot struct {
	h          Handler
	generation uint32 // of h, or of the one to come; from 1
	next       uint32 // as free
}

// slot returns a slot, or nil if there is none. mu held.
func (t *table) slot(i uint32) *slot {
	const size = uint32(len(page{}))
	if i/size >= uint32(len(t.pages)) {
		return nil
	}
	return &t.pages[i/size][i%size]
}

func (t *table) add(h Handler) Registration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free == 0 {
		p := new(page)
		base := uint32(len(t.pages) * len(p))
		for i := range p {
			p[i] = slot{generation: 1, next: base + uint32(i) + 2}
		}
		p[len(p)-1].next = 0
		t.pages = append(t.pages, p)
		t.free = base + 1
	}
	i := t.free - 1
	s := t.slot(i)
	s.h, t.free = h, s.next
	return Registration{i, s.generation}
}

// get returns the handler, or nil if r is over.
func (t *table) get(r Registration) (h Handler) {
	t.mu.Lock()
	if s := t.slot(r.slot); s != nil && s.generation == r.generation {
		h = s.h
	}
	t.mu.Unlock()
	return h
}

// remove ends r, and reports whether it has.
func (t *table) remove(r Registration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slot(r.slot)
	if s == nil || s.generation != r.generation || s.h == nil {
		return false
	}
	s.h = nil
	s.generation++
	if s.generation != 0 { // after four thousand million handlers it rests
		s.next, t.free = t.free, r.slot+1
	}
	return true
}

// clear ends all. Nothing may be added afterwards.
func (t *table) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages, t.free = nil, 0
}
