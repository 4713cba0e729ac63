package loop_test

import (
	"context"
	"os"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/loop"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

// each runs a test with the system's best way to watch descriptors, and with that of systems that have none.
func each(t *testing.T, test func(t *testing.T, l *loop.Loop)) {
	t.Helper()
	for name, open := range map[string]func() (*loop.Loop, error){"best": loop.New, "portable": loop.NewPortable} {
		t.Run(name, func(t *testing.T) {
			l, err := open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			test(t, l)
		})
	}
}

func newLoop(t testing.TB) *loop.Loop {
	t.Helper()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// start runs l on a goroutine of its own until the test ends or stop is called, which returns what Run did.
func start(t testing.TB, l *loop.Loop) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = l.Run(ctx)
	}()
	sockettest.Eventually(t, "the loop runs", l.Running)
	stop = func() error {
		t.Helper()
		cancel()
		sockettest.Done(t, "Run returns", done)
		return err
	}
	t.Cleanup(func() { stop() })
	return stop
}

// on runs f on the loop's goroutine, in a posted function, and waits for it.
func on(t testing.TB, l *loop.Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	l.Post(func() {
		defer close(done)
		f()
	})
	sockettest.Done(t, "a posted function has run", done)
}
