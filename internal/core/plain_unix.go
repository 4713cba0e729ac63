//go:build unix

package core

import (
	"syscall"

	"anteroom/internal/sysfd"
	"anteroom/sock"
)

// What happens in blocking use nearly always: a connection is at the runtime's poller, one goroutine reads, and what it writes finds room. Read and
// Write are in one piece for this case, and leave all others to readWith and writeWith, which can do everything. With many goroutines each of them
// finds the processor's caches full of what the others and the kernel have left there, so that each function on the way costs some ten nanoseconds,
// and a stack that stays within the 2 KiB it begins with is that much less to come from memory.

// Read is net.Conn's.
func (s *Socket) Read(p []byte) (int, error) {
	s.mu.Lock()
	f := s.flow
	if f == nil {
		f = s.flows()
	}
	g := &f.in
	t, ok := s.t.(*runtimeTransport)
	if !ok || g.led || !g.prompt || len(p) == 0 || s.mode == sock.WriteOnly {
		return s.readWith(p, nil)
	}
	o := f.reader
	if o == nil || o.step == nil {
		o = s.newPlainReader()
	}
	f.reader = nil
	o.p, o.begun = p, f.begun
	g.keeps, g.led, g.limit = true, true, &f.readDeadline
	if g.armed != f.readDeadline {
		g.arm(f.readDeadline)
	}
	var err error
	if t.seated.Load() {
		err = t.raw.Read(o.step)
	} else {
		err = (*readSide)(t).Wait(o.step)
	}
	if !g.keeps {
		s.mu.Lock()
	}
	g.keeps, g.led, g.limit = false, false, nil
	g.lookAgain()
	if err != nil || o.err != nil {
		return s.plainReadFails(o, t, err)
	}
	n := o.n
	f.wasRead(o.looks == 1)
	o.p, o.looks = nil, 0
	f.reader = o
	if !s.idle() {
		s.fire()
	}
	s.mu.Unlock()
	return n, nil
}

// newPlainReader is newReader with a step: the leader's part of an event, as gate.ready is. mu held, and there is a flow.
func (s *Socket) newPlainReader() *readOp {
	o := s.newReader()
	o.step = func(uintptr) (done bool) {
		f := s.flow
		g := &f.in
		if !g.keeps {
			s.mu.Lock()
			g.lookAgain()
		}
		t, ok := s.t.(*runtimeTransport)
		if !ok || s.state != sock.ConnectedState || s.closed || s.ended || f.rbuf.len() > 0 || f.begun != o.begun {
			g.trying = true
			done = o.look()
			g.trying = false
		} else {
			o.looks++
			n, errno := sysfd.Read(t.fd, o.p)
			if done = errno == 0 && n > 0; done {
				o.n, o.err = int(n), nil
			} else if errno != syscall.EAGAIN {
				o.n, o.err = t.hasRead(o.p, n, errno)
				done = !isAgain(o.err)
			}
			if done {
				s.wasConsumed(o.n)
			}
		}
		if g.keeps = done && g.prompt; !g.keeps {
			s.mu.Unlock()
		}
		return done
	}
	return o
}

// plainReadFails goes on where Read's wait has failed with err, or the read with o.err. mu held, and let go of.
func (s *Socket) plainReadFails(o *readOp, t *runtimeTransport, err error) (int, error) {
	f := s.flow
	if err != nil {
		f.in.moved = s.t != t
		if err = f.in.verdict(closedIsNets(err), &f.readDeadline); err == nil {
			err = f.in.await(&f.readDeadline, o.try)
		}
	}
	return s.readEnds(o, err)
}

// Write is net.Conn's.
func (s *Socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	t, ok := s.t.(*runtimeTransport)
	if !ok || s.flow == nil || s.state != sock.ConnectedState || s.mode == sock.ReadOnly || len(p) == 0 || !s.plainOut() {
		return s.writeWith(p, nil)
	}
	n, errno := sysfd.Write(t.fd, p)
	if errno != 0 || int(n) < len(p) {
		return s.plainWriteRest(p, n, errno)
	}
	if !s.idle() {
		s.fire()
	}
	s.mu.Unlock()
	return len(p), nil
}

// plainWriteRest is the rest of a Write that has met errno, or else sent n bytes. mu held, and let go of.
func (s *Socket) plainWriteRest(p []byte, n uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return s.writeRest(p, int(n), nil)
	case syscall.EINTR:
		return s.writeRest(p, 0, nil)
	}
	_, err := failed(errno)
	return s.writeRest(p, 0, err)
}
