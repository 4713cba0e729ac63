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
)

// A callback is one function that was registered.
type callback struct {
	next  *callback
	call  func(*event)
	since uint64 // it hears events posted after this many
	sig   signal
	dead  bool
}

// An event is something that callbacks are to be told of, or something else that must happen in order with them.
type event struct {
	sig   signal
	arg   int64
	err   error
	only  *callback // nil: all that had been registered when it was posted
	do    func()    // instead of callbacks
	count uint64
}

// A dispatcher runs an object's callbacks: one at a time, in the order of their events, with no lock held. They run in whichever
// goroutine calls run first; while it is at it, it also runs those that follow, and others leave them to it. Everything is guarded by
// the object's mutex.
type dispatcher struct {
	first   *callback
	queue   []event
	posted  uint64
	running bool
}

// add registers f. mu held.
func (d *dispatcher) add(sig signal, f func(*event)) *callback {
	cb := &callback{sig: sig, call: f, since: d.posted}
	end := &d.first
	for *end != nil {
		end = &(*end).next
	}
	*end = cb
	return cb
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

// hears reports whether anybody is told of sig. mu held; d may be nil.
func (d *dispatcher) hears(sig signal) bool {
	if d == nil {
		return false
	}
	for cb := d.first; cb != nil; cb = cb.next {
		if cb.sig == sig {
			return true
		}
	}
	return false
}

// any reports whether anybody is told of anything. mu held; d may be nil.
func (d *dispatcher) any() bool { return d != nil && d.first != nil }

// due reports whether run would do something. mu held; d may be nil.
func (d *dispatcher) due() bool { return d != nil && len(d.queue) > 0 && !d.running }

// post notes an event if anybody is told of it, and reports that. News that nobody has heard yet are not noted twice: bytes that can
// be read are there once, and counts of bytes are added up. mu held; d may be nil.
func (d *dispatcher) post(ev event) bool {
	if ev.do == nil && ev.only == nil && !d.hears(ev.sig) {
		return false
	}
	if n := len(d.queue); n > 0 && ev.do == nil && ev.only == nil {
		if last := &d.queue[n-1]; last.sig == ev.sig && last.do == nil && last.only == nil {
			switch ev.sig {
			case sigReadyRead:
				return true
			case sigBytesWritten:
				last.arg += ev.arg
				return true
			}
		}
	}
	d.posted++
	ev.count = d.posted
	d.queue = append(d.queue, ev)
	return true
}

// run runs the callbacks that are due, unless they are running. It reports whether it ran any. mu held, and let go of meanwhile.
func (d *dispatcher) run(mu *sync.Mutex) bool {
	if !d.due() {
		return false
	}
	d.running = true
	finished := false
	defer func() {
		if !finished { // a callback panicked or ended its goroutine: the others are still owed their events
			mu.Lock()
			d.running = false
			if len(d.queue) > 0 {
				go func() {
					mu.Lock()
					d.run(mu)
					mu.Unlock()
				}()
			}
			mu.Unlock()
		}
	}()
	for len(d.queue) > 0 {
		ev := d.queue[0]
		d.queue = slices.Delete(d.queue, 0, 1)
		if ev.do != nil {
			mu.Unlock()
			ev.do()
			mu.Lock()
			continue
		}
		for cb := d.first; cb != nil; cb = cb.next {
			if cb.dead || cb.sig != ev.sig || cb.since >= ev.count && ev.only != cb || ev.only != nil && ev.only != cb {
				continue
			}
			mu.Unlock()
			cb.call(&ev)
			mu.Lock()
		}
	}
	if cap(d.queue) > 64 {
		d.queue = nil
	}
	d.running = false
	finished = true
	return true
}
