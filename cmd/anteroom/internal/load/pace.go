package load

import (
	"math"
	"time"
)

// A schedule says when requests are due: the first at once, and each of the others an interval after the one before.
type schedule struct{ interval float64 } // in nanoseconds

func scheduleOf(perSecond float64) schedule { return schedule{float64(time.Second) / perSecond} }

// at returns when request k is due, counted from 0. It does not add up the error of the interval. A time that no Duration holds is the last one.
func (s schedule) at(k int64) time.Duration {
	if t := float64(k) * s.interval; t < math.MaxInt64 {
		return time.Duration(t)
	}
	return math.MaxInt64
}

// before returns how many requests are due before a time.
func (s schedule) before(t time.Duration) int64 {
	if t <= 0 {
		return 0
	}
	k := int64(float64(t) / s.interval)
	for k > 0 && s.at(k-1) >= t {
		k--
	}
	for s.at(k) < t {
		k++
	}
	return k
}

// A pacer hands each request to whoever is free, when it is due; when nobody is, as soon as somebody is.
type pacer struct {
	schedule
	out   chan<- time.Duration // takes when a request is due; closed at the end. Unbuffered.
	now   func() time.Duration
	begin time.Duration // of the measured time: what was due before and is not handed out yet is left out then
	end   time.Duration
	stop  <-chan struct{} // ends it before
	sleep func(time.Duration)

	handed int64 // how many were handed out that were due in the measured time. To be read when run has returned.
}

// nap is how long run may sleep without a look at stop.
const nap = 20 * time.Millisecond

// run hands out requests until the end, and those that were due before to whoever is free then. The others are not handed out.
func (p *pacer) run() {
	defer close(p.out)
	end := time.NewTimer(p.end - p.now())
	defer end.Stop()
	first := p.before(p.begin)
	for k := int64(0); ; k++ {
		if k < first && p.now() >= p.begin {
			k = first
		}
		due := p.at(k)
		if due >= p.end { // and not before: those who wait for more have the whole time
			select {
			case <-end.C:
			case <-p.stop:
			}
			return
		}
		if !p.await(due) {
			return
		}
		select {
		case <-p.stop: // though somebody may be free
			return
		default:
		}
		select {
		case p.out <- due:
		default: // nobody is free yet
			select {
			case p.out <- due:
			case <-end.C:
				return
			case <-p.stop:
				return
			}
		}
		if k >= first {
			p.handed++
		}
	}
}

// await sleeps until a time, and reports false if it was stopped.
func (p *pacer) await(due time.Duration) bool {
	for {
		wait := due - p.now()
		switch {
		case wait <= 0:
			return true
		case wait > nap:
			t := time.NewTimer(wait - nap/2)
			select {
			case <-t.C:
			case <-p.stop:
				t.Stop()
				return false
			}
		default:
			p.sleep(wait)
		}
	}
}
