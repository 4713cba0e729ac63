package core

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	for name, wait := range map[string]func(*gate, *time.Time) error{
		"await": func(g *gate, limit *time.Time) error { return g.await(limit, func() bool { return false }) },
		"awaitRaw": func(g *gate, limit *time.Time) error {
			return g.awaitRaw(limit, func(uintptr) bool { return false }, func(f func(uintptr)) error { f(0); return nil }, func() bool { return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
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
				done <- wait(&g, &limit)
			}()
			sockettest.Done(t, "it waits, told anew", p.waiting)
			mu.Lock()
			g.shut()
			mu.Unlock()
			p.waiting <- struct{}{}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A poke that the leader has not come to yet is not undone by a new limit: pollers forget a limit that has passed when they are given another one.
func TestGatePokeOutlastsANewLimit(t *testing.T) {
	eachDoor(t, func(t *testing.T, d *door) {
		stop := false
		limit := time.Now().Add(time.Hour)
		leader := make(chan error, 1)
		go func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			leader <- d.gate.await(&limit, func() bool { return stop })
		}()
		d.settle(0)
		d.mu.Lock()
		stop = true
		d.poke()
		limit = limit.Add(time.Hour)
		d.rearm(&limit)
		d.fakePoller.await(func() bool {
			if !d.fakePoller.limit.Equal(past) {
				t.Errorf("the poller's limit is %v, and the leader has not looked again", d.fakePoller.limit)
			}
			return true
		})
		d.poke()
		d.mu.Unlock()
		if err := <-leader; err != nil {
			t.Error(err)
		}
	})
}

// A forgetfulPoller is as forgetful as the runtime's: of what happens before a Wait, and of a limit that has passed when it is given another one.
type forgetfulPoller struct {
	mu     sync.Mutex
	cond   sync.Cond
	ready  bool
	limit  time.Time
	prompt bool
}

func (p *forgetfulPoller) Prompt() bool { return p.prompt }

func (p *forgetfulPoller) event() {
	p.mu.Lock()
	p.ready = true
	p.mu.Unlock()
	p.cond.Broadcast()
}

func (p *forgetfulPoller) SetLimit(t time.Time) error {
	p.mu.Lock()
	p.limit = t
	p.mu.Unlock()
	p.cond.Broadcast()
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), p.cond.Broadcast)
	}
	return nil
}

func (p *forgetfulPoller) Wait(ready func(uintptr) bool) error {
	jitter()
	p.mu.Lock()
	p.ready = false
	late := expired(p.limit)
	p.mu.Unlock()
	if late {
		return os.ErrDeadlineExceeded
	}
	for !ready(0) {
		jitter()
		p.mu.Lock()
		for !p.ready && !expired(p.limit) {
			p.cond.Wait()
		}
		told := p.ready
		p.ready = false
		p.mu.Unlock()
		if !told {
			return os.ErrDeadlineExceeded
		}
	}
	return nil
}

// jitter lets others go first, now and then.
func jitter() {
	if rand.IntN(3) == 0 {
		runtime.Gosched()
	}
}

// Several wait for different things at one gate, with limits of their own and a common one that changes, and nobody is forgotten.
func TestGateForgetsNobody(t *testing.T) {
	forgetful := func(prompt bool) (Poller, func()) {
		p := &forgetfulPoller{prompt: prompt}
		p.cond.L = &p.mu
		return p, p.event
	}
	for name, open := range map[string]func() (Poller, func()){
		"prompt":     func() (Poller, func()) { return forgetful(true) },
		"not prompt": func() (Poller, func()) { return forgetful(false) },
		"Waker":      func() (Poller, func()) { w := NewWaker(); return w, w.Tell },
	} {
		t.Run(name, func(t *testing.T) {
			for range 200 {
				var mu sync.Mutex
				var g gate
				g.init(&mu)
				p, event := open()
				mu.Lock()
				g.open(p)
				mu.Unlock()
				var arrived atomic.Int64 // the poller tells of it
				var changed int64        // under mu: a poke tells of it
				limit := time.Now().Add(time.Hour)
				var all sync.WaitGroup
				for w := range 5 {
					all.Go(func() {
						for i := int64(1); i <= 20; i++ {
							own := time.Now().Add(time.Duration(rand.IntN(200)) * time.Microsecond)
							mu.Lock()
							until := &limit
							if rand.IntN(4) == 0 {
								until = &own
							}
							if (int64(w)+i)%2 == 0 {
								g.await(until, func() bool { return arrived.Load() >= i })
							} else {
								g.await(until, func() bool { return changed >= i })
							}
							mu.Unlock()
						}
					})
				}
				change := func(more int64) {
					mu.Lock()
					changed += more
					g.poke()
					mu.Unlock()
				}
				limitLater := func() {
					mu.Lock()
					limit = limit.Add(time.Second)
					g.rearm(&limit)
					mu.Unlock()
				}
				arrive := func(more int64) {
					arrived.Add(more)
					event()
				}
				for range 60 {
					jitter()
					switch rand.IntN(3) {
					case 0:
						change(1)
					case 1:
						limitLater()
					case 2:
						arrive(1)
					}
				}
				if rand.IntN(2) == 0 {
					arrive(20)
					jitter()
					change(20)
				} else {
					change(20)
					jitter()
					arrive(20)
				}
				limitLater()
				sockettest.Done(t, "all are told", sockettest.Go(func() bool { all.Wait(); return true }))
			}
		})
	}
}
