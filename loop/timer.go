package loop

import (
	"container/heap"
	"time"
)

// A Timer is a function that a loop will run once, at its time. AfterFunc makes one.
//
// Qt: QTimer with singleShot
type Timer struct {
	l     *Loop
	f     func()
	when  int64  // by the loop's clock
	order uint64 // among those of the same time
	index int    // in the heap; -1: run, or stopped
}

// AfterFunc lets the loop run f once, when d has passed from now; a d of 0 or less has passed already, and f runs in the next turn. Timers
// run in order of their times, and those of the same time in the order in which they were made. One never runs early; how late depends on
// what the loop does meanwhile and on the system's timers, which is about 50 µs on an idle Linux. While the loop does not run, time passes
// all the same. After Close it never runs. f may be nil, which does nothing.
//
// It costs some 50 bytes, and time in proportion to the logarithm of how many there are.
//
// Qt: QTimer::singleShot
func (l *Loop) AfterFunc(d time.Duration, f func()) *Timer {
	t := &Timer{l: l, f: f, index: -1}
	l.mu.Lock()
	if l.poller == nil || l.closed.Load() {
		l.mu.Unlock()
		return t
	}
	now := l.now()
	if t.when = now + int64(max(d, 0)); t.when < now {
		t.when = never - 1 // 290 years
	}
	l.timed++
	t.order = l.timed
	heap.Push(&l.timers, t)
	first := t.index == 0
	if first {
		l.due.Store(t.when)
	}
	l.mu.Unlock()
	if first {
		l.nudge() // it may sleep for longer
	}
	return t
}

// Stop keeps the timer's function from running, and reports whether it has: false if it has begun to run, was stopped before, or the loop
// is closed. It does not wait for a function that runs. Called on the loop's goroutine it is certain: the function does not run afterwards.
//
// Qt: QTimer::stop
func (t *Timer) Stop() bool {
	l := t.l
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.index < 0 {
		return false
	}
	heap.Remove(&l.timers, t.index)
	t.f = nil
	l.setDue()
	return true
}

// now is the time by the loop's clock.
func (l *Loop) now() int64 { return int64(time.Since(l.clock)) }

// setDue notes when the first timer is due. mu held.
func (l *Loop) setDue() {
	if len(l.timers) == 0 {
		l.due.Store(never)
	} else {
		l.due.Store(l.timers[0].when)
	}
}

// untilDue returns how long it is until the first timer: 0 if it is due, -1 if there is none. The clock is read only if there is one.
func (l *Loop) untilDue() time.Duration {
	due := l.due.Load()
	if due == never {
		return -1
	}
	return time.Duration(max(due-l.now(), 0))
}

// runTimers runs the timers that are due.
func (l *Loop) runTimers() {
	now := l.now()
	if l.due.Load() > now {
		return
	}
	l.mu.Lock()
	last := l.timed // those that are made from here on are for the next turn
	for range perTurn {
		if len(l.timers) == 0 || l.timers[0].when > now || l.timers[0].order > last {
			break
		}
		t := heap.Pop(&l.timers).(*Timer)
		l.setDue()
		l.work++
		l.mu.Unlock()
		if t.f != nil {
			t.f()
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
}

// A timerHeap has the timer that is due first at 0. It is guarded by the loop's mu.
type timerHeap []*Timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	return h[i].when < h[j].when || h[i].when == h[j].when && h[i].order < h[j].order
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}

func (h *timerHeap) clear() {
	for _, t := range *h {
		t.index = -1
	}
	*h = nil
}
