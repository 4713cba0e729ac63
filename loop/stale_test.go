//go:build unix

package loop_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"golang.org/x/sys/unix"
)

// pair returns two connected sockets; the first is non-blocking. Who calls it closes them.
func pair(t testing.TB) (fds [2]int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	must(t, unix.SetNonblock(fds[0], true))
	return fds
}

// Many descriptors are ready at once. The first handler that is told ends all the registrations and closes their descriptors; new ones get
// their numbers, and have nothing to be told of.
func TestNoEventOutlivesItsRegistration(t *testing.T) {
	for _, del := range []bool{true, false} {
		each(t, func(t *testing.T, l *loop.Loop) {
			const n = 100
			var old, now [n][2]int
			var registered [n]loop.Registration
			told := 0
			for i := range old {
				old[i] = pair(t)
				r, err := l.Register(uintptr(old[i][0]), loop.Readable|loop.Writable, handlerFunc(func(loop.Events) {
					if told++; told > 1 {
						return
					}
					for i, fds := range old {
						l.Unregister(registered[i], uintptr(fds[0]), del)
						unix.Close(fds[0])
						unix.Close(fds[1])
					}
					reused := 0
					for i := range now {
						now[i] = pair(t)
						if now[i][0] == old[i][0] {
							reused++
						}
						_, err := l.Register(uintptr(now[i][0]), loop.Readable, handlerFunc(func(loop.Events) {
							t.Error("a handler is told of what has happened to a descriptor that had the number before")
						}))
						must(t, err)
					}
					if reused < n/2 {
						t.Errorf("the system has used %d of %d numbers again: this test tests nothing", reused, n)
					}
				}))
				must(t, err)
				registered[i] = r
				unix.Write(old[i][1], []byte("x"))
			}
			start(t, l)
			on(t, l, func() {})
			on(t, l, func() {
				if told != 1 {
					t.Errorf("%d handlers are told, want 1: the others' registrations are over", told)
				}
				l.Close()
				for _, fds := range now {
					unix.Close(fds[0])
					unix.Close(fds[1])
				}
			})
		})
	}
}

// What a panic keeps from being told is told when the loop runs again, though no edge comes for it any more.
func TestPanicLosesNoEvent(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		const n = 20
		told := make(map[int]bool)
		for i := range n {
			fds := socketPair(t)
			_, err := l.Register(uintptr(fds[0]), loop.Readable, handlerFunc(func(loop.Events) {
				unix.Read(fds[0], make([]byte, 1))
				told[i] = true
				panic(i)
			}))
			must(t, err)
			unix.Write(fds[1], []byte("x"))
		}
		for range n {
			func() {
				defer func() { recover() }()
				l.Run(context.Background())
			}()
		}
		if len(told) != n {
			t.Errorf("%d handlers were told, want %d", len(told), n)
		}
	})
}

// An end whose registration is made, changed and ended by goroutines that are not the loop's, as sockets' are: with a lock, so that nobody
// closes the descriptor while another uses its number.
type lockedEnd struct {
	t      *testing.T
	tag    uint32
	mu     sync.Mutex
	fd     int
	r      loop.Registration
	closed bool
	left   int // messages to come
	done   chan struct{}
}

func (e *lockedEnd) Ready(loop.Events) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	var b [4]byte
	n, err := unix.Read(e.fd, b[:])
	switch {
	case err == unix.EAGAIN:
		return
	case err != nil || n == 0 || n == len(b) && binary.BigEndian.Uint32(b[:]) != e.tag:
		e.t.Errorf("end %d read %v, %v", e.tag, b[:max(n, 0)], err)
		return
	}
	// One message an event: the others must be told of, or asked for by Modify.
	if e.left--; e.left == 0 {
		close(e.done)
	}
}

func TestRegistrationsOfManyGoroutines(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		start(t, l)
		var tags atomic.Uint32
		var all sync.WaitGroup
		for seed := range 6 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(7, uint64(seed)))
				for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
					fds := pair(t)
					e := &lockedEnd{t: t, tag: tags.Add(1), fd: fds[0], left: random.IntN(4), done: make(chan struct{})}
					messages := e.left
					if messages == 0 {
						close(e.done)
					}
					var err error
					e.mu.Lock()
					e.r, err = l.Register(uintptr(e.fd), loop.Readable, e)
					e.mu.Unlock()
					must(t, err)
					for range messages {
						unix.Write(fds[1], binary.BigEndian.AppendUint32(nil, e.tag))
					}
					patient := random.IntN(4) > 0 // else it is ended while it is told
					for waiting := patient; waiting; {
						e.mu.Lock()
						err := l.Modify(e.r, uintptr(e.fd), loop.Readable|loop.Events(random.IntN(2))*loop.Writable)
						e.mu.Unlock()
						must(t, err)
						select {
						case <-e.done:
							waiting = false
						case <-time.After(time.Millisecond):
						}
					}
					e.mu.Lock()
					e.closed = true
					l.Unregister(e.r, uintptr(e.fd), random.IntN(2) == 0)
					l.Unregister(e.r, uintptr(e.fd), true) // is over: nothing happens
					unix.Close(e.fd)
					e.mu.Unlock()
					unix.Close(fds[1])
				}
			})
		}
		all.Wait()
	})
}

// More descriptors than one call tells of, and than one page of the table holds.
func TestManyRegistrations(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		pairs := 5000
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
			if room := int(limit.Cur-200) / 2; room > 0 { // less is no limit
				pairs = min(pairs, room)
			}
		}
		told := make([]int, 2*pairs)
		var ends []int
		done := make(chan struct{})
		left := len(told)
		for range pairs {
			fds := socketPair(t)
			for i, fd := range fds {
				at := len(ends)
				ends = append(ends, fd)
				unix.Write(fds[1-i], []byte("x"))
				_, err := l.Register(uintptr(fd), loop.Readable, handlerFunc(func(loop.Events) {
					if n, _ := unix.Read(fd, make([]byte, 8)); n > 0 {
						told[at] += n
						if left--; left == 0 {
							close(done)
						}
					}
				}))
				must(t, err)
			}
		}
		start(t, l)
		sockettest.Done(t, "all are told", done)
		on(t, l, func() {
			for at, n := range told {
				if n != 1 {
					t.Fatalf("end %d of %d read %d bytes, want 1", at, len(told), n)
				}
			}
		})
	})
}

// Two notifiers are ready at once, and each closes the other: one is told.
func TestNotifiersCloseEachOther(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		var n [2]*loop.Notifier
		told := 0
		for i := range n {
			fds := socketPair(t)
			var err error
			n[i], err = l.Notify(uintptr(fds[0]), loop.Readable|loop.Writable, func(loop.Events) {
				told++
				n[1-i].Close()
				n[i].Close() // its own, too
				// Both may be watched again at once.
				again, err := l.Notify(uintptr(fds[0]), 0, func(loop.Events) { t.Error("a notifier that watches nothing is told") })
				must(t, err)
				must(t, again.Close())
			})
			must(t, err)
			unix.Write(fds[1], []byte("x"))
		}
		start(t, l)
		on(t, l, func() {})
		on(t, l, func() {
			if told != 1 {
				t.Errorf("%d notifiers are told, want 1", told)
			}
		})
	})
}

// A notifier that is paused is not told of a hang-up either, which the system tells of unasked, and is told when it goes on.
func TestPausedNotifier(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		fds := pair(t)
		defer unix.Close(fds[0])
		told := make(chan loop.Events, 1)
		var n *loop.Notifier
		n, err := l.Notify(uintptr(fds[0]), 0, func(ev loop.Events) {
			n.SetEvents(0)
			told <- ev
		})
		must(t, err)
		start(t, l)
		unix.Close(fds[1])
		for range 3 {
			on(t, l, func() {})
		}
		select {
		case ev := <-told:
			t.Errorf("a paused notifier is told of %v", ev)
		default:
		}
		must(t, n.SetEvents(loop.Readable))
		if ev := sockettest.Done(t, "it is told", told); ev != loop.Readable|loop.Hangup {
			t.Errorf("events %v, want Readable and Hangup, and not what was not asked for", ev)
		}
		must(t, n.SetEvents(loop.Writable))
		if ev := sockettest.Done(t, "it is told", told); ev&loop.Writable == 0 || ev&loop.Readable != 0 {
			t.Errorf("events %v, want Writable and not Readable", ev)
		}
		must(t, n.SetEvents(loop.Readable))
		must(t, n.Close())
	})
}

func TestNotifierOfAClosedLoop(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		fds := pair(t)
		defer unix.Close(fds[0])
		defer unix.Close(fds[1])
		n, err := l.Notify(uintptr(fds[0]), loop.Readable, func(loop.Events) {})
		must(t, err)
		must(t, l.Close())
		for _, on := range []loop.Events{0, loop.Readable, loop.Writable} {
			if err := n.SetEvents(on); !errors.Is(err, net.ErrClosed) {
				t.Errorf("SetEvents(%d): %v; want net.ErrClosed", on, err)
			}
		}
		must(t, n.Close())
	})
}

// The loop's end, in the middle of what it has to tell, is the end of that.
func TestCloseForgetsHandlers(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		told := 0
		var n *loop.Notifier
		for range 5 {
			fds := socketPair(t)
			var err error
			n, err = l.Notify(uintptr(fds[0]), loop.Writable, func(loop.Events) {
				told++
				l.AfterFunc(0, func() { t.Error("a timer fires after Close") })
				l.Close()
			})
			must(t, err)
		}
		must(t, l.Run(context.Background()))
		if told != 1 {
			t.Errorf("%d handlers were told, want 1", told)
		}
		if err := n.SetEvents(loop.Readable); err == nil {
			t.Error("SetEvents at a loop that is closed succeeds")
		}
		must(t, n.Close())
		if _, err := l.Notify(0, loop.Readable, func(loop.Events) {}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Notify at a loop that is closed: %v; want net.ErrClosed", err)
		}
	})
}

// A handler whose registration has ended is nobody's any more, also if an event of it was at hand when another's panic ended Run.
func TestUnregisteredHandlersAreForgotten(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		var handlers []weak.Pointer[panicking]
		func() {
			var registered []loop.Registration
			var fds []int
			for range 4 {
				h := &panicking{t}
				handlers = append(handlers, weak.Make(h))
				fds = append(fds, socketPair(t)[0])
				r, err := l.Register(uintptr(fds[len(fds)-1]), loop.Writable, h)
				must(t, err)
				registered = append(registered, r)
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the handler's panic did not come out of Run")
					}
				}()
				l.Run(context.Background())
			}()
			for i, r := range registered {
				l.Unregister(r, uintptr(fds[i]), true)
			}
		}()
		runtime.GC()
		for i, h := range handlers {
			if h.Value() != nil {
				t.Errorf("handler %d is still held", i)
			}
		}
		runtime.KeepAlive(l)
	})
}

// A handler that is told of one event after the other, alone, is told of no other's, and of none when its registration has ended, also if the
// descriptor is another's by now; and then it is nobody's.
func TestHandlersThatAreAlone(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		ours, others := socketPair(t), socketPair(t)
		told := make(chan string, 1)
		start(t, l)
		register := func(name string, fds [2]int) (loop.Registration, weak.Pointer[named]) {
			h := &named{name, fds[0], told}
			r, err := l.Register(uintptr(fds[0]), loop.Readable, h)
			must(t, err)
			return r, weak.Make(h)
		}
		hear := func(fds [2]int, want string) {
			t.Helper()
			for range 3 {
				unix.Write(fds[1], []byte("x"))
				if got := sockettest.Done(t, "it is told", told); got != want {
					t.Fatalf("%s is told, want %s", got, want)
				}
			}
		}
		other, _ := register("the other", others)
		first, kept := register("the first", ours)
		hear(ours, "the first")
		hear(others, "the other")
		hear(ours, "the first")
		l.Unregister(first, uintptr(ours[0]), true)
		second, _ := register("the second", ours)
		hear(ours, "the second")
		on(t, l, func() { l.Unregister(second, uintptr(ours[0]), true) })
		third, last := register("the third", ours)
		hear(ours, "the third")
		on(t, l, func() { l.Unregister(third, uintptr(ours[0]), true) })
		on(t, l, func() {})
		on(t, l, func() {})
		runtime.GC()
		if kept.Value() != nil || last.Value() != nil {
			t.Errorf("the first handler is still held: %v; the last one: %v; want false", kept.Value() != nil, last.Value() != nil)
		}
		l.Unregister(other, uintptr(others[0]), true)

		// One that another goroutine ends while the loop sleeps is nobody's at once.
		fourth, idle := register("the fourth", ours)
		hear(ours, "the fourth")
		sockettest.Eventually(t, "the loop sleeps", l.Asleep)
		l.Unregister(fourth, uintptr(ours[0]), true)
		sockettest.Eventually(t, "the handler is let go of", func() bool { runtime.GC(); return idle.Value() == nil })
	})
}

type named struct {
	name string
	fd   int
	told chan string
}

func (h *named) Ready(loop.Events) {
	if n, _ := unix.Read(h.fd, make([]byte, 1)); n > 0 {
		h.told <- h.name
	}
}

// A panicking handler has a pointer, so that it is no tiny object that shares its memory with others.
type panicking struct{ t *testing.T }

func (h *panicking) Ready(loop.Events) { panic(h.t.Name()) }
