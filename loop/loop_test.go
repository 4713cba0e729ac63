package loop_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/sock"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPostsRunInOrderOnTheLoop(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		var got []int
		for i := range 3 { // before Run: kept
			l.Post(func() { got = append(got, i) })
		}
		l.Post(nil)
		start(t, l)
		for i := 3; i < 2000; i++ {
			l.Post(func() {
				if !l.OnLoop() {
					t.Error("a posted function runs elsewhere")
				}
				got = append(got, i)
			})
		}
		on(t, l, func() {
			if len(got) != 2000 || !slices.IsSorted(got) {
				t.Errorf("%d functions ran, in order: %v", len(got), slices.IsSorted(got))
			}
		})
		if l.OnLoop() {
			t.Error("this goroutine is taken for the loop's")
		}
	})
}

func TestPostsFromManyGoroutines(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		start(t, l)
		const posters, each = 8, 2000
		count := 0 // without a lock: all run on one goroutine
		var all sync.WaitGroup
		for range posters {
			all.Go(func() {
				for range each {
					l.Post(func() { count++ })
				}
			})
		}
		all.Wait()
		on(t, l, func() {
			if count != posters*each {
				t.Errorf("%d functions ran, want %d", count, posters*each)
			}
		})
	})
}

// A function that posts itself again for ever keeps neither others nor timers from their turn.
func TestPostThatPostsItselfStarvesNobody(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		var again func()
		again = func() { l.Post(again) }
		l.Post(again)
		start(t, l)
		fired := make(chan struct{})
		l.AfterFunc(time.Millisecond, func() { close(fired) })
		sockettest.Done(t, "the timer fires", fired)
		on(t, l, func() {})
	})
}

func TestTimersFireInOrderOfTime(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		var got []int
		done := make(chan struct{})
		on := func(i int) func() { return func() { got = append(got, i) } }
		l.AfterFunc(30*time.Millisecond, func() { close(done) })
		l.AfterFunc(20*time.Millisecond, on(3))
		l.AfterFunc(0, on(0))
		l.AfterFunc(0, on(1))
		l.AfterFunc(-time.Second, on(-1))
		stopped := l.AfterFunc(10*time.Millisecond, on(99))
		l.AfterFunc(10*time.Millisecond, on(2))
		if !stopped.Stop() || stopped.Stop() {
			t.Error("Stop does not say whether it has kept the function from running")
		}
		start(t, l)
		sockettest.Done(t, "the last timer fires", done)
		if want := []int{0, 1, -1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("they fired as %v, want %v", got, want)
		}
	})
}

func TestTimerIsNotEarly(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		start(t, l)
		const wait = 5 * time.Millisecond
		fired := make(chan time.Duration)
		began := time.Now()
		timer := l.AfterFunc(wait, func() { fired <- time.Since(began) })
		if took := sockettest.Done(t, "the timer fires", fired); took < wait {
			t.Errorf("it fired after %v, want at least %v", took, wait)
		}
		if timer.Stop() {
			t.Error("Stop has kept a function from running that has run")
		}
	})
}

func TestRunEnds(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		if err := start(t, l)(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v; want the context's error", err)
		}
		ran := make(chan struct{}, 1)
		stop := l.AfterRun(func() { ran <- struct{}{} })
		ended := sockettest.Go(func() error { return l.Run(context.Background()) })
		sockettest.Eventually(t, "the loop runs again", l.Running)
		if err := l.Run(context.Background()); !errors.Is(err, sock.OperationError) {
			t.Errorf("a second Run beside the first: %v; want OperationError", err)
		}
		must(t, l.Close())
		must(t, sockettest.Done(t, "Run returns", ended))
		sockettest.Done(t, "AfterRun's function is called", ran)
		stop()
		must(t, l.Close())
		if err := l.Run(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run after Close: %v; want net.ErrClosed", err)
		}
		l.Post(func() { t.Error("a function ran after Close") })
		l.AfterFunc(0, func() { t.Error("a timer fired after Close") })
	})
}

func TestCloseInACallback(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		l.Post(func() { l.Close() })
		l.Post(func() { t.Error("a function ran after Close") })
		must(t, l.Run(context.Background()))
	})
}

// A callback that panics or ends its goroutine ends Run, and not the loop.
func TestCallbackThatDoesNotReturn(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("deliberate") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, l *loop.Loop) {
				ran := make(chan struct{})
				l.Post(end)
				l.Post(func() { close(ran) })
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					defer func() { recover() }()
					l.Run(context.Background())
				}()
				sockettest.Done(t, "the goroutine ends", ended)
				if l.Running() {
					t.Error("the loop still runs")
				}
				start(t, l)
				sockettest.Done(t, "what was posted is run", ran)
			})
		})
	}
}

func TestLoopThatWasNotMade(t *testing.T) {
	var l loop.Loop
	if err := l.Run(context.Background()); !errors.Is(err, sock.OperationError) {
		t.Errorf("Run: %v; want OperationError", err)
	}
	must(t, l.Close())
	var g loop.Group
	if g.Next() != nil {
		t.Error("a group that was not made has a loop")
	}
	if err := g.Run(context.Background()); !errors.Is(err, sock.OperationError) {
		t.Errorf("the group's Run: %v; want OperationError", err)
	}
}

func TestGroup(t *testing.T) {
	g, err := loop.NewGroup(3)
	must(t, err)
	first := g.Next()
	g.Next()
	g.Next()
	if g.Next() != first {
		t.Error("Next does not begin again after all")
	}
	var ran atomic.Int32
	ctx, cancel := context.WithCancel(context.Background())
	ended := sockettest.Go(func() error { return g.Run(ctx) })
	for range 3 {
		on(t, g.Next(), func() { ran.Add(1) })
	}
	cancel()
	if err := sockettest.Done(t, "Run returns", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v; want the context's error", err)
	}
	must(t, g.Close())
	if ran.Load() != 3 {
		t.Errorf("%d loops ran, want 3", ran.Load())
	}
	if g, err = loop.NewGroup(0); err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	loops := make(map[*loop.Loop]bool)
	for range 100 * runtime.GOMAXPROCS(0) {
		loops[g.Next()] = true
	}
	if len(loops) != runtime.GOMAXPROCS(0) {
		t.Errorf("a group of one loop for each of %d cores has %d", runtime.GOMAXPROCS(0), len(loops))
	}
}
