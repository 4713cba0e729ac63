//go:build unix

package poll_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"anteroom/internal/poll"
	"anteroom/internal/sockettest"
	"golang.org/x/sys/unix"
)

const read, write, hangup = poll.Readable, poll.Writable, poll.Hangup

// pair returns two connected non-blocking sockets, closed when the test ends.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		must(t, unix.SetNonblock(fd, true))
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// events returns what Poll says now, by token. What a system tells in several events is put together.
func events(t *testing.T, p poll.Poller) map[uint64]poll.Events {
	t.Helper()
	ready := make([]poll.Event, poll.Batch)
	n, err := p.Poll(ready)
	must(t, err)
	told := make(map[uint64]poll.Events)
	for _, ev := range ready[:n] {
		told[ev.Token] |= ev.Events
	}
	return told
}

// expect fails the test unless Poll says exactly this of the token, and of no other. The portable Poller says again what has not changed, when
// some time has passed, and may call any bytes a hang-up.
func expect(t *testing.T, p poll.Poller, token uint64, want poll.Events) {
	t.Helper()
	told := events(t, p)
	if got := told[token]; got != want || len(told) > 1 || want == 0 && len(told) > 0 {
		t.Fatalf("told: %v; want %v of %d", told, want, token)
	}
}

func send(t *testing.T, fd int) {
	t.Helper()
	_, err := unix.Write(fd, []byte("x"))
	must(t, err)
}

func receive(t *testing.T, fd int) {
	t.Helper()
	_, err := unix.Read(fd, make([]byte, 100))
	must(t, err)
}

func TestEdges(t *testing.T) {
	each(t, func(t *testing.T, p poll.Poller) {
		a, b := pair(t)
		const token = 7<<32 | 1
		must(t, p.Add(a, token, read, true))
		expect(t, p, token, 0)
		for range 3 {
			send(t, b)
			expect(t, p, token, read)
			expect(t, p, token, 0) // told once
			receive(t, a)
			expect(t, p, token, 0)
		}
		send(t, b)
		expect(t, p, token, read)
		must(t, p.Modify(a, token+1, read|write, true))
		expect(t, p, token+1, read|write) // told again, with what is new
		receive(t, a)
		must(t, p.Modify(a, token, read, true))
		expect(t, p, token, 0)
		must(t, unix.Shutdown(b, unix.SHUT_WR))
		expect(t, p, token, read|hangup)
		must(t, p.Remove(a, false))
		must(t, p.Add(a, token+2, read, true)) // what is ready already counts
		expect(t, p, token+2, read|hangup)
		must(t, p.Remove(a, false))
		expect(t, p, token, 0)
	})
}

func TestLevels(t *testing.T) {
	each(t, func(t *testing.T, p poll.Poller) {
		a, b := pair(t)
		must(t, p.Add(a, 1, read, false))
		expect(t, p, 1, 0)
		send(t, b)
		for range 3 {
			expect(t, p, 1, read)
		}
		must(t, p.Modify(a, 2, write, false))
		for range 3 {
			expect(t, p, 2, write)
		}
		must(t, p.Modify(a, 3, read, false))
		receive(t, a)
		expect(t, p, 3, 0)
	})
}

// A full socket is writable again when the other end has read: one edge, and not before.
func TestRoom(t *testing.T) {
	each(t, func(t *testing.T, p poll.Poller) {
		a, b := pair(t)
		chunk := make([]byte, 4096)
		for {
			if _, err := unix.Write(a, chunk); err == unix.EAGAIN {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		must(t, p.Add(a, 1, write, true))
		expect(t, p, 1, 0)
		for {
			if _, err := unix.Read(b, chunk); err == unix.EAGAIN {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		expect(t, p, 1, write)
	})
}

// A socket that is registered, changed or removed while somebody waits counts at once.
func TestChangesWhileWaiting(t *testing.T) {
	each(t, func(t *testing.T, p poll.Poller) {
		a, b := pair(t)
		c, d := pair(t)
		must(t, p.Add(c, 9, read, true)) // and then there is nothing of it any more
		waiting := sockettest.Go(func() []poll.Event {
			ready := make([]poll.Event, 8)
			for {
				if n, err := p.Wait(ready, -1); n > 0 || err != nil {
					return ready[:n]
				}
			}
		})
		must(t, p.Add(a, 1, write, false))
		if got := sockettest.Done(t, "Wait tells of a socket that was added meanwhile", waiting); len(got) != 1 || got[0] != (poll.Event{Token: 1, Events: write}) {
			t.Fatalf("told: %v", got)
		}
		must(t, p.Modify(a, 2, read, false))
		waiting = sockettest.Go(func() []poll.Event {
			ready := make([]poll.Event, 8)
			for {
				if n, err := p.Wait(ready, -1); n > 0 || err != nil {
					return ready[:n]
				}
			}
		})
		must(t, p.Remove(c, false))
		send(t, d)
		send(t, b)
		if got := sockettest.Done(t, "Wait tells of a byte", waiting); len(got) != 1 || got[0].Token != 2 {
			t.Fatalf("told: %v; want of the socket that was not removed", got)
		}
	})
}

// More are ready than one call has room for: each has its turn.
func TestManyReady(t *testing.T) {
	for _, edge := range []bool{true, false} {
		each(t, func(t *testing.T, p poll.Poller) {
			left := make(map[uint64]int)
			for token := uint64(1); token <= poll.Batch+50; token++ {
				a, b := pair(t)
				must(t, p.Add(a, token, read, edge))
				left[token] = a
				send(t, b)
			}
			ready := make([]poll.Event, 10)
			for calls := 0; len(left) > 0; calls++ {
				if calls == 1000 {
					t.Fatalf("%d sockets are never told of", len(left))
				}
				n, err := p.Poll(ready)
				must(t, err)
				for _, ev := range ready[:n] {
					if fd, ok := left[ev.Token]; ok {
						receive(t, fd)
						delete(left, ev.Token)
					} else {
						t.Fatalf("told again of %d, which has nothing", ev.Token)
					}
				}
			}
		})
	}
}

// What has closed, or is no descriptor, is refused or forgotten, and does no harm.
func TestStrangeDescriptors(t *testing.T) {
	each(t, func(t *testing.T, p poll.Poller) {
		a, _ := pair(t)
		must(t, p.Add(a, 1, read, true))
		if err := p.Add(a, 2, write, true); !errors.Is(err, poll.ErrExists) {
			t.Errorf("Add again: %v; want ErrExists", err)
		}
		for _, fd := range []int{-1, 1 << 20} {
			if err := p.Add(fd, 1, read, true); !errors.Is(err, unix.EBADF) {
				t.Errorf("Add(%d): %v; want EBADF", fd, err)
			}
		}
		must(t, p.Remove(a, false))
		if err := p.Remove(a, false); err == nil {
			t.Error("Remove of what is not watched succeeds")
		}
		if err := p.Modify(a, 1, read, false); err == nil {
			t.Error("Modify of what is not watched succeeds")
		}
		number := func() int { // of a descriptor that is closed by whoever calls this
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			must(t, err)
			unix.Close(fds[1])
			return fds[0]
		}
		old := number()
		must(t, p.Add(old, 3, read|write, false))
		p.Remove(old, true)
		unix.Close(old)
		again := number()
		defer unix.Close(again)
		if again != old {
			t.Skip("the system does not use numbers again at once")
		}
		must(t, p.Add(again, 4, write, false))
		if told := events(t, p); told[4]&write == 0 || len(told) > 1 {
			t.Errorf("told: %v; want that 4 is writable", told)
		}
	})
}

// What is told of and left as it is keeps nobody awake, and the portable Poller comes back to it.
func TestPortableComesBack(t *testing.T) {
	p, err := poll.OpenPortable()
	must(t, err)
	defer p.Close()
	a, b := pair(t)
	must(t, p.Add(a, 1, read, true))
	must(t, unix.Shutdown(b, unix.SHUT_RDWR)) // a hang-up, which poll(2) tells of unasked
	ready := make([]poll.Event, 8)
	calls, told := 0, 0
	for begin := time.Now(); time.Since(begin) < 100*time.Millisecond; calls++ {
		n, err := p.Wait(ready, time.Second)
		must(t, err)
		told += n
	}
	if told < 2 || calls > 200 {
		t.Errorf("told %d times in %d calls; want a few of each", told, calls)
	}
}

func TestRegularFile(t *testing.T) {
	f, err := os.CreateTemp(sockettest.Dir(t), "")
	must(t, err)
	defer f.Close()
	each(t, func(t *testing.T, p poll.Poller) {
		if err := p.Add(int(f.Fd()), 1, read, true); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Add of a regular file: %v; want nil, or an error that Is ErrUnsupported", err)
		}
	})
}
