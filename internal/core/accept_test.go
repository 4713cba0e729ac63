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

// listenToTheLast has a server listen with a lastListener that has one connection. It is asked about by admit, and received by incoming, if they are not nil.
func listenToTheLast(t *testing.T, admit func() error, incoming func(*Server[net.Conn], sock.Descriptor)) *Server[net.Conn] {
	l := &lastListener{conns: make(chan net.Conn, 1)}
	near, far := net.Pipe()
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	l.conns <- near
	close(l.conns)
	s := new(Server[net.Conn])
	s.Init(&Hooks[net.Conn]{
		Take:    func(*net.Conn, *Home) error { return nil },
		Release: func(*net.Conn) sock.Descriptor { return sock.FromFd(42) },
		Discard: func(c *net.Conn) { (*c).Close() },
	})
	if incoming != nil {
		s.SetIncoming(func(d sock.Descriptor) { incoming(s, d) })
	}
	must(t, s.Listen("fake", func() (Listener[net.Conn], func(*net.Conn) error, error) {
		n := NewNetListener(l, "fake", func(c net.Conn) (*net.Conn, error) { return &c, nil })
		if admit == nil {
			return n, nil, nil
		}
		return n, func(*net.Conn) error { return admit() }, nil
	}))
	t.Cleanup(func() { s.Close() })
	return s
}

func TestServerKeepsWhatIsBeingAdmittedWhenItsListenerEnds(t *testing.T) {
	for _, overridden := range []bool{false, true} {
		given := make(chan sock.Descriptor, 1)
		var incoming func(*Server[net.Conn], sock.Descriptor)
		if overridden {
			incoming = func(_ *Server[net.Conn], d sock.Descriptor) { given <- d }
		}
		asked, ended := make(chan bool), make(chan bool)
		s := listenToTheLast(t, func() error {
			close(asked)
			<-ended
			return nil
		}, incoming)
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
		sockettest.Done(t, "somebody is asked", asked)
		sockettest.Eventually(t, "another one meets the end", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.ending != nil || s.l == nil
		})
		close(ended)
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
	}
}

// An override that waits for another connection is told that there will be none, which nobody else is told before it has returned.
func TestServerOverrideThatWaitsWhenItsListenerEnds(t *testing.T) {
	for name, wait := range map[string]func(*Server[net.Conn]) error{
		"Accept":  func(s *Server[net.Conn]) error { _, err := s.Accept(context.Background(), "fake"); return err },
		"WaitNew": func(s *Server[net.Conn]) error { return s.WaitNew(sock.Forever, "fake") },
	} {
		waited := make(chan error, 1)
		listenToTheLast(t, nil, func(s *Server[net.Conn], _ sock.Descriptor) { waited <- wait(s) })
		if err := sockettest.Done(t, name+" returns", waited); sock.CodeOf(err) != sock.UnknownSocketError {
			t.Errorf("%s: %v; want the listener's end", name, err)
		}
	}
}
