package core

import (
	"syscall"
	"time"

	"anteroom/loop"
	"anteroom/sock"
)

// A Home is a loop on which sockets live, and what they share there. At a loop a socket has no goroutine: the loop tells it of events, and
// is where its callbacks run. Its descriptor is watched for bytes and the end from the time that it is attached; for room to write only while
// some is wanted.
//
// Watching is edge-triggered, and a read that has not filled its buffer has left nothing. Where descriptors may come with the bytes a read also
// stops at them, which the loop finds out a little later.
type Home struct {
	loop   *loop.Loop
	all    *Handler // what all of its sockets tell; nil: nothing
	heard  uint8    // the signals that it is told of, as a set of bits
	passes bool     // descriptors may come with the bytes, at which a read stops

	// What the callback that runs has written to its own socket, which is sent in one piece when it has returned. Guarded by that socket's
	// mutex; owner is for the loop's goroutine alone.
	out   []byte
	owner *Socket

	fresh *newcomers // nil: there never were any. For the loop's goroutine alone
}

// NewHome returns a home at l for sockets of one kind, which pass descriptors or not, and which all tell what all says, if that is not nil.
func NewHome(l *loop.Loop, passes bool, all *Handler) *Home {
	return &Home{loop: l, passes: passes, all: all, heard: all.heard()}
}

// A trust is how much a connection's edges are relied on to tell of all bytes.
type trust uint8

const (
	untried trust = iota // nothing was read, and perhaps nothing ever will be again
	trusted
	wary // bytes were there of which no edge told, or will tell: who has read looks whether there are more
)

// here reports whether this is the loop's goroutine.
func (h *Home) here() bool { return h.loop.OnLoop() }

// mostStaged is how much a callback's writes may gather before they are sent.
const mostStaged = 64 << 10

// stage gathers p, and reports false if it cannot. s's mu held.
func (h *Home) stage(s *Socket, p []byte) bool {
	gathered := 0
	if s.staged {
		gathered = len(h.out)
	}
	if !s.cb.running() || s.flow != nil && (s.flow.wbuf.len() > 0 || s.flow.writer != nil) || gathered+len(p) > mostStaged || !h.here() {
		return false
	}
	if !s.staged {
		if h.owner != nil && h.owner != s && !h.abandoned() {
			return false
		}
		h.owner, h.out, s.staged = s, h.out[:0], true
	}
	h.out = append(h.out, p...)
	if s.flow != nil {
		s.flow.sent = 0
	}
	return true
}

// abandoned reports whether the owner has left what it has written to others, and gone to another home perhaps.
func (h *Home) abandoned() bool {
	o := h.owner
	if !o.mu.TryLock() { // somebody is at work there: the caller can do without out
		return false
	}
	defer o.mu.Unlock()
	return !o.staged || o.home != h
}

// flush sends what the callback that has returned has written to s. mu held.
func (h *Home) flush(s *Socket) {
	if h.owner == s {
		h.owner = nil
		s.unstage()
	}
}

// A loopSide is the Transport of a socket at a loop.
type loopSide Socket

func (t *loopSide) Pollers() (Poller, Poller) { return nil, nil }
func (t *loopSide) Fd() uintptr               { return uintptr(t.fd - 1) }
func (t *loopSide) Close() error              { return nil } // leave closes

func (t *loopSide) SyscallConn() (syscall.RawConn, error) {
	f := (*Socket)(t).flows()
	if f.hold == nil {
		f.hold = new(hold)
	}
	return &loopConn{(*Socket)(t), f.hold, t.epoch}, nil
}

// A hold keeps a descriptor at a loop open while functions use it that may also call the socket. The socket's mu guards it.
type hold struct {
	users int
	left  bool // the connection has ended: the last user closes the descriptor
}

// A loopConn is the raw connection of a socket at a loop. To wait there are the gates.
type loopConn struct {
	s     *Socket
	hold  *hold
	epoch uint32
}

func (c *loopConn) Control(f func(fd uintptr)) error {
	s := c.s
	s.mu.Lock()
	if s.t == nil || s.epoch != c.epoch {
		defer s.mu.Unlock()
		return s.notConnected("control")
	}
	fd := s.t.Fd()
	c.hold.users++
	s.mu.Unlock()
	defer func() { // also if f panics
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.hold.users--; c.hold.users == 0 && c.hold.left {
			sock.FromFd(fd).Close()
		}
	}()
	f(fd)
	return nil
}

func (c *loopConn) Read(func(fd uintptr) bool) error  { return syscall.EINVAL }
func (c *loopConn) Write(func(fd uintptr) bool) error { return syscall.EINVAL }

// SetHome has the socket's next connection live on a loop, or, if home is nil, at the runtime's poller. It fails unless it is unconnected.
func (s *Socket) SetHome(op string, home *Home) error {
	s.mu.Lock()
	if s.state != sock.UnconnectedState {
		err := s.newError(op, sock.OperationError, &stateError{s.state})
		s.mu.Unlock()
		return err
	}
	s.home, s.summoned = home, false // what was posted to another loop, which may run no more, does not count
	if s.flow != nil {
		s.flow.flushing, s.flow.cut = false, false
	}
	s.unlock()
	return nil
}

// register has the loop watch a connected socket, which changes nothing of it. mu held, without which the loop finds nothing there, until settle;
// after an error fd is still the caller's.
func (s *Socket) register(fd int, on loop.Events) (loop.Registration, error) {
	return s.home.loop.Register(uintptr(fd), on, s)
}

// Newcomers are connections that a callback has taken, and that the loop does not watch yet: it does when the callback has returned. Many have ended
// by then, since a server has refused them, or has said all it has to say, and these cost two system calls less.
type newcomers struct {
	sockets []*Socket
	watch   func()
}

// welcome makes s, which was settled without being watched, a newcomer. It is called on the loop's goroutine.
func (h *Home) welcome(s *Socket) {
	if h.fresh == nil {
		h.fresh = &newcomers{watch: h.watchNewcomers}
	}
	if h.fresh.sockets = append(h.fresh.sockets, s); len(h.fresh.sockets) == 1 {
		h.loop.Post(h.fresh.watch)
	}
}

func (h *Home) watchNewcomers() {
	n := h.fresh
	defer func() {
		if len(n.sockets) > 0 { // a callback that was told of a failure has ended the goroutine
			h.loop.Post(n.watch)
		}
	}()
	for last := len(n.sockets) - 1; last >= 0; last = len(n.sockets) - 1 {
		s := n.sockets[last]
		n.sockets[last] = nil
		n.sockets = n.sockets[:last]
		s.mu.Lock()
		if s.home == h && s.t != nil && s.watch == (loop.Registration{}) {
			var err error
			if s.watch, err = s.register(int(s.fd-1), s.asked); err != nil {
				s.peerEnded("watch", err)
			}
		}
		s.unlock()
	}
}

// settle brings a connected socket to the loop that watches it. mu held.
func (s *Socket) settle(fd int, r loop.Registration) {
	s.fd, s.watch, s.asked = int32(fd)+1, r, loop.Readable
	s.attached((*loopSide)(s))
}

// leave takes the socket from the loop and closes its descriptor. mu held.
func (s *Socket) leave() {
	fd := uintptr(s.fd - 1)
	s.home.loop.Unregister(s.watch, fd, s.lent)
	if f := s.flow; f != nil && f.hold != nil && f.hold.users > 0 {
		f.hold.left = true
	} else {
		sock.FromFd(fd).Close()
	}
	s.fd, s.staged = 0, false
}

// wantRoom has the loop tell when there is room to write. mu held.
func (s *Socket) wantRoom() {
	if s.home != nil && s.t != nil && s.asked&loop.Writable == 0 {
		s.watchFor(loop.Readable | loop.Writable)
	}
}

// watchFor changes what the loop watches for, and has it tell again of what has happened already. mu held.
func (s *Socket) watchFor(on loop.Events) {
	s.asked = on
	if s.watch == (loop.Registration{}) {
		return // a newcomer, of whom the loop will tell what there is when it begins to watch
	}
	s.home.loop.Modify(s.watch, s.t.Fd(), on) // fails only if the loop is closed
}

// tellAgain has the loop tell again of what has arrived. mu held.
func (s *Socket) tellAgain() {
	if s.home != nil && s.t != nil {
		s.watchFor(s.asked)
	}
}

// summon has the loop run the callbacks that are due. mu held.
func (s *Socket) summon() {
	if !s.summoned && s.cb.pending() {
		s.summoned = true
		s.home.loop.Post(s.answer)
	}
}

func (s *Socket) answer() {
	s.mu.Lock()
	s.summoned = false
	s.unlock()
}

// resume goes on, on the loop, after a callback has panicked or ended its goroutine: what it has written is sent, and what was to follow is
// looked for again.
func (s *Socket) resume() {
	s.mu.Lock()
	if s.home != nil {
		s.home.flush(s)
		s.owed = true // of what it has left buffered
	}
	s.unlock()
	s.lookAtLoop()
}

// flushAtLoop is the flusher of a socket at a loop.
func (s *Socket) flushAtLoop() {
	s.mu.Lock()
	f := s.flow
	if s.home == nil { // moved meanwhile
		s.unlock()
		return
	}
	f.flushing, f.cut = false, false
	if s.t != nil && f.wbuf.len() > 0 {
		s.flushPart()
	}
	if s.t != nil && f.wbuf.len() > 0 && s.state == sock.ClosingState {
		s.expire()
	}
	if s.t != nil && f.wbuf.len() == 0 {
		s.flushed(nil)
	}
	s.unlock()
}

// expire ends a closing connection when the write deadline passes. mu held, and let go of while callbacks run.
func (s *Socket) expire() {
	f := s.flow
	switch limit := f.writeDeadline; {
	case limit.IsZero():
	case expired(limit):
		f.wbuf.reset()
		s.failTimeout("write")
		s.flushed(nil)
	case f.expiry == nil:
		f.expiry = time.AfterFunc(time.Until(limit), s.expireLater)
	default:
		f.expiry.Reset(time.Until(limit))
	}
}

func (s *Socket) expireLater() {
	s.mu.Lock()
	if s.home != nil && s.t != nil && s.state == sock.ClosingState && s.flow.wbuf.len() > 0 {
		s.expire()
	}
	s.unlock()
}

// lookAlone returns what to wait for in a direction while the loop stands still. What WriteBuffered holds is sent meanwhile.
func (s *Socket) lookAlone(dir direction) func() (fd uintptr, events int16) {
	return func() (uintptr, int16) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.t == nil {
			return noHandle, 0
		}
		if dir == outward {
			return s.t.Fd(), pollOut
		}
		events := int16(pollIn)
		if f := s.flow; f.wbuf.len() > 0 && f.writer == nil {
			if _, f.broken = s.flushNow(); f.broken != nil {
				f.wbuf.reset()
			}
			if f.wbuf.len() > 0 {
				events |= pollOut
			}
		}
		return s.t.Fd(), events
	}
}
