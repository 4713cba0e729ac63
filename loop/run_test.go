package loop_test

import (
	"context"
	"errors"
	"iter"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/sock"
)

// A context that has ended already lets nothing run; one that ends in a callback ends Run, which says why.
func TestRunAndItsContext(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		ran := 0
		l.Post(func() { ran++ })
		why := errors.New("deliberate")
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(why)
		if err := l.Run(ctx); err != why || ran != 0 {
			t.Errorf("with a context that has ended Run returns %v and runs %d functions; want its cause, and none", err, ran)
		}
		ctx, cancel = context.WithCancelCause(context.Background())
		l.Post(func() { cancel(why) })
		l.Post(func() { l.Post(func() { ran++ }) })
		if err := l.Run(ctx); err != why || ran != 1 {
			t.Errorf("Run returns %v after %d functions; want the context's cause after 1", err, ran)
		}
		start(t, l)
		on(t, l, func() {
			if ran != 2 {
				t.Errorf("%d functions ran, want the one too that was left when the context ended", ran)
			}
		})
	})
}

// Run, Close and everything else may meet in any order: Run returns, and says nothing, or that the loop was closed before.
func TestRunMeetsClose(t *testing.T) {
	for range 300 {
		l, err := loop.New()
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		go func() { l.Post(func() { l.Post(nil) }) }()
		all.Go(func() {
			if err := l.Run(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("Run: %v; want nil or net.ErrClosed", err)
			}
		})
		all.Go(func() { l.AfterFunc(0, func() {}).Stop() })
		all.Go(func() { must(t, l.Close()) })
		all.Go(func() { must(t, l.Close()) })
		all.Wait()
		cancel()
	}
}

// The same with contexts that end instead: the loop may be run again each time, and loses nothing.
func TestRunAgainAndAgain(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		var posted sync.WaitGroup
		count, stop := 0, make(chan struct{})
		var made atomic.Int64
		posted.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					made.Add(1)
					l.Post(func() { count++ })
					runtime.Gosched()
				}
			}
		})
		for i := range 200 {
			ctx, cancel := context.WithCancel(context.Background())
			if i%2 == 0 {
				go cancel()
			} else {
				l.Post(cancel)
			}
			if err := l.Run(ctx); err != context.Canceled {
				t.Errorf("Run: %v; want context.Canceled", err)
			}
			cancel()
		}
		close(stop)
		posted.Wait()
		start(t, l)
		on(t, l, func() {
			if int64(count) != made.Load() {
				t.Errorf("%d functions ran of %d", count, made.Load())
			}
		})
	})
}

func TestOnLoop(t *testing.T) {
	l, other := newLoop(t), newLoop(t)
	start(t, l)
	on(t, l, func() {
		if !l.OnLoop() || other.OnLoop() {
			t.Errorf("on the loop's goroutine OnLoop says %v, and of a loop that does not run %v", l.OnLoop(), other.OnLoop())
		}
		if <-sockettest.Go(l.OnLoop) {
			t.Error("a goroutine that a callback has started is taken for the loop's")
		}
		next, stop := iter.Pull(func(yield func(bool) bool) { yield(l.OnLoop()) })
		if here, _ := next(); here {
			t.Error("an iterator's goroutine is taken for the loop's")
		}
		stop()
		// One goroutine may run a loop while it runs another.
		other.Post(func() {
			if !l.OnLoop() || !other.OnLoop() {
				t.Errorf("on the goroutine of both OnLoop says %v and %v", l.OnLoop(), other.OnLoop())
			}
			other.Close()
		})
		if err := other.Run(context.Background()); err != nil {
			t.Error(err)
		}
		if other.OnLoop() || other.Running() {
			t.Error("a loop that has returned still runs")
		}
		if err := l.Run(context.Background()); !errors.Is(err, sock.OperationError) {
			t.Errorf("Run in the loop's own callback: %v; want OperationError", err)
		}
	})
	// Goroutines that come and go are not taken for it, though the runtime uses their records again.
	for range 1000 {
		if <-sockettest.Go(l.OnLoop) {
			t.Fatal("another goroutine is taken for the loop's")
		}
	}
}

// A posted function that posts itself, and a timer of no time that makes itself anew, keep each other, and what others post, from nothing.
func TestNobodyStarves(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		var posts, timers int
		var post, timer func()
		post = func() { posts++; l.Post(post) }
		timer = func() { timers++; l.AfterFunc(0, timer) }
		for range 2000 { // more than are run in one turn
			l.Post(post)
			l.AfterFunc(0, timer)
		}
		start(t, l)
		for enough := false; !enough; {
			on(t, l, func() { enough = posts > 20_000 && timers > 20_000 })
		}
	})
}

func TestGroupEndsAsOne(t *testing.T) {
	t.Run("Close", func(t *testing.T) {
		g, err := loop.NewGroup(3)
		must(t, err)
		ended := sockettest.Go(func() error { return g.Run(context.Background()) })
		on(t, g.Next(), func() {})
		must(t, g.Close())
		must(t, g.Close())
		must(t, sockettest.Done(t, "Run returns", ended))
		if err := g.Run(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run after Close: %v; want net.ErrClosed", err)
		}
	})
	t.Run("one loop ends", func(t *testing.T) {
		g, err := loop.NewGroup(3)
		must(t, err)
		defer g.Close()
		ended := sockettest.Go(func() error { return g.Run(context.Background()) })
		g.Next().Post(runtime.Goexit)
		if err := sockettest.Done(t, "Run returns", ended); !errors.Is(err, sock.OperationError) {
			t.Errorf("Run: %v; want OperationError", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run again: %v; want the context's error", err)
		}
	})
	t.Run("one loop is closed", func(t *testing.T) {
		g, err := loop.NewGroup(3)
		must(t, err)
		defer g.Close()
		ended := sockettest.Go(func() error { return g.Run(context.Background()) })
		l := g.Next()
		on(t, l, func() { l.Close() })
		if err := sockettest.Done(t, "Run returns", ended); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run: %v; want net.ErrClosed", err)
		}
	})
	t.Run("it runs already", func(t *testing.T) {
		g, err := loop.NewGroup(2)
		must(t, err)
		defer g.Close()
		ctx, cancel := context.WithCancel(context.Background())
		ended := sockettest.Go(func() error { return g.Run(ctx) })
		for range 2 {
			on(t, g.Next(), func() {})
		}
		if err := g.Run(context.Background()); !errors.Is(err, sock.OperationError) {
			t.Errorf("a second Run: %v; want OperationError", err)
		}
		on(t, g.Next(), func() {}) // the first is not disturbed
		cancel()
		if err := sockettest.Done(t, "Run returns", ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v; want the context's error", err)
		}
	})
}
