//go:build unix

package loop_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// A handlerFunc is a function as a Handler.
type handlerFunc func(loop.Events)

func (f handlerFunc) Ready(ev loop.Events) { f(ev) }

func TestNotifyIsLevelTriggered(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		fds := socketPair(t)
		told := 0
		enough := make(chan struct{})
		var n *loop.Notifier
		n, err := l.Notify(uintptr(fds[0]), loop.Readable, func(ev loop.Events) {
			if ev&loop.Readable == 0 {
				t.Errorf("events %v, want Readable", ev)
			}
			if told++; told == 3 { // nothing was read: it is told again
				if err := n.SetEvents(0); err != nil {
					t.Error(err)
				}
				close(enough)
			}
		})
		must(t, err)
		unix.Write(fds[1], []byte("x"))
		start(t, l)
		sockettest.Done(t, "it is told three times", enough)
		on(t, l, func() {})
		on(t, l, func() {
			if told != 3 {
				t.Errorf("a notifier that is paused is told")
			}
		})
		must(t, n.Close())
		must(t, n.Close())
		if err := n.SetEvents(loop.Readable); !errors.Is(err, sock.OperationError) {
			t.Errorf("SetEvents after Close: %v; want OperationError", err)
		}
	})
}

func TestRegisterTellsOfBytesRoomAndTheEnd(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		fds := socketPair(t)
		events := make(chan loop.Events, 100)
		r, err := l.Register(uintptr(fds[0]), loop.Readable, handlerFunc(func(ev loop.Events) {
			var b [100]byte
			unix.Read(fds[0], b[:])
			events <- ev
		}))
		must(t, err)
		start(t, l)
		next := func(want loop.Events) {
			t.Helper()
			for {
				ev := sockettest.Done(t, "an event", events)
				if ev&want == want {
					return
				}
			}
		}
		unix.Write(fds[1], []byte("x"))
		next(loop.Readable)
		must(t, l.Modify(r, uintptr(fds[0]), loop.Readable|loop.Writable))
		next(loop.Writable)
		must(t, l.Modify(r, uintptr(fds[0]), loop.Readable))
		unix.Shutdown(fds[1], unix.SHUT_WR)
		next(loop.Readable | loop.Hangup)
		l.Unregister(r, uintptr(fds[0]), true)
		if err := l.Modify(r, uintptr(fds[0]), loop.Readable); !errors.Is(err, sock.OperationError) {
			t.Errorf("Modify after Unregister: %v; want OperationError", err)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		fds := socketPair(t)
		h := handlerFunc(func(loop.Events) {})
		if _, err := l.Register(uintptr(fds[0]), loop.Readable, nil); !errors.Is(err, sock.OperationError) {
			t.Errorf("no handler: %v", err)
		}
		if _, err := l.Register(^uintptr(0), loop.Readable, h); !errors.Is(err, sock.UnsupportedSocketOperationError) {
			t.Errorf("no descriptor: %v", err)
		}
		r, err := l.Register(uintptr(fds[0]), loop.Readable, h)
		must(t, err)
		if _, err := l.Register(uintptr(fds[0]), loop.Readable, h); !errors.Is(err, sock.OperationError) {
			t.Errorf("twice: %v", err)
		}
		l.Unregister(r, uintptr(fds[0]), true)
		l.Close()
		if _, err := l.Register(uintptr(fds[0]), loop.Readable, h); !errors.Is(err, sock.OperationError) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A tagged end of a pair is told of its own bytes only, however often descriptor numbers are used again.
type tagged struct {
	t    *testing.T
	fd   int
	tag  uint32
	over atomic.Bool // it was unregistered on the loop: nothing may come any more
	got  chan struct{}
}

func (e *tagged) Ready(loop.Events) {
	if e.over.Load() {
		e.t.Error("an event after Unregister")
		return
	}
	var b [4]byte
	n, err := unix.Read(e.fd, b[:])
	switch {
	case err == unix.EAGAIN:
	case err != nil || n != len(b) || binary.BigEndian.Uint32(b[:]) != e.tag:
		e.t.Errorf("end %d read %v, %v", e.tag, b[:max(n, 0)], err)
	default:
		e.got <- struct{}{}
	}
}

func TestEventsReachTheirHandlers(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		start(t, l)
		var tags atomic.Uint32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(tags.Add(1))))
				for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
					fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
					if err != nil {
						t.Error(err)
						return
					}
					unix.SetNonblock(fds[0], true)
					e := &tagged{t: t, fd: fds[0], tag: tags.Add(1), got: make(chan struct{}, 1)}
					r, err := l.Register(uintptr(fds[0]), loop.Readable, e)
					if err != nil {
						t.Error(err)
						return
					}
					for range random.IntN(3) {
						unix.Write(fds[1], binary.BigEndian.AppendUint32(nil, e.tag))
						sockettest.Done(t, "the bytes are told", e.got)
					}
					on(t, l, func() {
						e.over.Store(true)
						l.Unregister(r, uintptr(fds[0]), random.IntN(2) == 0)
						unix.Close(fds[0])
					})
					unix.Close(fds[1])
				}
			})
		}
		all.Wait()
	})
}

// Timers of no time that start themselves again keep no descriptor from its turn.
func TestTimersOfNoTimeAndDescriptors(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		fds := pair(t)
		defer unix.Close(fds[0])
		defer unix.Close(fds[1])
		const before = 50
		fired, told := 0, -1
		_, err := l.Notify(uintptr(fds[0]), loop.Readable, func(loop.Events) {
			told = fired
			l.Close()
		})
		must(t, err)
		for range 2 {
			var again func()
			again = func() {
				if fired++; fired == before {
					unix.Write(fds[1], []byte{0})
				}
				l.AfterFunc(0, again)
			}
			l.AfterFunc(0, again)
		}
		must(t, l.Run(context.Background()))
		if told-before > 8 { // two a turn
			t.Errorf("a descriptor has waited for %d timers", told-before)
		}
	})
}

func TestInTurnCountsWhatATurnHandles(t *testing.T) {
	l := newLoop(t)
	told := make(chan int, 3)
	for range cap(told) {
		fds := socketPair(t)
		unix.Write(fds[1], []byte("x"))
		_, err := l.Register(uintptr(fds[0]), loop.Readable, handlerFunc(func(loop.Events) { told <- l.InTurn() }))
		must(t, err)
	}
	start(t, l)
	for range cap(told) {
		if n := sockettest.Done(t, "a handler is called", told); n != cap(told) {
			t.Errorf("a turn of %d events says that it has %d", cap(told), n)
		}
	}
}
