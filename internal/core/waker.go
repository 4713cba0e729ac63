package core

import (
	"net"
	"os"
	"sync"
	"time"
)

// A Waker is the Poller of what tells by itself that something has happened: Tell makes Wait look again.
type Waker struct {
	mu     sync.Mutex
	limit  time.Time
	closed bool
	wake   chan struct{} // holds one when there is something to look at
}

// NewWaker returns a Waker.
func NewWaker() *Waker { return &Waker{wake: make(chan struct{}, 1)} }

// Tell makes Wait look again, or the next Wait if nobody waits.
func (w *Waker) Tell() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Wait implements Poller.
func (w *Waker) Wait(ready func(uintptr) bool) error {
	for {
		select {
		case <-w.wake: // what it tells of is looked at now
		default:
		}
		w.mu.Lock()
		limit, closed := w.limit, w.closed
		w.mu.Unlock()
		switch {
		case closed:
			return net.ErrClosed
		case expired(limit):
			return os.ErrDeadlineExceeded
		case ready(noHandle):
			return nil
		}
		w.sleep(limit)
	}
}

// sleep waits for something to look at, or until limit.
func (w *Waker) sleep(limit time.Time) {
	if limit.IsZero() {
		<-w.wake
		return
	}
	timer := time.NewTimer(time.Until(limit))
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
	}
}

// SetLimit implements Poller.
func (w *Waker) SetLimit(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	w.limit = t
	w.Tell()
	return nil
}

// Shut ends Wait, for ever.
func (w *Waker) Shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.Tell()
}
