package core

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"anteroom/loop"
)

// A Poller waits for one direction of one descriptor. One goroutine waits at a time.
type Poller interface {
	// Wait calls ready at once, and then after each event, until it returns true. It fails with os.ErrDeadlineExceeded when the limit
	// passes and with net.ErrClosed or os.ErrClosed when the descriptor is closed. Ready is called in the goroutine that waits.
	Wait(ready func(uintptr) bool) error
	// SetLimit sets when Wait ends; the zero time stands for never. It takes effect on a Wait under way.
	SetLimit(t time.Time) error
}

// A promptPoller may say that its Wait calls ready before it waits for anything or anybody.
type promptPoller interface {
	Poller
	Prompt() bool
}

// past is a limit that has always passed.
var past = time.Unix(1, 0)

// A gate is where goroutines wait until something is true of one direction of a descriptor: for bytes, for room, for a connection.
// One of them, the leader, waits at the poller until its own limit; whoever comes meanwhile follows: it waits for the leader to be told
// of an event, or for its own limit. When the leader leaves, a follower takes its place. So a wait neither stands behind a blocked
// Read nor ends it, and a goroutine that waits alone pays for nothing.
//
// What a goroutine that waits alone needs stands first: with many connections it fits into one line of the processor's cache.
type gate struct {
	poll      Poller // nil while there is nothing to wait at: then everybody follows
	led       bool
	prompt    bool   // poll is
	keeps     bool   // mu is held by the leader while it is at the poller. For the leader's goroutine alone
	trying    bool   // the leader's try runs
	moved     bool   // the poller at which the last lead was is not this one any more
	looks     uint32 // counts what may have changed: events, pokes
	followers int32
	limit     *time.Time // the leader's
	armed     time.Time  // the limit that poll was given last

	mu   *sync.Mutex // the owner's, which guards everything here
	try  func() bool // the leader's
	step func(uintptr) bool
	cond sync.Cond

	// At a loop there is no poller: the loop makes the followers look again. On its goroutine, and while it does not run, alone makes one.
	loop  *loop.Loop
	alone func() lonePoller
	want  func() // asks the loop for what is waited for; nil: it tells unasked
}

// A lonePoller is made for one wait, at whose end it is closed.
type lonePoller interface {
	Poller
	Close()
}

func (g *gate) init(mu *sync.Mutex) {
	g.mu, g.cond.L, g.step = mu, mu, g.ready
}

// open lets goroutines wait at p, a new connection's poller. mu held.
func (g *gate) open(p Poller) {
	g.poll, g.armed = p, time.Time{}
	prompt, ok := p.(promptPoller)
	g.prompt = ok && prompt.Prompt()
	g.lookAgain()
}

// park lets goroutines wait for what a loop tells. mu held.
func (g *gate) park(l *loop.Loop, alone func() lonePoller, want func()) {
	g.poll, g.prompt, g.loop, g.alone, g.want = nil, false, l, alone, want
	g.lookAgain()
}

// shut makes everybody look again: there is nothing to wait at any more. The poller's descriptor is closed after that. mu held.
func (g *gate) shut() {
	if g.loop != nil && g.poll != nil {
		g.arm(past) // nothing else ends its wait
	}
	g.poll, g.prompt, g.loop, g.alone, g.want = nil, false, nil, nil, nil
	g.lookAgain()
}

// standStill reports whether the loop tells nothing meanwhile, so that who waits has to see for himself. mu held.
func (g *gate) standStill() bool {
	return g.loop != nil && g.poll == nil && !g.led && (!g.loop.Running() || g.loop.OnLoop())
}

// seat makes a poller to wait at, until unseat. mu held.
func (g *gate) seat() lonePoller {
	p := g.alone()
	g.poll, g.armed, g.prompt = p, time.Time{}, false
	return p
}

func (g *gate) unseat(p lonePoller) {
	if g.poll == p {
		g.poll = nil
	}
	p.Close()
}

// await waits until try returns true, and then returns nil, or until limit passes, and then returns os.ErrDeadlineExceeded. Try is
// called with mu held, must not let go of it, and must return true once the descriptor has gone. A zero limit stands for never; limit
// may be changed under mu if rearm is called then. mu held, and let go of while waiting.
func (g *gate) await(limit *time.Time, try func() bool) error {
	for {
		if g.led || g.poll == nil {
			if g.loop != nil && expired(*limit) { // as a poller does
				return os.ErrDeadlineExceeded
			}
			if try() {
				return nil
			}
			if expired(*limit) {
				return os.ErrDeadlineExceeded
			}
			if !g.standStill() {
				g.follow(*limit)
				continue
			}
		}
		if g.poll == nil {
			return g.awaitSeated(limit, try)
		}
		g.try, g.keeps = try, g.prompt
		err := g.lead(limit, g.step)
		g.try = nil
		if err == nil {
			return nil
		}
		if err = g.verdict(err, limit); err != nil {
			return err
		}
	}
}

// verdict returns what a wait fails with whose lead has failed, or nil if it is to go on: somebody wanted the leader to look again, or has given it
// another limit; the poller's clock is ahead of ours; or its poller has gone, of which its try knows more. mu held.
func (g *gate) verdict(err error, limit *time.Time) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if expired(*limit) {
			return os.ErrDeadlineExceeded
		}
		g.armed = past
	case !g.moved:
		return err
	}
	return nil
}

// awaitSeated is await with a poller of its own. mu held, and let go of while waiting.
func (g *gate) awaitSeated(limit *time.Time, try func() bool) error {
	defer g.unseat(g.seat())
	return g.await(limit, try)
}

// wait is await, but looks once even if limit has passed.
func (g *gate) wait(limit time.Time, try func() bool) error {
	if try() {
		return nil
	}
	if expired(limit) {
		return os.ErrDeadlineExceeded
	}
	return g.await(&limit, try)
}

// lead waits at the poller with a step that makes the followers look again at each event, as ready does. mu held, and let go of while waiting: if
// keeps is set only then, which saves two of four rounds with the mutex.
func (g *gate) lead(limit *time.Time, step func(uintptr) bool) error {
	p := g.poll
	g.led, g.limit = true, limit
	if g.armed != *limit { // an equal time that looks different does no harm
		g.arm(*limit)
	}
	if !g.keeps {
		g.mu.Unlock()
	}
	err := p.Wait(step)
	if !g.keeps {
		g.mu.Lock()
	}
	g.keeps = false
	g.led, g.limit, g.moved = false, nil, g.poll != p
	g.lookAgain()
	return closedIsNets(err)
}

// closedIsNets returns the error of a poller whose descriptor was closed as package net says it.
func closedIsNets(err error) error {
	if err != nil && errors.Is(err, os.ErrClosed) {
		return net.ErrClosed
	}
	return err
}

// ready is the leader's part of an event: what it finds may be what a follower waits for. The followers look again whenever mu was free before it: at
// an event, and at the first step, too, for the poller keeps nothing of what happened before that, and they may have looked earlier.
func (g *gate) ready(uintptr) bool {
	if !g.keeps {
		g.mu.Lock()
		g.lookAgain()
	}
	g.trying = true
	ok := g.try()
	g.trying = false
	if g.keeps = ok && g.prompt; !g.keeps {
		g.mu.Unlock()
	}
	return ok
}

// lookAgain makes the followers look again. mu held.
func (g *gate) lookAgain() {
	g.looks++
	if g.loop != nil {
		g.loop.InCompany() // it has no gates if only callbacks use it; a goroutine may also wait for what a callback tells it, and then write
	}
	if g.followers > 0 {
		g.cond.Broadcast()
	}
}

// awaitRaw waits until f, which is called with the descriptor and without mu, returns true. Control calls a function with the descriptor; alive
// reports whether the gate still is that descriptor's. mu held, and let go of.
func (g *gate) awaitRaw(limit *time.Time, f func(uintptr) bool, control func(func(uintptr)) error, alive func() bool) error {
	atLoop := g.loop != nil
	for {
		switch {
		case !alive(), g.poll == nil && g.loop == nil:
			return net.ErrClosed
		case g.led, g.poll == nil && !g.standStill():
			looks, done := g.looks, false
			var err error
			func() {
				g.mu.Unlock()
				defer g.mu.Lock() // also if f panics
				err = control(func(fd uintptr) { done = f(fd) })
			}()
			switch {
			case err != nil || done:
				return err
			case expired(*limit):
				return os.ErrDeadlineExceeded
			case g.looks == looks:
				g.follow(*limit)
			}
			continue
		}
		if g.poll == nil {
			defer g.unseat(g.seat())
		}
		var gone error
		err := g.leadRaw(limit, func(fd uintptr) (done bool) {
			g.wake()
			if !atLoop && fd != noHandle {
				return f(fd)
			}
			gone = control(func(fd uintptr) { done = f(fd) }) // which keeps fd open
			return done || gone != nil
		})
		switch {
		case err == nil:
			return gone
		case g.moved:
			return net.ErrClosed
		case !errors.Is(err, os.ErrDeadlineExceeded), expired(*limit):
			return err
		}
		g.armed = past
	}
}

// leadRaw is lead with a step that may panic, or end the goroutine.
func (g *gate) leadRaw(limit *time.Time, step func(uintptr) bool) error {
	finished := false
	defer func() {
		if !finished {
			g.mu.Lock()
			g.led, g.limit = false, nil
			g.lookAgain()
		}
	}()
	err := g.lead(limit, step)
	finished = true
	return err
}

// follow waits for the next event, or until limit. mu held, and let go of while waiting.
func (g *gate) follow(limit time.Time) {
	if !limit.IsZero() {
		timer := time.AfterFunc(time.Until(limit), g.wake)
		defer timer.Stop()
	}
	if g.loop != nil {
		defer g.loop.AfterRun(g.wake)()
		if g.standStill() {
			return // since a moment ago
		}
		if g.want != nil {
			g.want()
		}
	}
	g.followers++
	g.cond.Wait()
	g.followers--
}

// wake makes the followers look again.
func (g *gate) wake() {
	g.mu.Lock()
	g.lookAgain()
	g.mu.Unlock()
}

// poke makes everybody look again, the leader too: something changed that the poller does not tell. mu held.
func (g *gate) poke() {
	if g.led && g.poll != nil {
		g.arm(past)
	}
	g.lookAgain()
}

// tell makes the others look again, from within a try too: what they wait for may have become true. mu held.
func (g *gate) tell() {
	if g.led && !g.trying {
		g.poke()
	} else {
		g.lookAgain()
	}
}

// rearm tells of a change of *limit. mu held.
func (g *gate) rearm(limit *time.Time) {
	if g.led && g.limit == limit && g.poll != nil && g.armed != past { // else it was poked, and is given the limit when it waits again
		g.arm(*limit)
	}
	g.lookAgain()
}

func (g *gate) arm(t time.Time) {
	// A poller that refuses has no descriptor any more, and its Wait says so.
	if g.poll.SetLimit(t) == nil {
		g.armed = t
	}
}

func expired(limit time.Time) bool { return !limit.IsZero() && !time.Now().Before(limit) }

// limitAfter returns when a wait of d ends that starts now: never if d is negative.
func limitAfter(d time.Duration) time.Time {
	if d < 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
