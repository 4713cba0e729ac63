package loop_test

import (
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"pgregory.net/rapid"
)

// A modelTimer is a timer and what is known of it. Only the loop's goroutine uses it.
type modelTimer struct {
	t          *loop.Timer
	from, till time.Time // between these two it is due
	fired      time.Time
	stopped    bool
}

// Timers that are made and stopped at random, also by each other, fire once or not at all, not early, and in order.
func TestTimersAgainstAModel(t *testing.T) {
	l := newLoop(t)
	start(t, l)
	rapid.Check(t, func(t *rapid.T) {
		type action struct {
			after time.Duration
			stop  int // which of those before it is stopped when it fires; -1: none
			makes time.Duration
		}
		actions := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
			return action{
				after: time.Duration(rapid.IntRange(-1, 30).Draw(t, "after")) * 100 * time.Microsecond,
				stop:  rapid.IntRange(-1, 20).Draw(t, "stop"),
				makes: time.Duration(rapid.IntRange(-10, 10).Draw(t, "makes")) * 100 * time.Microsecond,
			}
		}), 1, 40).Draw(t, "actions")
		stopNow := rapid.SliceOf(rapid.IntRange(0, 39)).Draw(t, "stop now")

		var all, order []*modelTimer
		left, done := 1, make(chan struct{}) // how many timers will fire as yet, and 1 until those of actions are made
		settled := func() {
			if left--; left == 0 {
				close(done)
			}
		}
		arm := func(d time.Duration, then func()) {
			m := new(modelTimer)
			m.from = time.Now().Add(max(d, 0))
			m.t = l.AfterFunc(d, func() {
				if m.stopped {
					t.Errorf("a timer fires that was stopped")
				}
				if !m.fired.IsZero() {
					t.Errorf("a timer fires twice")
				}
				m.fired = time.Now()
				order = append(order, m)
				then()
				settled()
			})
			m.till = time.Now().Add(max(d, 0))
			all = append(all, m)
			left++
		}
		stop := func(m *modelTimer) {
			might := m.fired.IsZero() && !m.stopped
			if m.t.Stop() != might {
				t.Errorf("Stop reports %v; want %v", !might, might)
			}
			if might {
				m.stopped = true
				settled()
			}
		}
		l.Post(func() {
			for _, a := range actions {
				arm(a.after, func() {
					if a.stop >= 0 && a.stop < len(all) {
						stop(all[a.stop])
					}
					if a.makes >= 0 {
						arm(a.makes, func() {})
					}
				})
			}
			for _, i := range stopNow {
				if i < len(all) {
					stop(all[i])
				}
			}
			settled()
		})
		select {
		case <-done:
		case <-time.After(sockettest.Long()):
			t.Fatal("not all timers fire")
		}
		for i, m := range all {
			if m.fired.IsZero() != m.stopped {
				t.Errorf("timer %d: stopped %v, fired %v", i, m.stopped, !m.fired.IsZero())
			}
			if !m.fired.IsZero() && m.fired.Before(m.from) {
				t.Errorf("timer %d is %v early", i, m.from.Sub(m.fired))
			}
		}
		inOrder(t, order)
	})
}

// inOrder fails the test if a timer has fired after one that was certainly due later.
func inOrder(t interface{ Errorf(string, ...any) }, fired []*modelTimer) {
	var latest time.Time
	for _, m := range fired {
		if m.till.Before(latest) {
			t.Errorf("a timer that is due %v sooner fires later", latest.Sub(m.till))
		}
		if m.from.After(latest) {
			latest = m.from
		}
	}
}

// Many timers, of which most are stopped.
func TestManyTimers(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		const n = 20_000
		all := make([]*modelTimer, n)
		var fired []*modelTimer
		for i := range all {
			m := new(modelTimer)
			d := time.Duration(i*7919%n) * time.Microsecond
			m.from = time.Now().Add(d)
			m.t = l.AfterFunc(d, func() { fired = append(fired, m) })
			m.till = time.Now().Add(d)
			all[i] = m
		}
		kept := 0
		for i, m := range all {
			if i%10 == 0 {
				kept++
			} else if !m.t.Stop() {
				t.Fatal("Stop has not kept a timer from firing of a loop that does not run")
			}
		}
		done := make(chan struct{})
		l.AfterFunc(n*time.Microsecond, func() { close(done) })
		start(t, l)
		sockettest.Done(t, "the last timer fires", done)
		on(t, l, func() {
			if len(fired) != kept {
				t.Errorf("%d fired, want %d", len(fired), kept)
			}
			inOrder(t, fired)
		})
	})
}

// A timer that is sooner than the one for which the loop sleeps wakes it, whoever makes it.
func TestTimerWakesASleepingLoop(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		start(t, l)
		late := l.AfterFunc(time.Hour, func() {})
		on(t, l, func() {})
		for range 20 {
			fired := make(chan struct{})
			l.AfterFunc(500*time.Microsecond, func() { close(fired) })
			sockettest.Done(t, "the timer fires", fired)
		}
		if !late.Stop() {
			t.Error("the timer of an hour has fired")
		}
	})
}

func TestTimersOfLoopsThatDoNotRun(t *testing.T) {
	var none loop.Timer
	if none.Stop() {
		t.Error("a timer that nobody made was stopped")
	}
	l := newLoop(t)
	forever := l.AfterFunc(1<<63-1, func() { t.Error("a timer of 290 years fires") })
	empty := l.AfterFunc(0, nil)
	start(t, l)
	sockettest.Eventually(t, "the timer without a function is over", func() bool { return !empty.Stop() })
	l.Close()
	if forever.Stop() {
		t.Error("Stop says that it has kept a timer from firing that Close has")
	}
	if l.AfterFunc(0, func() {}).Stop() {
		t.Error("Stop says that it has kept a timer from firing that was made after Close")
	}
}
