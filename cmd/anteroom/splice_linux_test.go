package main

import (
	"bytes"
	"crypto/rand"
	"io"
	"sync/atomic"
	"testing"

	"anteroom/internal/sockettest"
	"golang.org/x/sys/unix"
)

// linked returns two clients, and the link between what they are connected to.
func linked(t *testing.T, from, to string) (one, other conn, l *link) {
	t.Helper()
	l = new(link)
	clients := make([]conn, 2)
	for i, kind := range []string{from, to} {
		srv, at := serverOf(t, kind)
		clients[i] = dialed(t, at)
		l.sides[i] = accepted(t, srv)
	}
	return clients[0], clients[1], l
}

func systemSplice(from, to, n int) (int, error) {
	moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_NONBLOCK)
	return max(int(moved), 0), err
}

// Bytes are spliced, or copied where the system refuses: at once, or when they are in the pipe already; and where there are no more pipes.
// None is lost in any case.
func TestLinkSplices(t *testing.T) {
	isPipe := func(fd int) bool {
		var st unix.Stat_t
		return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
	}
	for _, test := range []struct {
		name   string
		splice func(spliced *atomic.Int64) func(from, to, n int) (int, error)
		prep   func(*vessels)
		copied bool
	}{
		{name: "splice", splice: func(spliced *atomic.Int64) func(int, int, int) (int, error) {
			return func(from, to, n int) (int, error) {
				moved, err := systemSplice(from, to, n)
				if isPipe(from) {
					spliced.Add(int64(moved))
				}
				return moved, err
			}
		}},
		{name: "in small pieces", splice: func(spliced *atomic.Int64) func(int, int, int) (int, error) {
			return func(from, to, n int) (int, error) {
				moved, err := systemSplice(from, to, min(n, 1000))
				if isPipe(from) {
					spliced.Add(int64(moved))
				}
				return moved, err
			}
		}},
		{name: "refused", copied: true, splice: func(*atomic.Int64) func(int, int, int) (int, error) {
			return func(int, int, int) (int, error) { return 0, unix.EINVAL }
		}},
		{name: "refused when in the pipe", copied: true, splice: func(*atomic.Int64) func(int, int, int) (int, error) {
			return func(from, to, n int) (int, error) {
				if isPipe(from) {
					return 0, unix.EINVAL
				}
				return systemSplice(from, to, n)
			}
		}},
		{name: "no pipes", copied: true, prep: func(p *vessels) { p.pipes.made = maxPipes }},
	} {
		ofKinds(t, func(t *testing.T, from, to string) {
			one, other, l := linked(t, from, to)
			var p vessels
			var spliced atomic.Int64
			if test.splice != nil {
				p.pipes.splice = test.splice(&spliced)
			}
			if test.prep != nil {
				test.prep(&p)
			}
			before := p.pipes.made
			ran := sockettest.Go(func() error { return l.run(&p) })
			data := make([]byte, 3<<20)
			rand.Read(data)
			sent := sockettest.Go(func() error {
				if _, err := one.Write(data); err != nil {
					return err
				}
				return one.CloseWrite()
			})
			got, err := io.ReadAll(other)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: got %d bytes of %d, or others: %v", test.name, len(got), len(data), err)
			}
			other.CloseWrite()
			if err := sockettest.Done(t, "sending", sent); err != nil {
				t.Error(err)
			}
			if err := sockettest.Done(t, "the link's end", ran); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			want := len(data)
			if test.copied {
				want = 0
			}
			if test.splice != nil && int(spliced.Load()) != want {
				t.Errorf("%s: %d bytes were spliced, and not %d", test.name, spliced.Load(), want)
			}
			if n := l.carried[0].Load(); n != int64(len(data)) {
				t.Errorf("%s: %d bytes are counted", test.name, n)
			}
			p.close()
			if p.pipes.made != before {
				t.Errorf("%s: %d pipes are left", test.name, p.pipes.made)
			}
		})
	}
}

// What was taken before a connection broke off is sent.
func TestLinkSendsBeforeItBreaksOff(t *testing.T) {
	one, other, l := linked(t, "tcp", "local")
	var p vessels
	defer p.close()
	var source atomic.Int32 // the descriptor that the bytes have come from
	p.pipes.splice = func(from, to, n int) (int, error) {
		if source.Load() == int32(from) {
			return 0, unix.ECONNRESET
		}
		moved, err := systemSplice(from, to, n)
		if moved > 0 {
			source.CompareAndSwap(0, int32(from))
		}
		return moved, err
	}
	io.WriteString(one, "hello")
	ran := sockettest.Go(func() error { return l.run(&p) })
	if b, err := io.ReadAll(other); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := sockettest.Done(t, "the link's end", ran); err == nil {
		t.Error("nothing went wrong")
	}
}

// A pipe that could not be emptied is not given to the next connection.
func TestPipesAreEmpty(t *testing.T) {
	var p pipes
	v, ok := p.get().(*pipe)
	if !ok {
		t.Skip("the system gives no pipe of a useful size")
	}
	if _, err := unix.Write(v.w, []byte("left")); err != nil {
		t.Fatal(err)
	}
	v.n = 4
	p.put(v)
	if len(p.free) != 0 || p.made != 0 {
		t.Errorf("%d are free, %d made", len(p.free), p.made)
	}
	a, b := p.get(), p.get()
	p.put(a)
	if c := p.get(); c != a {
		t.Error("an empty one is not used again")
	}
	p.put(a)
	p.put(b)
	p.close()
	if p.made != 0 {
		t.Errorf("%d are left", p.made)
	}
}
