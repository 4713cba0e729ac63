//go:build unix

package loop_test

import (
	"slices"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"golang.org/x/sys/unix"
)

// Bytes that a handler has left are told of once more if it doubts, and only as long as it does.
func TestDoubtTellsOfWhatIsLeft(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		const all = "<what was left"
		fds := socketPair(t)
		read := make(chan byte, len(all))
		end := make(chan struct{}, 1)
		var r loop.Registration
		r, err := l.Register(uintptr(fds[0]), loop.Readable, handlerFunc(func(ev loop.Events) {
			var b [1]byte
			switch n, _ := unix.Read(fds[0], b[:]); n {
			case 1:
				if b[0] == all[0] && ev&loop.Left != 0 {
					t.Errorf("of %q it is told by %v", b[0], ev)
				}
				read <- b[0]
				l.Doubt(r, uintptr(fds[0]))
			case 0:
				end <- struct{}{}
			}
		}))
		must(t, err)
		unix.Write(fds[1], []byte(all))
		start(t, l)
		for _, c := range []byte(all) {
			if got := sockettest.Done(t, "the next byte is told of", read); got != c {
				t.Errorf("it has read %q, want %q", got, c)
			}
		}
		unix.Shutdown(fds[1], unix.SHUT_WR)
		sockettest.Done(t, "the end is told of", end)
	})
}

// A loop that always has something to do settles doubts all the same, and more of them than one call asks for.
func TestDoubtsWhileTheLoopIsBusy(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		const pairs = 600
		done := make(chan int, pairs)
		for i := range pairs {
			fds := socketPair(t)
			var r loop.Registration
			told := 0
			r, err := l.Register(uintptr(fds[0]), loop.Readable, handlerFunc(func(loop.Events) {
				if told++; told == 1 {
					l.Doubt(r, uintptr(fds[0])) // and reads nothing
				} else {
					l.Unregister(r, uintptr(fds[0]), true)
					done <- i
				}
			}))
			must(t, err)
			unix.Write(fds[1], []byte("x"))
		}
		busy := socketPair(t)
		unix.Write(busy[1], []byte("x"))
		n, err := l.Notify(uintptr(busy[0]), loop.Readable, func(loop.Events) {}) // ready for ever
		must(t, err)
		start(t, l)
		var got []int
		for range pairs {
			got = append(got, sockettest.Done(t, "another is told of again", done))
		}
		slices.Sort(got)
		for i, pair := range got {
			if pair != i {
				t.Fatalf("pair %d is missing among those that were told of twice", i)
			}
		}
		must(t, n.Close())
	})
}

// Doubts about a descriptor that is closed and whose number is another's by now reach nobody, while others are asked about twice.
func TestDoubtsEndWithTheRegistration(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		old, next, other := socketPair(t), socketPair(t), socketPair(t)
		unix.Write(next[1], []byte("x"))
		told := make(chan string, 10)
		var r loop.Registration
		r, err := l.Register(uintptr(old[0]), loop.Readable, handlerFunc(func(loop.Events) {
			l.Doubt(r, uintptr(old[0]))
			l.Unregister(r, uintptr(old[0]), true)
			must(t, unix.Dup2(next[0], old[0]))
			told <- "old"
		}))
		must(t, err)
		unix.Write(old[1], []byte("x"))
		asked, calls := make(chan struct{}), 0
		var later loop.Registration
		start(t, l)
		sockettest.Done(t, "the first is told of", told)
		on(t, l, func() {
			later, err = l.Register(uintptr(other[0]), loop.Readable, handlerFunc(func(loop.Events) {
				if calls++; calls < 3 {
					l.Doubt(later, uintptr(other[0])) // of what it leaves
				} else if calls == 3 {
					close(asked)
				}
			}))
			must(t, err)
		})
		unix.Write(other[1], []byte("x"))
		sockettest.Done(t, "the other is asked about twice", asked)
		if len(told) > 0 {
			t.Errorf("the handler of a registration that is over was told of what is not its own")
		}
	})
}

// Whoever hears of little is not woken for doubts, but for a few. Whoever hears much is, though each time a sleep has ended with one event.
func TestDoubtsPayIfMuchIsHeard(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		pay := func(events int) (n int) {
			for range events {
				if l.DoubtPays() {
					n++
				}
			}
			return n
		}
		if pay(10) != 10 {
			t.Error("doubts do not pay though the loop has not slept")
		}
		l.Lone()
		if n := pay(1000); n < 1 || n > 10 {
			t.Errorf("in a first round %d of 1000 doubts pay, want a few", n)
		}
		for _, events := range []int{1000, 100} {
			l.NextRound()
			if n := pay(events); n != events {
				t.Errorf("after a round of much %d of %d doubts pay, want all", n, events)
			}
		}
		pay(1)
		for range 2 { // at the end of the first it was much
			l.NextRound()
			pay(1)
		}
		if n := pay(10); n != 0 {
			t.Errorf("after a round of little %d of 10 doubts pay, want none", n)
		}
	})
}

// In one round of 16 who doubts also finds out at once, the first time.
func TestDoubtsAreSampled(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		fds := socketPair(t)
		type samples struct{ first, next bool }
		told := make(chan samples, 1)
		var r loop.Registration
		r, err := l.Register(uintptr(fds[0]), loop.Readable, handlerFunc(func(loop.Events) {
			if n, _ := unix.Read(fds[0], make([]byte, 1)); n <= 0 {
				return
			}
			var s samples
			s.first = l.Samples(r)
			l.Doubt(r, uintptr(fds[0]))
			s.next = l.Samples(r)
			l.NextRound() // and not when the doubt has grown old
			told <- s
		}))
		must(t, err)
		start(t, l)
		sampled, others := 0, 0
		for sampled < 2 && others < 300 { // rounds end by themselves, too
			unix.Write(fds[1], []byte("x"))
			s := sockettest.Done(t, "it is told", told)
			switch {
			case s.next:
				t.Error("what is doubted already is sampled")
			case s.first:
				sampled++
			default:
				others++
			}
		}
		if sampled < 2 || others < 2 {
			t.Errorf("%d first doubts are sampled and %d are not, want 2 and some", sampled, others)
		}
	})
}

// Where there are many doubts their rounds are longer at once, so that a second never sees many times more of them; among few they are short again.
func TestDoubtsOfManyAreLeftForLonger(t *testing.T) {
	each(t, func(t *testing.T, l *loop.Loop) {
		round := func(doubts int) time.Duration {
			for range doubts / 2 {
				for _, fd := range socketPair(t) {
					r, err := l.Register(uintptr(fd), loop.Readable, handlerFunc(func(loop.Events) {}))
					must(t, err)
					l.Doubt(r, uintptr(fd))
				}
			}
			l.NextRound()
			return l.Round()
		}
		few := round(10)
		for _, tt := range []struct{ doubts, least, most int }{{300, 3, 10}, {1100, 16, 16}, {10, 1, 1}, {0, 1, 1}} {
			if got := round(tt.doubts); got < time.Duration(tt.least)*few || got > time.Duration(tt.most)*few {
				t.Errorf("after a round of %d doubts the next is %v, want %d to %d times %v", tt.doubts, got, tt.least, tt.most, few)
			}
		}
	})
}
