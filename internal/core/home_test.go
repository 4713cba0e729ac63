//go:build unix

package core

import (
	"context"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// adoptPair gives s one end of a new connection, and returns the other.
func adoptPair(t testing.TB, s *Socket) (peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	must(t, unix.SetNonblock(fds[0], true))
	tr, err := NewTransport(fds[0])
	must(t, err)
	must(t, s.Adopt("adopt", nil, tr, sock.ReadWrite))
	return fds[1]
}

// A callback that writes, and then closes its socket and moves it elsewhere, leaves to others the place where writes are gathered.
func TestHomeOfWhoHasMoved(t *testing.T) {
	t.Run("without a flow", func(t *testing.T) { homeOfWhoHasMoved(t, func(*Socket) {}) })
	t.Run("with a flow", func(t *testing.T) { homeOfWhoHasMoved(t, func(s *Socket) { s.Peek(1) }) })
}

func homeOfWhoHasMoved(t *testing.T, before func(*Socket)) {
	l, err := loop.New()
	must(t, err)
	defer l.Close()
	var first, second *Socket
	stays := make(chan bool, 1)
	home := NewHome(l, true, &Handler{ReadyRead: func(s *Socket) {
		before(s)
		s.ReadAvailable(make([]byte, 10))
		s.WriteBuffered([]byte("bye"))
		if s == first {
			s.Close()
			must(t, s.SetHome("move", nil))
			return
		}
		stays <- s.staged
		l.Close()
	}})
	for _, s := range []**Socket{&first, &second} {
		*s = new(Socket)
		must(t, (*s).SetHome("settle", home))
		peer := adoptPair(t, *s)
		defer unix.Close(peer)
		defer (*s).Abort()
		if _, err := unix.Write(peer, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	must(t, l.Run(context.Background()))
	if !<-stays {
		t.Error("what the second has written is not gathered")
	}
}

// The goroutine that watches a connection on behalf of its callbacks goes when one of them gives the socket a connection at a loop.
func TestHomeNeedsNoWatcher(t *testing.T) {
	l, err := loop.New()
	must(t, err)
	defer l.Close()
	home, s := NewHome(l, true, nil), new(Socket)
	defer s.Abort()
	moved := make(chan int, 1)
	s.OnReadyRead(func() {
		s.Abort()
		must(t, s.SetHome("move", home))
		moved <- adoptPair(t, s)
	})
	peer := adoptPair(t, s)
	defer unix.Close(peer)
	if _, err := unix.Write(peer, []byte("x")); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sockettest.Done(t, "the socket has moved", moved))
	sockettest.Eventually(t, "nobody watches", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.flow.watching
	})
}
