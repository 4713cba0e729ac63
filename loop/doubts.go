package loop

import "anteroom/internal/poll"

// doubts are descriptors of which nobody knows whether they can still be read, and which no edge will tell of if they can. To ask at once would
// cost a system call each. Here one call asks for many, when the loop has nothing else to do, or has done several times as much since as there
// are doubts: by then most of them have had news, and a doubt of its own, which is the same one.
type doubts struct {
	tokens []uint64
	looks  []poll.Look
	known  []uint32 // by slot, modulo a power of two: where the slot's token may be, counted from 1
	age    int      // how much there was to do since the last call
}

const (
	// A doubt of a busy loop waits for youngest events and, so that many doubts cost each event little, for as many rounds. A turn of the
	// loop, which may have run functions and timers, counts as turnAge events.
	youngest = 512
	rounds   = 4
	turnAge  = 16
	// mostDoubts is how many doubts are cheap: with more of them the memory that they are in costs what they save.
	mostDoubts = 1024
	// fewest is how many doubts there is always room for.
	fewest = 32
)

// Doubt has the loop call the handler of a registration once more, if there is something to read at its descriptor, or the end, when the
// loop has nothing else to do or has done much else. It is for who has left bytes, perhaps, of which no edge tells any more, and costs much
// less than to look at once. It is called on the loop's goroutine, and nowhere else.
func (l *Loop) Doubt(r Registration, fd uintptr) {
	d := &l.doubts
	token := r.token
	if len(d.known) > 0 {
		at := &d.known[int(poll.Slot(token))&(len(d.known)-1)]
		if i := int(*at); 0 < i && i <= len(d.tokens) && d.tokens[i-1] == token {
			return
		}
		*at = uint32(len(d.tokens)) + 1
	}
	d.tokens = append(d.tokens, token)
	d.looks = append(d.looks, poll.NewLook(int(fd)))
	if len(d.known) < 2*len(d.tokens) {
		d.spread()
	}
}

// DoubtPays reports whether a doubt costs less just now than a few hundred nanoseconds: not if there are many already, nor if the loop has slept
// until one event came, which is being handled, and so is going to sleep again soon, before which the doubt would cost a call of its own. It is
// called on the loop's goroutine.
func (l *Loop) DoubtPays() bool { return !l.lone && len(l.doubts.tokens) < mostDoubts }

// spread makes room for twice as many doubts to be known.
func (d *doubts) spread() {
	d.known = make([]uint32, max(2*len(d.known), 64))
	for i, token := range d.tokens {
		d.known[int(poll.Slot(token))&(len(d.known)-1)] = uint32(i) + 1
	}
}

// release gives back memory that is not needed any more.
func (d *doubts) release() {
	if len(d.tokens) == 0 {
		d.tokens, d.looks, d.known = nil, nil, nil
	}
}

// pressing reports whether doubts can wait no longer.
func (d *doubts) pressing() bool {
	n := len(d.tokens)
	return n > 0 && d.age >= youngest+rounds*n
}

// settle asks for all doubts, and returns how many events have come of it, which are in ready; what ready has no room for stays a doubt. A
// descriptor that has been closed meanwhile may be another's by now: then the token is nobody's any more, and the event reaches nobody.
func (d *doubts) settle(ready []poll.Event) (n int) {
	if few := cap(d.tokens) / 8; len(d.tokens) < few && few >= fewest {
		defer d.release() // what a crowd has needed once
	}
	kept := 0
	if poll.Ask(d.looks) {
		for i, look := range d.looks {
			switch e, token := look.Answer(), d.tokens[i]; {
			case e == 0:
			case n < len(ready):
				ready[n] = poll.Event{Token: token, Events: e}
				n++
			default:
				d.tokens[kept], d.looks[kept] = token, look
				kept++
			}
		}
	}
	d.tokens, d.looks = d.tokens[:kept], d.looks[:kept]
	if kept == 0 {
		d.age = 0
	}
	return n
}
