package sockettest

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// scale is by how much longer this machine may take: the environment's ANTEROOM_TIMESCALE, else 1.
var scale = sync.OnceValue(func() float64 {
	if f, err := strconv.ParseFloat(os.Getenv("ANTEROOM_TIMESCALE"), 64); err == nil && f > 0 {
		return f
	}
	return 1
})

// Scale stretches a duration for a slow machine.
func Scale(d time.Duration) time.Duration { return time.Duration(float64(d) * scale()) }

// Long is how long a test waits for what must happen. It passes only when the test fails.
func Long() time.Duration { return Scale(20 * time.Second) }

// Short is how long a test looks whether something happens that must not.
func Short() time.Duration { return Scale(30 * time.Millisecond) }

// Eventually waits until cond holds, for what no event tells of. It fails the test, with the words of what, if that takes too long.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !holds(cond) {
		t.Fatalf("this did not become true: %s", what)
	}
}

func holds(cond func() bool) bool {
	for end, pause := time.Now().Add(Long()), 50*time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
	}
}

// Running reports whether a goroutine is in a function whose name ends so, for who must know that a wait has begun.
func Running(function string) bool {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	return bytes.Contains(all, []byte(function+"("))
}

// Stays looks for a short while whether cond goes on holding, and fails the test if it does not.
func Stays(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(Short()); ; time.Sleep(time.Millisecond) {
		if !cond() {
			t.Fatalf("this did not stay true: %s", what)
		}
		if time.Now().After(end) {
			return
		}
	}
}

// Done waits until c is closed or sends, and returns what it sent. It fails the test, with the words of what, if that takes too long.
func Done[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(Long())
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("this did not happen: %s", what)
		panic("unreachable")
	}
}

// Go runs f in a goroutine and returns where its result comes.
func Go[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// Rests fails the test if wait, which takes some time, computes for more than a quarter of it, or somebody else in this process does, three times
// out of three: once it may be the collector of garbage.
func Rests(t testing.TB, what string, wait func()) {
	t.Helper()
	var computed, took time.Duration
	for range 3 {
		before, known := CPUTime()
		start := time.Now()
		wait()
		after, _ := CPUTime()
		if took, computed = time.Since(start), after-before; !known || computed <= took/4 {
			return
		}
	}
	t.Errorf("%s: %v of processor time in %v, also when tried again", what, computed, took)
}
