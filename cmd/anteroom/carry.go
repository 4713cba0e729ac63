package main

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
)

// A link is two connections between which both directions are carried, each until its end, in pieces of a bounded size:
//
//   - The end of what one side sends is passed on: the other side reads the end, and may go on sending.
//   - When a side takes nothing more, or has hung up, what the other one sends is read no more either.
//   - When a connection breaks off, so does the other one: what has come of it must not be taken for all that was sent.
type link struct {
	sides   [2]conn         // who has come, and where to
	carried [2]atomic.Int64 // bytes from the first to the second, and back

	mu  sync.Mutex
	err error // what went wrong first
}

// An outcome is what has become of a connection.
type outcome int

const (
	closedHere  outcome = iota // or the system does not say
	closedThere                // its peer has hung up
	brokenOff
)

var (
	errUntaken  = errors.New("it was closed before everything was read")
	errBrokeOff = errors.New("the connection broke off")
)

// run carries until both directions have ended, and closes the connections. It returns what went wrong first.
func (l *link) run(p *vessels) error {
	var ended, gone sync.WaitGroup
	for i := range l.sides {
		ended.Add(1)
		gone.Go(func() {
			whole := l.carry(i, p)
			ended.Done()
			if !whole {
				return
			}
			// Carrying the other direction does not meet what follows while there is nothing to carry.
			switch awaitBreak(l.sides[i]) {
			case closedThere:
				l.sides[1-i].CloseRead() // there is nobody to take what it sends
			case brokenOff:
				l.breakOff(errBrokeOff)
			}
		})
	}
	ended.Wait()
	for _, c := range l.sides {
		c.Close()
	}
	gone.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// carry carries what one side sends, and reports whether the connections still stand when nothing more is carried.
func (l *link) carry(i int, p *vessels) bool {
	from, to := l.sides[i], l.sides[1-i]
	err := p.carry(from, to, &l.carried[i])
	switch {
	case err == nil:
		to.CloseWrite() // fails only if the connection has gone, which the other direction finds out
		return true
	case errors.Is(err, syscall.EPIPE):
		l.fail(errUntaken)
		from.CloseRead()
		return true
	}
	l.breakOff(err)
	return false
}

// fail notes what has gone wrong, if that is the first.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// breakOff resets both connections.
func (l *link) breakOff(why error) {
	l.fail(why)
	for _, c := range l.sides {
		reset(c)
	}
}
