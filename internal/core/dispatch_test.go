package core

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"anteroom/internal/sockettest"
)

// A hall is a dispatcher with its mutex and a log of what was called.
type hall struct {
	dispatcher
	mu  sync.Mutex
	log []string
}

func (h *hall) hear(sig signal, name string) *callback {
	return h.add(sig, h.withEvent(func(ev *event) { h.say(fmt.Sprint(name, " ", ev.arg)) }))
}

func (h *hall) tellAll(signal, int64) {}

func (h *hall) runsHere() bool { return true }

func (h *hall) runElsewhere() {
	go func() {
		h.mu.Lock()
		h.run(&h.mu, h)
		h.mu.Unlock()
	}()
}

// runAside runs what is due in a goroutine that a callback may let down.
func (h *hall) runAside() {
	go func() {
		defer func() { recover() }()
		h.mu.Lock()
		h.run(&h.mu, h)
		h.mu.Unlock()
	}()
}

func (h *hall) say(s string) {
	h.mu.Lock() // deadlocks if callbacks are called with it
	h.log = append(h.log, s)
	h.mu.Unlock()
}

func (h *hall) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(h.log, want) {
		t.Errorf("called %q, want %q", h.log, want)
	}
	h.log = nil
}

func TestDispatcherCallsInOrder(t *testing.T) {
	var h hall
	h.mu.Lock()
	h.hear(sigStateChanged, "a")
	h.hear(sigErrorOccurred, "b")
	h.hear(sigStateChanged, "c")
	h.post(event{sig: sigStateChanged, arg: 1})
	h.post(event{sig: sigErrorOccurred, arg: 2})
	h.post(event{sig: sigStateChanged, arg: 3})
	if h.post(event{sig: sigReadyRead}) {
		t.Error("an event that nobody hears was noted")
	}
	h.run(&h.mu, &h)
	h.want(t, "a 1", "c 1", "b 2", "a 3", "c 3")
}

func TestDispatcherJoinsNewsThatNobodyHasHeard(t *testing.T) {
	var h hall
	h.mu.Lock()
	h.hear(sigReadyRead, "ready")
	h.hear(sigBytesWritten, "written")
	for range 3 {
		h.post(event{sig: sigReadyRead})
	}
	h.post(event{sig: sigBytesWritten, arg: 5})
	h.post(event{sig: sigBytesWritten, arg: 7})
	h.run(&h.mu, &h)
	h.want(t, "ready 0", "written 12")
}

func TestDispatcherStopIsEffectiveAtOnce(t *testing.T) {
	var h hall
	h.mu.Lock()
	var second *callback
	h.add(sigReadyRead, func() {
		h.mu.Lock()
		h.log = append(h.log, "first")
		h.remove(second)
		h.mu.Unlock()
	})
	second = h.hear(sigReadyRead, "second")
	h.hear(sigReadyRead, "third")
	h.post(event{sig: sigReadyRead})
	h.run(&h.mu, &h)
	h.want(t, "first", "third 0")
}

func TestDispatcherDoesNotTellNewcomersOfOldEvents(t *testing.T) {
	var h hall
	h.mu.Lock()
	h.hear(sigStateChanged, "old")
	h.post(event{sig: sigStateChanged, arg: 1})
	late := h.hear(sigStateChanged, "late")
	h.post(event{sig: sigStateChanged, arg: 2, only: late})
	h.post(event{sig: sigStateChanged, arg: 3})
	h.run(&h.mu, &h)
	h.want(t, "old 1", "late 2", "old 3", "late 3")
}

// News that follow a newcomer are not joined with those before it, of which it is not told.
func TestDispatcherTellsNewcomersOfWhatFollows(t *testing.T) {
	for _, c := range []struct {
		sig         signal
		first, then int64
		want        []string
	}{
		{sigBytesWritten, 5, 7, []string{"old 5", "old 7", "late 7"}},
		{sigReadyRead, 0, 0, []string{"old 0", "old 0", "late 0"}},
	} {
		var h hall
		h.mu.Lock()
		h.hear(c.sig, "old")
		h.post(event{sig: c.sig, arg: c.first})
		h.hear(c.sig, "late")
		h.post(event{sig: c.sig, arg: c.then})
		h.run(&h.mu, &h)
		h.want(t, c.want...)
		h.mu.Unlock()
	}
}

func TestDispatcherRunsNestedEventsAfterwards(t *testing.T) {
	var h hall
	h.mu.Lock()
	h.add(sigConnected, func() {
		h.mu.Lock()
		h.post(event{sig: sigStateChanged, arg: 9})
		if h.run(&h.mu, &h) {
			t.Error("a callback ran inside a callback")
		}
		h.log = append(h.log, "connected")
		h.mu.Unlock()
	})
	h.hear(sigStateChanged, "state")
	h.post(event{sig: sigConnected})
	h.run(&h.mu, &h)
	h.want(t, "connected", "state 9")
}

func TestDispatcherSurvivesPanicAndGoexit(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("deliberate") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			var h hall
			done := make(chan struct{})
			h.mu.Lock()
			h.add(sigConnected, func() { leave() })
			h.add(sigStateChanged, func() { close(done) })
			h.post(event{sig: sigConnected})
			h.post(event{sig: sigStateChanged})
			h.mu.Unlock()
			h.runAside()
			<-done // the events that follow are not lost
			h.mu.Lock()
			h.mu.Unlock() //nolint:staticcheck // that it is free is what is tested
		})
	}
}

// A callback that lets its goroutine down keeps none of the others from being told of the same event, and nobody is told twice.
func TestDispatcherTellsTheOthersOfTheSameEvent(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("deliberate") }, "goexit": runtime.Goexit} {
		for sig, want := range map[signal][]string{
			sigDisconnected: {"first 0", "second", "third"}, // alone
			sigStateChanged: {"first 1", "second", "third", "first 2", "second", "third"},
		} {
			t.Run(fmt.Sprint(name, " ", sig), func(t *testing.T) {
				var h hall
				told := make(chan struct{}, len(want))
				h.mu.Lock()
				h.hear(sig, "first")
				left := false
				h.add(sig, func() {
					h.say("second")
					if !left {
						left = true
						leave()
					}
				})
				h.add(sig, func() { h.say("third"); told <- struct{}{} })
				switch sig {
				case sigDisconnected:
					h.post(event{sig: sig})
				default:
					h.post(event{sig: sig, arg: 1})
					h.post(event{sig: sig, arg: 2})
				}
				h.mu.Unlock()
				h.runAside()
				for range len(want) / 3 {
					sockettest.Done(t, "the third is told", told)
				}
				h.mu.Lock()
				h.want(t, want...)
				h.mu.Unlock()
			})
		}
	}
}

// Dispatchers at which one wordless event is due share an agenda, which none of them may change.
func TestDispatcherKeepsSharedAgendas(t *testing.T) {
	var h hall
	again := true
	var late *callback
	h.mu.Lock()
	h.add(sigDisconnected, func() {
		h.say("gone")
		h.mu.Lock()
		if again {
			again = false
			h.post(event{sig: sigDisconnected})
			late = h.add(sigDisconnected, func() { h.say("late") })
		}
		h.mu.Unlock()
	})
	h.post(event{sig: sigDisconnected})
	h.add(sigDisconnected, func() { h.say("new") })
	if !h.claim() || h.run(&h.mu, &h) {
		t.Error("what was claimed was left to another")
	}
	h.disclaim()
	h.run(&h.mu, &h)
	h.want(t, "gone", "gone", "new") // the second time for all but late, who came after that event
	h.remove(late)
	h.post(event{sig: sigDisconnected})
	h.run(&h.mu, &h)
	h.want(t, "gone", "new")
	h.mu.Unlock()
	for sig, a := range alone {
		if !a.shared || a.running || a.posted != 1 || len(a.queue) != 1 || a.queue[0].sig != signal(sig) || a.queue[0].count != 1 {
			t.Errorf("the agenda of signal %d has become %+v", sig, a)
		}
	}
	if !telling.shared || !telling.running || telling.posted != 1 || len(telling.queue) != 0 {
		t.Errorf("the agenda while one event is told has become %+v", telling)
	}
}
