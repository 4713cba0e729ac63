package loop

import (
	"errors"
	"sync"

	"anteroom/sock"
)

// A Notifier watches a descriptor that is somebody else's. Loop.Notify makes one; its methods may be called from any goroutine.
//
// Qt: QSocketNotifier
type Notifier struct {
	l  *Loop
	fd uintptr
	f  func(Events)

	mu     sync.Mutex
	on     Events
	r      Registration // none while on is 0
	closed bool
}

// Notify has the loop call f in each turn in which the descriptor is ready for what on asks: Readable, Writable or both. It is
// level-triggered, as Qt's: if f leaves what it was told of, it is called again in the next turn, until it reads, or until SetEvents or
// Close. f is told which of the two it is, and of a Hangup. While on is 0 nothing is watched.
//
// The descriptor stays the caller's, who closes it after the Notifier and not before: the system gives its number away at once. It needs
// not be non-blocking, but f must not wait. There can be one Notifier of a descriptor at a loop: it watches both directions. The errors
// are Register's; it also fails with an OperationError if f is nil.
//
// Qt: QSocketNotifier::QSocketNotifier, QSocketNotifier::activated
func (l *Loop) Notify(fd uintptr, on Events, f func(Events)) (*Notifier, error) {
	if f == nil {
		return nil, newError(opWatch, sock.OperationError, errors.New("there is no function to call"))
	}
	n := &Notifier{l: l, fd: fd, f: f}
	n.mu.Lock() // it may be called already
	defer n.mu.Unlock()
	var err error
	if n.r, err = l.register(fd, on, false, (*notified)(n)); err != nil {
		return nil, err
	}
	if n.on = on; on == 0 { // it was to be seen whether it can be watched
		n.set(0)
	}
	return n, nil
}

// SetEvents changes what is watched; 0 pauses. On the loop's goroutine it takes effect at once: what has happened in this turn is told only
// if it is still asked for. On another one, a call that has begun may still be running. It fails with an OperationError if the Notifier or
// the loop is closed.
//
// Qt: QSocketNotifier::setEnabled
func (n *Notifier) SetEvents(on Events) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.l == nil || n.closed {
		return newError(opWatch, sock.OperationError, errors.New("the notifier is closed"))
	}
	if n.l.closed.Load() {
		return closedError(opWatch)
	}
	return n.set(on)
}

// set is SetEvents. mu held.
func (n *Notifier) set(on Events) error {
	switch none := (Registration{}); {
	case on == 0 && n.r != none:
		// Not Modify: a hang-up would be told of unasked, turn after turn.
		n.l.Unregister(n.r, n.fd, true)
		n.r = none
	case on != 0 && n.r == none:
		r, err := n.l.register(n.fd, on, false, (*notified)(n))
		if err != nil {
			return err
		}
		n.r = r
	case on != n.on && on != 0:
		if err := n.l.modify(n.r, n.fd, on, false); err != nil {
			return err
		}
	}
	n.on = on
	return nil
}

// Close ends the Notifier and leaves the descriptor open. On the loop's goroutine, in its own callback too, it is certain that f is not
// called afterwards; on another one, a call that has begun may still be running. A second Close does nothing. It returns nil.
func (n *Notifier) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.l != nil && !n.closed {
		n.set(0)
		n.closed = true
	}
	return nil
}

// notified is the Notifier as a Handler.
type notified Notifier

func (n *notified) Ready(ev Events) {
	n.mu.Lock()
	on := n.on
	n.mu.Unlock()
	if ev &= on | Hangup; on != 0 && ev != 0 {
		n.f(ev)
	}
}
