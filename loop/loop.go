package loop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"anteroom/internal/goroutine"
	"anteroom/internal/poll"
	"anteroom/sock"
)

// A Loop runs functions on one goroutine, the one that calls Run: see the package's documentation. New makes one. Its methods may be
// called from any goroutine and in any callback.
//
// Qt: QEventLoop
type Loop struct {
	poller poll.Poller // nil: not made by New

	goroutine atomic.Uintptr // the one that runs the loop; 0: none does
	closed    atomic.Bool
	news      atomic.Bool   // somebody has added or changed what the loop has not looked at: it must not sleep
	asleep    atomic.Bool   // it sleeps, or is about to, and must be woken
	company   atomic.Bool   // another goroutine was seen to work with it
	due       atomic.Int64  // when the first timer is, by the clock; never if there is none
	kept      atomic.Uint64 // the token of sole, or of what was sole once

	mu     sync.Mutex
	posted []func()
	timers timerHeap
	timed  uint64 // how many timers there have been
	clock  time.Time

	afterRun map[*func()]struct{}

	ctl      sync.Mutex // held during calls that change what the poller watches, and to keep it open
	noMore   bool       // nothing is registered any more
	isShut   bool       // the poller is closed
	handlers poll.Table[Handler]

	// What follows is only for the goroutine that runs the loop. It outlives a Run that a panic has ended.
	ready   [poll.Batch]poll.Event
	at, end int                             // what of ready is to be handled
	found   [poll.Batch]poll.Found[Handler] // what ready's tokens stood for when over was how many had ended
	over    uint64
	current uint64  // the token of the event that is being handled, or was last
	mark    uint32  // its mark
	sole    Handler // what it stood for, if the turn before had no other event
	doubts  doubts
	posts   []func() // what is to be run, from next
	next    int
	work    int  // what was done since other goroutines had their turn
	alert   int  // before how many more sleeps it yields twice
	dry     int  // how much less often looks have found something than nothing; above driest it only counts
	lone    bool // it has slept until one event came, which is at hand
}

const (
	// perTurn bounds how many posted functions, and how many timers, one turn runs.
	perTurn = 512
	// untilYield is how much work is done before other goroutines have their turn. It keeps a goroutine that sleeps a millisecond from
	// being late by tens, and the runtime from taking the processor away at every sleep because it has never been given back.
	untilYield = 512
	// untilAlone is before how many sleeps after it has seen company the loop yields twice.
	untilAlone = 64
	// Before it sleeps the loop looks whether it has to, unless driest more such looks have found nothing than something; then each reconsider-th
	// time only, until there is something to find, or plenty after a sleep.
	driest     = 4
	reconsider = 16
	plenty     = 4
	// keepPosts is the capacity that is kept for posted functions.
	keepPosts = 4096

	never = math.MaxInt64
	stale = math.MaxUint64 // as over: what was found counts no more
)

// New returns a loop that does not run yet. Whoever makes it closes it; until then it has two or three descriptors of its own, on Windows none.
// It fails with a SocketResourceError if the system has none left.
func New() (*Loop, error) { return newLoop(poll.Open) }

func newLoop(open func() (poll.Poller, error)) (*Loop, error) {
	poller, err := open()
	if err != nil {
		return nil, newError("make loop", sock.CodeOf(err), err)
	}
	l := &Loop{poller: poller, clock: time.Now()}
	l.due.Store(never)
	l.doubts.round = firstRound
	return l, nil
}

// Run runs the loop on the calling goroutine until ctx ends, whose cause it then returns, or until Close, when it returns nil. What a
// callback brings about by ending ctx takes effect after the turn that is under way; after Close no callback runs any more. Run may be
// called again after it has returned, then on another goroutine too, but not after Close.
//
// It fails at once with an OperationError if the loop runs already or is closed; in the second case the error Is net.ErrClosed.
//
// Qt: QEventLoop::exec
func (l *Loop) Run(ctx context.Context) error {
	if l.poller == nil {
		return newError("run loop", sock.OperationError, errNotMade)
	}
	if !l.goroutine.CompareAndSwap(0, goroutine.ID()) {
		return newError("run loop", sock.OperationError, errors.New("it runs already"))
	}
	defer l.ran()
	if l.closed.Load() {
		return closedError("run loop")
	}
	defer context.AfterFunc(ctx, l.nudge)()
	ended := ctx.Done()
	for {
		select {
		case <-ended:
			if !l.closed.Load() {
				return context.Cause(ctx)
			}
		default:
		}
		if l.closed.Load() {
			return nil
		}
		if err := l.turn(); err != nil {
			return newError("run loop", sock.CodeOf(err), err)
		}
	}
}

// ran notes that the loop does not run any more.
func (l *Loop) ran() {
	l.found, l.sole, l.over = [poll.Batch]poll.Found[Handler]{}, nil, stale // after a panic there is some left, which nobody else may need
	l.goroutine.Store(0)
	if l.closed.Load() { // while it ran: who has closed it has left this to us
		l.shut()
	}
	l.tellAfterRun()
}

// turn lets everything that has happened be handled, and waits if nothing has.
func (l *Loop) turn() error {
	slept := false
	if l.at == l.end {
		var err error
		if slept, err = l.look(); err != nil {
			return err
		}
		l.find()
	}
	l.work += 1 + l.end - l.at
	for l.at < l.end {
		ev, f := l.ready[l.at], l.found[l.at]
		l.found[l.at].H = nil
		l.at++
		if l.handlers.Over() != l.over { // the handler may be gone because of one that has just run
			f = l.handlers.Get(ev.Token)
		}
		if l.at < l.end {
			prefetch(l.found[l.at].H)
		}
		l.current, l.mark = ev.Token, f.Mark
		if f.H != nil {
			f.H.Ready(Events(ev.Events))
		}
	}
	l.runPosted()
	if !slept && l.due.Load() != never { // else the clock is read before the next sleep, if not sooner
		l.runTimers()
	}
	if l.work >= untilYield {
		l.yield()
	}
	return nil
}

// find looks up what the events that are ready stand for. If there is one, and it stands for what the one before it stood for, then that is known.
func (l *Loop) find() {
	if l.end == 1 && l.sole != nil && l.ready[0].Token == l.current && l.handlers.Over() == l.over {
		l.found[0] = poll.Found[Handler]{H: l.sole, Mark: l.mark}
		return
	}
	l.over = l.handlers.GetAll(l.ready[:l.end], l.found[:])
	if l.sole = nil; l.end == 1 {
		l.sole = l.found[0].H
		l.kept.Store(l.ready[0].Token)
	}
}

// look asks what descriptors are ready, and waits for them if there is nothing else to do. It reports whether it has waited.
func (l *Loop) look() (slept bool, err error) {
	l.at, l.end, l.lone = 0, 0, false
	if l.doubts.due.Load() {
		if l.settleDoubts(); l.end > 0 {
			return false, nil
		}
	}
	busy := l.next < len(l.posts) || l.news.Load() || l.doubts.due.Load()
	if busy || l.mayFind() {
		l.end, err = l.poller.Poll(l.ready[:])
		l.doubts.caughtUp = l.doubts.caughtUp || l.end < len(l.ready)
		if l.end > 0 {
			l.dry = max(min(l.dry, driest)-2, 0) // one less than before, for mayFind has added one
		}
		if l.end > 0 || busy || err != nil {
			return false, err
		}
	}
	// There is nothing to do. A goroutine that a callback has made runnable must not wait until the runtime notices that this one sleeps
	// in the system and keeps the processor. In company twice, because each 61st time the scheduler looks first where this goroutine stands: at
	// one processor every 61st such goroutine would wait until the runtime notices, 200 µs and sometimes 20 ms.
	l.yield()
	if l.company.Load() {
		l.company.Store(false)
		l.alert = untilAlone
	}
	if l.alert > 0 {
		l.alert--
		l.yield()
	}
	timeout := l.untilDue()
	if timeout == 0 { // descriptors have their turn all the same
		l.end, err = l.poller.Poll(l.ready[:])
		l.doubts.caughtUp = l.doubts.caughtUp || l.end < len(l.ready)
		return false, err
	}
	l.asleep.Store(true)
	if l.handlers.Over() != l.over { // who ends a registration later than this wakes a sleeper that keeps the handler
		l.sole = nil
	}
	if !l.news.Load() {
		l.end, err = l.poller.Wait(l.ready[:], timeout)
		l.doubts.caughtUp = l.doubts.caughtUp || l.end < len(l.ready)
		slept = true
	}
	l.asleep.Store(false)
	if l.end >= plenty {
		l.dry = 0
	}
	l.lone = l.end == 1
	return slept, err
}

// mayFind reports whether it is worth a call to look for events before sleeping. That call is quicker than one that may sleep, and who finds
// nothing has made it in vain: then sleeping at once, which finds what there is, too, saves it.
func (l *Loop) mayFind() bool {
	l.dry++
	return l.dry <= driest || l.dry%reconsider == 0
}

func (l *Loop) yield() {
	l.work = 0
	runtime.Gosched()
}

// nudge makes the loop look at what is new.
func (l *Loop) nudge() {
	l.news.Store(true)
	if l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		l.ctl.Lock()
		if !l.isShut {
			l.poller.Wake()
		}
		l.ctl.Unlock()
	}
}

// Post lets the loop run f, in its next turn and after what was posted before. What is posted while the loop does not run is kept until it
// does; what is posted after Close, or was not run before it, never runs. What a posted function or a timer's posts runs in the turn after
// this one, what a handler posts in this one. f may be nil, which does nothing.
//
// A goroutine that posts wakes the loop only if it sleeps.
//
// Qt: QMetaObject::invokeMethod with Qt::QueuedConnection
func (l *Loop) Post(f func()) {
	if f == nil || l.closed.Load() {
		return
	}
	l.mu.Lock()
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	l.InCompany()
	l.nudge()
}

// runPosted runs what had been posted before this turn.
func (l *Loop) runPosted() {
	if l.next == len(l.posts) && l.news.Load() {
		l.news.Store(false) // before looking: what comes later sets it again
		empty := l.posts[:0]
		if cap(empty) > keepPosts {
			empty = nil
		}
		l.mu.Lock()
		l.posts, l.posted = l.posted, empty
		l.mu.Unlock()
		l.next = 0
	}
	most := min(len(l.posts), l.next+perTurn)
	l.work += most - l.next
	for l.next < most && !l.closed.Load() {
		f := l.posts[l.next]
		l.posts[l.next] = nil
		l.next++
		f()
	}
}

// Running reports whether Run is under way, on any goroutine.
//
// Qt: QEventLoop::isRunning
func (l *Loop) Running() bool { return l.goroutine.Load() != 0 }

// OnLoop reports whether it is called on the goroutine that runs the loop, that is, by a callback. A goroutine that a callback has started,
// or that runs an iterator for it (iter.Pull), is another one.
//
// Go gives goroutines no identity. On amd64 and arm64 the address of the runtime's record of the goroutine serves, which costs about a
// nanosecond; elsewhere the number that runtime.Stack prints, which costs microseconds.
//
// Qt: QThread::isCurrentThread
func (l *Loop) OnLoop() bool {
	return l.goroutine.Load() == goroutine.ID() // which is never 0
}

// InCompany lets the loop know that another goroutine works with it, and may be waiting to go on: then it sees to it, before it sleeps, that all
// that can go on do. Post and the sockets of this module call it. A callback that hands something to a goroutine in another way, by a channel, may
// call it, too: with GOMAXPROCS at 1, and where nothing else happens meanwhile, one such goroutine in 61 goes on some 200 µs later without, and
// seldom 20 ms. It may be called from any goroutine, and costs a nanosecond.
func (l *Loop) InCompany() {
	if !l.company.Load() {
		l.company.Store(true)
	}
}

// InTurn is for this module's servers. It returns how many events the turn that is under way handles, those that it has handled already among
// them. It is called on the loop's goroutine, and nowhere else.
func (l *Loop) InTurn() int { return l.end }

// Close ends the loop for good: what is posted or timed does not run any more, handlers and notifiers are forgotten without a word, and
// the loop's own descriptors are closed. Those that it watched are not: they are their owners'. If the loop runs, Run returns nil after
// the callback that is running, and Close does not wait for that. A second Close does nothing. It returns nil.
func (l *Loop) Close() error {
	if l.poller == nil || l.closed.Swap(true) {
		return nil
	}
	l.mu.Lock()
	l.posted = nil
	l.timers.clear()
	l.due.Store(never)
	l.mu.Unlock()
	l.ctl.Lock()
	l.noMore = true
	l.handlers.Clear()
	l.ctl.Unlock()
	if l.goroutine.Load() == 0 {
		l.shut() // Run, if it begins now, sees that the loop is closed
	} else {
		l.nudge()
	}
	return nil
}

// shut closes the poller, which nobody waits at.
func (l *Loop) shut() {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	if !l.isShut {
		l.isShut = true
		l.poller.Close()
	}
}

var (
	errNotMade = errors.New("the loop was not made by New")
	errClosed  = fmt.Errorf("the loop is closed: %w", net.ErrClosed)
)

func newError(op string, code sock.SocketError, err error) error {
	return &sock.Error{Op: op, Code: code, Err: err}
}

func closedError(op string) error { return newError(op, sock.OperationError, errClosed) }
