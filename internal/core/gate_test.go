package core

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
)

// A fakePoller is a descriptor whose events a test makes.
type fakePoller struct {
	mu      sync.Mutex
	cond    sync.Cond
	events  int
	limit   time.Time
	waiting int
	most    int // how many ever waited at once
	closed  bool
	prompt  bool
	begin   func() // called at the beginning of Wait, if it is set
}

func newFakePoller() *fakePoller {
	p := new(fakePoller)
	p.cond.L = &p.mu
	return p
}

func (p *fakePoller) change(f func()) {
	p.mu.Lock()
	f()
	p.cond.Broadcast()
	p.mu.Unlock()
}

func (p *fakePoller) Wait(ready func(uintptr) bool) error {
	p.change(func() {
		p.waiting++
		p.most = max(p.most, p.waiting)
	})
	defer p.change(func() { p.waiting-- })
	if p.begin != nil {
		p.begin()
	}
	for {
		p.mu.Lock()
		seen := p.events
		p.mu.Unlock()
		if ready(0) {
			return nil
		}
		p.mu.Lock()
		for p.events == seen && !p.closed && !expired(p.limit) {
			p.cond.Wait()
		}
		closed, late := p.closed, expired(p.limit)
		p.mu.Unlock()
		switch {
		case closed:
			return os.ErrClosed
		case late:
			return os.ErrDeadlineExceeded
		}
	}
}

func (p *fakePoller) Prompt() bool { return p.prompt }

func (p *fakePoller) SetLimit(t time.Time) error {
	p.change(func() { p.limit = t })
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() { p.change(func() {}) })
	}
	return nil
}

func (p *fakePoller) await(f func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !f() {
		p.cond.Wait()
	}
}

// A door is a gate with its mutex, at a fakePoller.
type door struct {
	gate
	mu sync.Mutex
	*fakePoller
}

func newDoor(prompt bool) *door {
	d := &door{fakePoller: newFakePoller()}
	d.fakePoller.prompt = prompt
	d.gate.init(&d.mu)
	d.mu.Lock()
	d.open(d.fakePoller)
	d.mu.Unlock()
	return d
}

// eachDoor runs f with a gate at a poller of each kind.
func eachDoor(t *testing.T, f func(t *testing.T, d *door)) {
	for _, prompt := range []bool{false, true} {
		t.Run(fmt.Sprint("prompt:", prompt), func(t *testing.T) {
			f(t, newDoor(prompt))
		})
	}
}

// enter starts a goroutine that waits for try, and returns where its result comes.
func (d *door) enter(limit time.Time, try func() bool) <-chan error {
	result := make(chan error, 1)
	go func() {
		d.mu.Lock()
		err := d.gate.await(&limit, try)
		d.mu.Unlock()
		result <- err
	}()
	return result
}

// settle waits until one goroutine is at the poller and others follow.
func (d *door) settle(followers int) {
	d.fakePoller.await(func() bool { return d.waiting == 1 })
	d.until(func() bool { return d.followers == int32(followers) })
}

// until waits for a condition of the gate that no event tells.
func (d *door) until(cond func() bool) {
	for {
		d.mu.Lock()
		ok := cond()
		d.mu.Unlock()
		if ok {
			return
		}
		runtime.Gosched()
	}
}

func TestGateOneWaitsAtThePollerForAll(t *testing.T) {
	eachDoor(t, func(t *testing.T, d *door) {
		var bytes int
		leader := d.enter(never, func() bool { return bytes >= 3 })
		d.settle(0)
		var followers []<-chan error
		for range 4 {
			followers = append(followers, d.enter(never, func() bool { return bytes >= 1 }))
		}
		d.settle(4)

		d.mu.Lock()
		bytes = 1
		d.mu.Unlock()
		d.change(func() { d.events++ })
		for _, f := range followers {
			if err := <-f; err != nil {
				t.Error(err)
			}
		}
		d.mu.Lock()
		bytes = 3
		d.mu.Unlock()
		d.change(func() { d.events++ })
		if err := <-leader; err != nil {
			t.Error(err)
		}
		if d.most != 1 {
			t.Errorf("%d waited at the poller at once", d.most)
		}
	})
}

// Pollers know nothing of what happens before they look first: what a new leader finds then may be what a follower waits for.
func TestGateFollowerHearsOfWhatThePollerMissed(t *testing.T) {
	d := newDoor(false) // at a prompt poller there are no such followers
	var room, stop bool
	d.begin = func() {
		follower := d.enter(never, func() bool { return room })
		d.until(func() bool { return d.followers == 1 })
		d.mu.Lock()
		room = true
		d.mu.Unlock()
		d.change(func() { d.events++ })
		d.begin = func() {}
		go func() {
			err := <-follower
			d.mu.Lock()
			stop = err == nil
			d.poke()
			d.mu.Unlock()
		}()
	}
	if err := <-d.enter(time.Now().Add(sockettest.Long()), func() bool { return stop }); err != nil {
		t.Error(err)
	}
}

func TestGateEachHasItsOwnLimit(t *testing.T) {
	eachDoor(t, func(t *testing.T, d *door) {
		stop := false
		try := func() bool { return stop }
		leader := d.enter(never, try)
		d.settle(0)
		follower := d.enter(time.Now().Add(20*time.Millisecond), try)
		if err := <-follower; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the follower: %v", err)
		}
		select {
		case err := <-leader:
			t.Errorf("the follower's limit ended the leader: %v", err)
		default:
		}
		d.mu.Lock()
		stop = true
		d.poke()
		d.mu.Unlock()
		if err := <-leader; err != nil {
			t.Errorf("the leader: %v", err)
		}
	})
}

func TestGateWithNothingToWaitAtKeepsLimits(t *testing.T) {
	eachDoor(t, func(t *testing.T, d *door) {
		stop := false
		leader := d.enter(never, func() bool { return stop })
		d.settle(0)
		d.mu.Lock()
		d.shut()
		d.mu.Unlock()
		d.change(func() { d.closed = true })
		d.until(func() bool { return d.followers == 1 }) // it follows now, though nobody leads
		if err := <-d.enter(time.Now().Add(time.Millisecond), func() bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("with a limit: %v", err)
		}
		d.mu.Lock()
		stop = true
		d.tell()
		d.mu.Unlock()
		if err := <-leader; err != nil {
			t.Errorf("without a limit: %v", err)
		}
	})
}

func TestGateFollowerTakesTheLeadersPlace(t *testing.T) {
	eachDoor(t, func(t *testing.T, d *door) {
		var ready bool
		leader := d.enter(time.Now().Add(20*time.Millisecond), func() bool { return false })
		d.settle(0)
		follower := d.enter(never, func() bool { return ready })
		if err := <-leader; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the leader: %v", err)
		}
		d.settle(0)
		d.mu.Lock()
		ready = true
		d.poke()
		d.mu.Unlock()
		if err := <-follower; err != nil {
			t.Error(err)
		}
	})
}

func TestGateLimitMayChange(t *testing.T) {
	eachDoor(t, func(t *testing.T, d *door) {
		deadline := time.Now().Add(time.Hour)
		result := make(chan error, 1)
		go func() {
			d.mu.Lock()
			err := d.gate.await(&deadline, func() bool { return false })
			d.mu.Unlock()
			result <- err
		}()
		d.settle(0)
		d.mu.Lock()
		deadline = past
		d.rearm(&deadline)
		d.mu.Unlock()
		if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestGateClosedPollerEndsTheWait(t *testing.T) {
	eachDoor(t, func(t *testing.T, d *door) {
		leader := d.enter(never, func() bool { return false })
		d.settle(0)
		d.change(func() { d.closed = true })
		if err := <-leader; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// An earlyPoller says that its time is over, though it is not, until it is given another limit.
type earlyPoller struct {
	set     atomic.Int64
	waiting chan struct{}
}

func (p *earlyPoller) Wait(ready func(uintptr) bool) error {
	if p.set.Load()%2 == 1 {
		return os.ErrDeadlineExceeded
	}
	if !ready(0) {
		p.waiting <- struct{}{}
		<-p.waiting
	}
	return nil
}
func (p *earlyPoller) SetLimit(time.Time) error { p.set.Add(1); return nil }
func (p *earlyPoller) Prompt() bool             { return true }

// A poller whose clock is ahead does not make the leader spin with the mutex held.
func TestGatePollerThatIsEarly(t *testing.T) {
	var mu sync.Mutex
	var g gate
	g.init(&mu)
	p := &earlyPoller{waiting: make(chan struct{})}
	mu.Lock()
	g.open(p)
	mu.Unlock()
	limit := time.Now().Add(time.Hour)
	done := make(chan error, 1)
	go func() {
		mu.Lock()
		defer mu.Unlock()
		done <- g.await(&limit, func() bool { return false })
	}()
	<-p.waiting // it was told anew, and waits
	mu.Lock()
	g.shut()
	mu.Unlock()
	p.waiting <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
