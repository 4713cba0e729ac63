package poll_test

import (
	"os"
	"testing"
	"time"

	"anteroom/internal/poll"
	"anteroom/internal/sockettest"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

// each runs a test with the system's best Poller, and with that of systems that have no better.
func each(t *testing.T, test func(t *testing.T, p poll.Poller)) {
	t.Helper()
	for name, open := range map[string]func() (poll.Poller, error){"best": poll.Open, "portable": poll.OpenPortable} {
		t.Run(name, func(t *testing.T) {
			p, err := open()
			must(t, err)
			defer p.Close()
			test(t, p)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait waits at most a time, and fails the test if there are events.
func wait(t *testing.T, p poll.Poller, d time.Duration) {
	t.Helper()
	ready := make([]poll.Event, 8)
	if n, err := p.Wait(ready, d); n != 0 || err != nil {
		t.Fatalf("Wait: %v, %v; want nothing", ready[:n], err)
	}
}

func TestWaitEndsWithTime(t *testing.T) {
	each(t, func(t *testing.T, p poll.Poller) {
		for _, d := range []time.Duration{0, time.Microsecond, 1500 * time.Microsecond, 3 * time.Millisecond} {
			begin := time.Now()
			for wait(t, p, d); time.Since(begin) < d; { // it may end early, but not always
				wait(t, p, d-time.Since(begin))
			}
		}
	})
}

func TestWakeEndsWait(t *testing.T) {
	each(t, func(t *testing.T, p poll.Poller) {
		for range 100 {
			p.Wake() // before: counts for the next
			wait(t, p, -1)
			done := sockettest.Go(func() error { p.Wake(); return nil })
			wait(t, p, -1)
			<-done
		}
		for range 100_000 { // more than a pipe holds: nobody is kept waiting who wakes
			p.Wake()
		}
		wait(t, p, -1)
	})
}
