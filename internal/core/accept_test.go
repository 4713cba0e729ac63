package core

import (
	"context"
	"errors"
	"net"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/sock"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A lastListener has one connection, and then no more.
type lastListener struct {
	net.Listener // not used
	conns        chan net.Conn
}

func (l *lastListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, &EndError{errors.New("that was the last one")}
}

func (l *lastListener) Addr() net.Addr { return fakeEnd{} }
func (l *lastListener) Close() error   { return nil }

func TestServerKeepsWhatIsBeingAdmittedWhenItsListenerEnds(t *testing.T) {
	for _, overridden := range []bool{false, true} {
		l := &lastListener{conns: make(chan net.Conn, 1)}
		near, far := net.Pipe()
		defer far.Close()
		l.conns <- near
		close(l.conns)
		var s Server[net.Conn]
		s.Init(&Hooks[net.Conn]{
			Take:    func(*net.Conn, *Home) error { return nil },
			Release: func(*net.Conn) sock.Descriptor { return sock.FromFd(42) },
			Discard: func(c *net.Conn) { (*c).Close() },
		})
		given := make(chan sock.Descriptor, 1)
		if overridden {
			s.SetIncoming(func(d sock.Descriptor) { given <- d })
		}
		open := func() (Listener[net.Conn], error) {
			return NewNetListener(l, "fake", func(c net.Conn) (*net.Conn, error) { return &c, nil }), nil
		}
		must(t, s.Listen("fake", open, func(*net.Conn) error {
			sockettest.Eventually(t, "another one meets the end", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.ending != nil || s.l == nil
			})
			return nil
		}))
		taken := make(chan *net.Conn, 2)
		for range 2 {
			go func() {
				c, err := s.Accept(context.Background(), "fake")
				if err != nil && sock.CodeOf(err) != sock.UnknownSocketError {
					t.Errorf("Accept: %v", err)
				}
				taken <- c
			}()
		}
		a := sockettest.Done(t, "Accept has returned", taken)
		b := sockettest.Done(t, "Accept has returned", taken)
		switch {
		case overridden:
			if d := sockettest.Done(t, "the override has been called", given); d != sock.FromFd(42) || a != nil || b != nil {
				t.Errorf("the override got %v, the takers %v and %v", d, a, b)
			}
		case (a == nil) == (b == nil):
			t.Errorf("the takers got %v and %v; want one connection", a, b)
		}
		must(t, s.Close())
		near.Close()
	}
}
