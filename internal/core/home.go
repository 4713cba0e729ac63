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

func (t *loopSide) SyscallConn() (syscall.RawConn, error) {
	return &loopConn{(*Socket)(t), t.epoch}, nil
}

// A loopConn is the raw connection of a socket at a loop. To wait there are the gates.
type loopConn struct {
	s     *Socket
	epoch uint32
}

func (c *loopConn) Control(f func(fd uintptr)) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.t == nil || c.s.epoch != c.epoch {
		return c.s.notConnected("control")
	}
	f(c.s.t.Fd())
	return nil
}

func (c *loopConn) Read(func(fd uintptr) bool) error  { return syscall.EINVAL }
func (c *loopConn) Write(func(fd uintptr) bool) error { return syscall.EINVAL }

// SetHome has the socket's next connection live on a loop, or, if home is nil, at the runtime's poller. It fails unless it is unconnected.
func (s *Socket) SetHome(op string, home *Home) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != sock.UnconnectedState {
		return s.newError(op, sock.OperationError, &stateError{s.state})
	}
	s.home, s.summoned = home, false // what was posted to another loop, which may run no more, does not count
	if s.flow != nil {
		s.flow.flushing = false
	}
	s.fire()
	return nil
}

// settle brings a connected socket to the loop. mu held; after an error fd is still the caller's.
func (s *Socket) settle(fd int) error {
	s.fd = int32(fd) + 1
	s.attached((*loopSide)(s))
	s.asked = loop.Readable
	r, err := s.home.loop.Register(uintptr(fd), s.asked, s)
	if err != nil {
		s.t, s.made = nil, false
		if s.flow != nil {
			s.flow.in.shut()
			s.flow.out.shut()
		}
		return err
	}
	s.watch = r
	return nil
}

// leave takes the socket from the loop and closes its descriptor. mu held.
func (s *Socket) leave() {
	fd := int(s.fd - 1)
	s.home.loop.Unregister(s.watch, uintptr(fd), s.lent)
	sock.FromFd(uintptr(fd)).Close()
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

// Ready is called by the loop when something has happened to the descriptor.
//
// Nearly always bytes have come of which one function is to be told, and what it has written to the same socket is to be sent. That is done
// here, in one piece; happened, arrived, tell and flushWritten do the same and everything else. A return from a function costs little, but not
// after a system call: the kernel's own returns have made the processor forget where ours lead.
func (s *Socket) Ready(ev loop.Events) {
	s.mu.Lock()
	h := s.home
	if ev != loop.Readable || h == nil || h.heard&(1<<sigReadyRead) == 0 || s.t == nil || s.state != sock.ConnectedState || s.ending ||
		s.cb != (dispatcher{}) || s.flow != nil || s.mode&sock.ReadOnly == 0 || !h.here() {
		s.mu.Unlock()
		s.happened(ev, ev&loop.Hangup != 0 && ev&loop.Left == 0)
		return
	}
	epoch := s.epoch
	s.full, s.fills, s.owed, s.cb.due = false, 0, false, telling
	s.mu.Unlock()
	returned := false
	defer func() {
		if !returned {
			s.cb.goOnElsewhere(&s.mu, s)
		}
	}()
	h.all.ReadyRead(s)
	returned = true
	s.mu.Lock()
	if s.cb.due == telling && !s.full && s.flow == nil && s.home == h {
		s.cb.due = nil
		h.flush(s)
		switch {
		case s.flow != nil:
			s.flushWritten() // which meets what has kept it from being sent
		case s.idle():
			s.mu.Unlock()
			return
		}
	} else {
		s.cb.told(&s.mu, s)
		s.flushWritten()
		if s.left(epoch, 0) {
			s.arrived()
		}
	}
	s.unlock()
}

// happened is what Ready does. hint says that an edge has told of the end, or of an urgent byte.
func (s *Socket) happened(ev loop.Events, hint bool) {
	s.mu.Lock()
	switch {
	case s.t == nil || s.home == nil:
		s.mu.Unlock()
		return
	case !s.home.here(): // it was moved since it asked to be looked at
		s.home.loop.Post(s.lookAtLoop)
		s.mu.Unlock()
		return
	}
	if f := s.flow; f != nil {
		f.in.lookAgain()
		if s.asked&ev&loop.Writable != 0 {
			epoch := s.epoch
			if s.roomMade(); s.epoch != epoch {
				s.unlock()
				return
			}
		}
	}
	switch {
	case s.t == nil || s.state != sock.ConnectedState || s.ending || ev&(loop.Readable|loop.Hangup) == 0:
	case ev&loop.Hangup == 0:
		s.arrived()
	default:
		s.hungUp(hint)
	}
	s.unlock()
}

// roomMade goes on sending. mu held, and let go of while callbacks run.
func (s *Socket) roomMade() {
	f := s.flow
	s.asked &^= loop.Writable
	epoch := s.epoch
	if f.wbuf.len() > 0 && f.writer == nil {
		s.flushOnce() // which wants room again if it needs more
	}
	if s.t == nil || s.epoch != epoch {
		return
	}
	f.out.lookAgain() // a Write that needs more says so itself
	if s.asked&loop.Writable == 0 {
		s.watchFor(s.asked)
	}
}

// mostTurns bounds how often callbacks are told again, in one turn of the loop, because they have left something.
const mostTurns = 16

// arrived tells the callbacks of bytes: once, and again if they have read what fitted and there may be more, or if more was buffered while they
// ran, which no edge tells of any more. mu held, and let go of while
// they run. It reports whether they will be told again.
func (s *Socket) arrived() (again bool) {
	switch {
	case s.mode&sock.ReadOnly == 0:
		s.flows()
		s.fill(-1)
		return false
	case !s.hears(sigReadyRead):
		s.unheard = true
		return false
	case s.cb.running(): // on a goroutine that is going to end
		s.cb.note(event{sig: sigReadyRead})
		return false
	}
	for turns := 1; ; turns++ {
		epoch, before := s.epoch, s.readSoFar()
		s.full, s.fills, s.owed = false, 0, false
		s.cb.tell(&s.mu, sigReadyRead, s)
		s.flushWritten()
		if !s.left(epoch, before) {
			return false
		}
		if turns == mostTurns { // others want their turn
			s.owe()
			return true
		}
	}
}

// left reports whether the callbacks, since the connection was epoch and readSoFar said before, have left something or may have. mu held.
func (s *Socket) left(epoch uint32, before int64) bool {
	switch {
	case s.epoch != epoch || s.t == nil || s.state != sock.ConnectedState || s.ending:
		return false
	case s.leftSome(before), s.fills > 1 && s.flow.rbuf.len() > 0:
		return true
	}
	s.full = s.full && hasBytes(int(s.fd-1))
	return s.full
}

// runAtLoop runs the callbacks that are due, and sees to it that they are told of what they have left, which no edge tells of any more. mu held,
// and let go of while they run.
func (s *Socket) runAtLoop() {
	told := s.cb.willTell(sigReadyRead)
	before, total := s.readSoFar(), s.buffered()
	s.full = false
	s.cb.run(&s.mu, s)
	s.flushWritten()
	switch {
	case s.home == nil:
	case s.leftSome(before), !told && s.buffered() > total:
		s.owe()
	case s.full && s.t != nil:
		s.home.loop.Post(s.lookAtLoop)
	}
}

// buffered returns how many bytes were read or are buffered. mu held.
func (s *Socket) buffered() int64 {
	if s.flow == nil {
		return 0
	}
	return s.flow.consumed + int64(s.flow.rbuf.len())
}

// leftSome reports whether bytes are buffered after some have been read since readSoFar said before. mu held.
func (s *Socket) leftSome(before int64) bool {
	return s.flow != nil && s.flow.rbuf.len() > 0 && s.flow.consumed > before
}

// owe has the loop tell the callbacks again. mu held.
func (s *Socket) owe() {
	if !s.owed && s.t != nil {
		s.owed = true
		s.home.loop.Post(s.lookAtLoop)
	}
}

func (s *Socket) readSoFar() int64 {
	if s.flow == nil {
		return 0
	}
	return s.flow.consumed
}

// hungUp tells the callbacks of the last bytes, and then of the end, if that is it. hint says that a read may stop before all that has arrived. mu
// held, and let go of while callbacks run.
func (s *Socket) hungUp(hint bool) {
	if !s.listened() {
		s.unheard = true
		return
	}
	unread, cause := peek(int(s.fd - 1))
	owed := s.owed && s.flow != nil && s.flow.rbuf.len() > 0
	s.owed = false
	if unread || owed {
		if unread && hint {
			s.trust = wary
		}
		epoch := s.epoch
		if again := s.arrived(); again || s.epoch != epoch || s.t == nil || s.state != sock.ConnectedState || s.ending {
			return
		}
		unread, cause = peek(int(s.fd - 1))
	}
	switch {
	case unread: // nobody wants it now: it is kept
		s.flows()
		if _, cause = s.inspect(); cause == nil {
			return // not all of it: tellAgain follows when some was read
		}
	case cause == nil:
		return // an event of the past
	}
	s.peerEnded("read", cause)
}

// lookAtLoop looks for bytes and the end, on the loop.
func (s *Socket) lookAtLoop() { s.happened(loop.Readable|loop.Hangup, false) }

// flushAtLoop is the flusher of a socket at a loop.
func (s *Socket) flushAtLoop() {
	s.mu.Lock()
	f := s.flow
	if s.home == nil { // moved meanwhile
		s.unlock()
		return
	}
	f.flushing = false
	if s.t != nil && f.wbuf.len() > 0 {
		s.flushOnce()
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

// Close is for the interface alone: leave closes.
func (t *loopSide) Close() error { return nil }
