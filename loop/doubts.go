package loop

import (
	"slices"
	"sync/atomic"
	"time"

	"anteroom/internal/poll"
)

// doubts are descriptors of which nobody knows whether they can still be read, and which no edge will tell of if they can. To ask at once would
// cost a system call each. Nearly always nothing is left, and something new comes soon, which settles the doubt or renews it. So each waits
// for that, between one and two times patience, and only those for which nothing has come are asked about, many by one call.
//
// All but due is for the goroutine that runs the loop.
type doubts struct {
	young doubted // since the last tick
	old   doubted // from before that, to be asked about unless they are among the young, too
	round uint32  // counts the ticks, from firstRound, and marks the young in the table
	alone int     // how many events have ended a sleep alone
	often bool    // many have in the round before

	timer    *time.Timer
	patience time.Duration
	ticks    bool        // the timer runs
	due      atomic.Bool // it has run out, and old is not done with
	caughtUp bool        // the poller has told of all edges since old ones are old
	behind   int         // at how many ticks it had not

	tokens [poll.Batch]uint64 // those that are being asked about
	looks  [poll.Batch]poll.Look
}

// doubted is a list of doubts. Its two halves have the same length, and as one they would have gaps.
type doubted struct {
	tokens []uint64
	fds    []int32
}

func (d *doubted) len() int { return len(d.tokens) }

// trim gives back memory that a crowd has needed, where there is one of n doubts now.
func (d *doubted) trim(n int) {
	if cap(d.tokens) > max(8*n, keptDoubts) {
		*d = doubted{slices.Clone(d.tokens), slices.Clone(d.fds)}
	}
}

const (
	firstRound = 1 // 0 is no mark
	// sampledRound is which rounds are sampled: each 16th.
	sampledRound = 16
	// leastPatience and mostPatience are how long a loop that has nothing else to do leaves a doubt, at least. A server of ten thousand busy
	// connections hears of each about every fifty milliseconds.
	leastPatience = 10 * time.Millisecond
	mostPatience  = 160 * time.Millisecond
	// mostBehind is at how many ticks a loop may not have caught up with the poller before it asks all the same. What it would find is likely to
	// be what the poller is going to tell of.
	mostBehind = 16
	// keptDoubts is how many there is always room for.
	keptDoubts = 64
	// fewDoubts is how many there may be in a round of leastPatience. Of more the rounds are as much longer, so that they never cost much, even
	// where each is asked about in vain.
	fewDoubts = 64
	// oftenAlone is how many lone events in a round make it worth while to be woken for them in the next one.
	oftenAlone = 64
	// seldom is which lone events are doubted all the same: each 256th.
	seldom = 256
)

// Doubt is for this module's sockets. It has the loop call the handler of a registration once more some 20 ms later, with Readable and Left, if
// there is something to read at its descriptor then, or the end, and it has not been called before and doubted again. In a crowd, or on a loop
// that is far behind, it may be seconds later. It is for who has left bytes, perhaps, of which no edge tells any more, and costs a few
// nanoseconds. It is called on the loop's goroutine, and nowhere else.
func (l *Loop) Doubt(r Registration, fd uintptr) {
	if !l.isYoung(r) {
		l.doubt(r, fd)
	} // else it is known: this much the compiler puts where it is called
}

// isYoung reports whether r is known to be among the young.
func (l *Loop) isYoung(r Registration) bool { return r.token == l.current && l.mark == l.doubts.round }

func (l *Loop) doubt(r Registration, fd uintptr) {
	d := &l.doubts
	if r.token == l.current {
		l.mark = d.round
	}
	if l.handlers.Mark(r.token, d.round) == d.round {
		return
	}
	d.young.tokens = append(d.young.tokens, r.token)
	d.young.fds = append(d.young.fds, int32(fd))
	if !d.ticks {
		d.ticks = true
		if d.timer == nil {
			d.patience = leastPatience
			d.timer = time.AfterFunc(d.patience, l.tick)
		} else {
			d.timer.Reset(d.patience)
		}
	}
}

// DoubtPays is for this module's sockets. It reports whether a doubt costs less than a few hundred nanoseconds: not if the loop has slept until
// one event came, which is being handled, for then it may have nothing else to do for long, and would be woken for the doubt. Unless such events
// come so often that one waking serves many of them; to find that out, a few are doubted all the same. It is called on the loop's goroutine.
func (l *Loop) DoubtPays() bool {
	if !l.lone {
		return true
	}
	l.doubts.alone++
	return l.doubts.often || l.doubts.alone%seldom == 0
}

// Samples is for this module's sockets. It reports whether who doubts should also find out at once this time: so it is until the first doubt in
// one round of 16, so that who always leaves something is found out. It is called on the loop's goroutine.
func (l *Loop) Samples(r Registration) bool {
	return l.doubts.round%sampledRound == 0 && !l.isYoung(r)
}

// tick has the loop ask about doubts that have grown old.
func (l *Loop) tick() {
	l.doubts.due.Store(true)
	l.nudge()
}

// settleDoubts asks about old doubts, as many as one call asks about, and puts what has come of it among the events that are ready. A descriptor
// that has been closed meanwhile may be another's by now: then the token is nobody's any more, and the event reaches nobody.
func (l *Loop) settleDoubts() {
	d := &l.doubts
	if !d.caughtUp && d.behind < mostBehind {
		d.behind++
		d.due.Store(false)
		d.timer.Reset(d.patience)
		return
	}
	asked := 0
	for i := d.old.len() - 1; i >= 0 && asked < len(d.tokens); i-- {
		token := d.old.tokens[i]
		if f := l.handlers.Get(token); f.H != nil && f.Mark != d.round {
			d.tokens[asked], d.looks[asked] = token, poll.NewLook(int(d.old.fds[i]))
			asked++
		}
		d.old.tokens, d.old.fds = d.old.tokens[:i], d.old.fds[:i]
	}
	if poll.Ask(d.looks[:asked]) {
		for i := range d.looks[:asked] {
			if e := d.looks[i].Answer(); e != 0 {
				l.ready[l.end] = poll.Event{Token: d.tokens[i], Events: e | poll.Events(Left)}
				l.end++
			}
		}
	}
	if d.old.len() == 0 {
		d.age()
	}
}

// age makes the young doubts old ones, which are asked about at the next tick.
func (d *doubts) age() {
	d.due.Store(false)
	d.patience = min(max(leastPatience, leastPatience*time.Duration(d.young.len())/fewDoubts), mostPatience)
	d.caughtUp, d.behind = false, 0
	d.often, d.alone = d.alone >= oftenAlone, 0
	if d.round++; d.round == 0 {
		d.round = firstRound
	}
	d.old, d.young = d.young, d.old
	d.old.trim(d.old.len())
	d.young.trim(d.old.len())
	if d.ticks = d.old.len() > 0; d.ticks {
		d.timer.Reset(d.patience)
	}
}
