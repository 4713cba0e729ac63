package loop

import "anteroom/internal/poll"

// doubts are descriptors of which nobody knows whether they can still be read, and which no edge will tell of if they can. To ask at once would
// cost a system call each; here one call asks for all, when the loop has nothing else to do, or when it has done much since.
type doubts struct {
	tokens []uint64
	looks  []poll.Look
	recent [64]uint64 // of tokens, by slot: most of those that come again are not asked for twice
	aged   bool
}

// add notes a doubt.
func (d *doubts) add(r Registration, fd uintptr) {
	token := r.token()
	if known := &d.recent[r.slot%uint32(len(d.recent))]; *known != token {
		*known = token
		d.tokens = append(d.tokens, token)
		d.looks = append(d.looks, poll.NewLook(int(fd)))
	}
}

// press reports whether doubts can wait no longer.
func (d *doubts) press() bool { return len(d.tokens) >= poll.Batch || d.aged && len(d.tokens) > 0 }

// settle asks for doubts, a batch at most, and returns how many events came of it, which are in ready. A descriptor that has been closed
// meanwhile may be another's by now: then the token is nobody's any more, and the event reaches nobody.
func (d *doubts) settle(ready []poll.Event) (n int) {
	size := min(len(d.tokens), poll.Batch)
	if size == 0 {
		return 0
	}
	if poll.Ask(d.looks[:size]) {
		for i := range size {
			if e := d.looks[i].Answer(); e != 0 {
				ready[n] = poll.Event{Token: d.tokens[i], Events: e}
				n++
			}
		}
	}
	rest := copy(d.tokens, d.tokens[size:])
	copy(d.looks, d.looks[size:])
	d.tokens, d.looks = d.tokens[:rest], d.looks[:rest]
	if rest == 0 {
		d.aged = false
	}
	clear(d.recent[:])
	return n
}
