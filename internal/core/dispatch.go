package core

import (
	"slices"
	"sync"
)

// A signal names what callbacks are told of.
type signal uint8

const (
	sigConnected signal = iota
	sigDisconnected
	sigStateChanged
	sigErrorOccurred
	sigReadyRead
	sigBytesWritten
	sigNewConnection
	sigAcceptError
	signals
)

// wordless is the set of signals that have nothing to tell but themselves, whose callbacks do not ask for the event.
const wordless = 1<<sigConnected | 1<<sigDisconnected | 1<<sigReadyRead | 1<<sigNewConnection

// A callback is one function that was registered. An idle connection keeps some of them, so they are small: what f wants to know of the event
// it finds in the agenda.
type callback struct {
	next  *callback
	f     func()
	since uint32 // it hears events posted after this many
	sig   signal
	dead  bool
}

// An event is something that callbacks are to be told of, or something else that must happen in order with them.
type event struct {
	sig   signal
	count uint32
	arg   int64
	err   error
	only  *callback // nil: all that had been registered when it was posted
	after *callback // not nil: only those that come after it, for it has ended the goroutine that told the others
	do    func()    // instead of callbacks
}

// A dispatcher runs an object's callbacks: one at a time, in the order of their events, with no lock held. They run in whichever
// goroutine calls run first; while it is at it, it also runs those that follow, and others leave them to it. Everything is guarded by
// the object's mutex.
type dispatcher struct {
	first *callback
	due   *agenda // nil: nothing is due and nothing runs
}

// An agenda is what is to happen, as long as something is.
type agenda struct {
	queue   []event
	now     event  // what is being told
	posted  uint32 // how many events there were
	joined  uint32 // how many of them when a callback was registered last
	running bool
	shared  bool // by all dispatchers: it stays as it is, and who wants to change it gets one of his own
}

// agendas keeps those that are not in use.
var agendas = sync.Pool{New: func() any { return new(agenda) }}

// A host is the object whose callbacks a dispatcher runs.
type host interface {
	// tellAll tells those who hear of it without having registered at this object. mu held, and let go of meanwhile.
	tellAll(sig signal, arg int64)
	// runsHere reports whether callbacks run on this goroutine. mu held.
	runsHere() bool
	// runElsewhere has run called in another goroutine, because a callback has panicked or ended this one. mu is not held.
	runElsewhere()
}

// Mostly one event of a wordless signal is all that is due. Then the agenda is one of these: alone[sig] until it is told, and telling meanwhile.
var (
	telling = &agenda{shared: true, posted: 1, running: true}
	alone   = func() (all [signals]*agenda) {
		for sig := range all {
			all[sig] = &agenda{shared: true, posted: 1, queue: []event{{sig: signal(sig), count: 1}}}
		}
		return
	}()
)

// plan returns the agenda, which is the dispatcher's own. mu held.
func (d *dispatcher) plan() *agenda {
	a := d.due
	switch {
	case a == nil:
		d.due = agendas.Get().(*agenda)
	case a.shared:
		d.due = agendas.Get().(*agenda)
		d.due.posted, d.due.running = a.posted, a.running
		d.due.queue = append(d.due.queue, a.queue...)
	}
	return d.due
}

// done ends the agenda. mu held.
func (d *dispatcher) done() {
	a := d.due
	d.due = nil
	if a.shared {
		return
	}
	for cb := d.first; cb != nil; cb = cb.next {
		cb.since = 0
	}
	if queue := a.queue[:0]; cap(queue) <= 64 {
		*a = agenda{queue: queue}
		agendas.Put(a)
	}
}

// add registers f. mu held.
func (d *dispatcher) add(sig signal, f func()) *callback {
	cb := &callback{sig: sig, f: f}
	if d.due != nil {
		a := d.plan()
		cb.since, a.joined = a.posted, a.posted
	}
	end := &d.first
	for *end != nil {
		end = &(*end).next
	}
	*end = cb
	return cb
}

// withEvent returns what add takes for a signal that has something to tell, and so is not wordless.
func (d *dispatcher) withEvent(f func(*event)) func() {
	return func() { f(&d.due.now) } // nobody changes it as long as this runs
}

// remove makes cb unheard at once, also of events that are posted already. mu held.
func (d *dispatcher) remove(cb *callback) {
	cb.dead = true
	for p := &d.first; *p != nil; p = &(*p).next {
		if *p == cb {
			*p = cb.next // cb.next stays: run may be standing on cb
			return
		}
	}
}

// hears reports whether anybody is told of sig. mu held.
func (d *dispatcher) hears(sig signal) bool {
	for cb := d.first; cb != nil; cb = cb.next {
		if cb.sig == sig {
			return true
		}
	}
	return false
}

// any reports whether anybody is told of anything. mu held.
func (d *dispatcher) any() bool { return d.first != nil }

// running reports whether a callback runs. mu held.
func (d *dispatcher) running() bool { return d.due != nil && d.due.running }

// pending reports whether run would do something. mu held.
func (d *dispatcher) pending() bool { return d.due != nil && !d.due.running && len(d.due.queue) > 0 }

// willTell reports whether run would tell of sig. mu held.
func (d *dispatcher) willTell(sig signal) bool {
	return d.pending() && slices.ContainsFunc(d.due.queue, func(ev event) bool { return ev.sig == sig && ev.do == nil })
}

// claim makes others leave what is due to the caller, who calls disclaim before run. It reports false if there is nothing to claim. mu held.
func (d *dispatcher) claim() bool {
	if !d.pending() {
		return false
	}
	d.plan().running = true
	return true
}

// disclaim ends a claim. mu held.
func (d *dispatcher) disclaim() { d.due.running = false }

// post notes an event if anybody is told of it, and reports that. News that nobody has heard yet are not noted twice: bytes that can
// be read are there once, and counts of bytes are added up. mu held.
func (d *dispatcher) post(ev event) bool {
	if ev.do == nil && ev.only == nil && !d.hears(ev.sig) {
		return false
	}
	d.note(ev)
	return true
}

// note is post of an event that somebody hears.
func (d *dispatcher) note(ev event) {
	if d.due == nil && wordless&(1<<ev.sig) != 0 && ev.do == nil && ev.only == nil {
		d.due = alone[ev.sig]
		return
	}
	a := d.plan()
	if n := len(a.queue); n > 0 && ev.do == nil && ev.only == nil {
		if last := &a.queue[n-1]; last.sig == ev.sig && last.do == nil && last.only == nil && last.after == nil && last.count > a.joined {
			switch ev.sig {
			case sigReadyRead:
				return
			case sigBytesWritten:
				last.arg += ev.arg
				return
			}
		}
	}
	a.posted++
	ev.count = a.posted
	a.queue = append(a.queue, ev)
}

// tell is note and run of a signal that has nothing to tell but itself. mu held, and let go of meanwhile.
func (d *dispatcher) tell(mu *sync.Mutex, sig signal, h host) {
	if d.due != nil {
		d.note(event{sig: sig})
		d.run(mu, h)
		return
	}
	d.due = telling
	d.start(mu, event{sig: sig, count: 1}, h)
}

// told is for who has told of an event himself, with due at telling: it runs what has become due meanwhile. mu held, and let go of meanwhile.
func (d *dispatcher) told(mu *sync.Mutex, h host) {
	switch {
	case d.due != telling && len(d.due.queue) > 0 && !h.runsHere():
		d.due.running = false
	case d.due != telling && len(d.due.queue) > 0:
		d.start(mu, d.due.shift(), h)
	default:
		d.done()
	}
}

// run runs the callbacks that are due, unless they are running. It reports whether it ran any. mu held, and let go of meanwhile.
func (d *dispatcher) run(mu *sync.Mutex, h host) bool {
	if !d.pending() {
		return false
	}
	ev := d.due.queue[0]
	if d.due.shared {
		d.due = telling
	} else {
		d.due.running = true
		ev = d.due.shift()
	}
	d.start(mu, ev, h)
	return true
}

// start tells of an event and of all that follow. mu held, and let go of meanwhile.
func (d *dispatcher) start(mu *sync.Mutex, ev event, h host) {
	var cb *callback
	finished := false
	defer func() {
		if !finished {
			d.goOnElsewhere(mu, h, ev, cb)
		}
	}()
	for {
		if ev.do != nil {
			mu.Unlock()
			ev.do()
			mu.Lock()
		} else {
			if cb = d.first; ev.after != nil {
				cb = ev.after.next
			}
			for ; cb != nil; cb = cb.next {
				if cb.dead || cb.sig != ev.sig || cb.since >= ev.count && ev.only != cb || ev.only != nil && ev.only != cb {
					continue
				}
				mu.Unlock()
				cb.f()
				mu.Lock()
			}
			if ev.only == nil {
				h.tellAll(ev.sig, ev.arg)
			}
		}
		if d.due == telling || len(d.due.queue) == 0 {
			break
		}
		if !h.runsHere() { // a callback has moved the object: its host sees to the rest
			d.due.running, finished = false, true
			return
		}
		ev = d.due.shift()
	}
	d.done()
	finished = true
}

// goOnElsewhere is for when a callback has let its goroutine down: the others are still owed their events, this one, too, if at is a callback, after
// that. mu is not held.
func (d *dispatcher) goOnElsewhere(mu *sync.Mutex, h host, ev event, at *callback) {
	mu.Lock()
	if at != nil {
		ev.after = at
		a := d.plan()
		a.queue = slices.Insert(a.queue, 0, ev)
	}
	if d.due != telling && len(d.due.queue) > 0 {
		d.due.running = false
	} else {
		d.done()
	}
	mu.Unlock()
	h.runElsewhere()
}

// shift takes the next event, which now is the one that is told.
func (a *agenda) shift() event {
	a.now = a.queue[0]
	a.queue = slices.Delete(a.queue, 0, 1)
	return a.now
}
