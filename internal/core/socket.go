package core

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"anteroom/internal/goroutine"
	"anteroom/loop"
	"anteroom/sock"
)

// An Endpoint is what the package above knows of a connection's address.
type Endpoint interface {
	Network() string // for errors: "local", "tcp"
	Addr() net.Addr  // for errors: what was connected to; may be nil
}

// A Socket is one connection after another: a state machine with buffers over a Transport. The zero value is unconnected.
//
// What an idle connection needs stands here; the rest is behind flow, which is made when it is needed.
type Socket struct {
	mu     sync.Mutex
	t      Transport // nil unless connected or closing
	end    Endpoint
	err    *sock.Error // the last one
	cb     dispatcher
	flow   *flow
	home   *Home             // the loop that it lives on; nil: none
	watch  loop.Registration // there
	epoch  uint32            // counts connections and attempts: whoever let go of mu knows whether it is still the same one
	fd     int32             // the descriptor of a connection that nobody has taken yet, or that is at a loop; plus one
	state  sock.State
	mode   sock.OpenMode
	made   bool // there has been a connection since begin
	closed bool // Close was called since begin
	ended  bool // the peer has ended the connection, and a callback, a wait or a never-waiting member has met that
	ending bool // somebody is taking the steps from Connected to Unconnected
	untold bool // the peer's end, which no callback was told

	// At a loop.
	unheard  bool        // something has come that no callback was there to hear
	summoned bool        // the loop is to run what callbacks are due
	asked    loop.Events // what the loop watches for
	full     bool        // the last read has filled its buffer: there may be more
	trust    trust       // in edges
	fills    uint8       // how often bytes were buffered since the callbacks were told; 2: more than once, so that some came meanwhile
	owed     bool        // the loop is to tell the callbacks of what they have left of what they were told of
	staged   bool        // what callbacks have written is in the home's hands
	lent     bool        // others may have a duplicate of the descriptor
}

// A flow is the state of a connection's two directions. With many connections each line of the processor's cache comes from memory: what stands
// together here is needed together, and on 64-bit machines every part that begins with a comment fills one, or begins one.
type flow struct {
	// For each Read.
	readDeadline time.Time
	consumed     int64   // bytes handed out
	limit        int64   // the read buffer's size; 0: no limit
	reader       *readOp // for the next Read; nil: there was none, or it is at work
	begun        uint32  // counts connections and attempts that have begun: what waits for one must not go on at the next
	sends        uint32  // counts what adds to sent
	waited       int64   // bytes that a wait has told of, counted as consumed is

	// The bytes in rbuf came before those that the transport still has; wbuf is WriteBuffered's.
	rbuf, wbuf buffer

	// For each Write.
	writeDeadline time.Time
	writer        *writeOp  // whose bytes are being sent; wbuf must wait
	corpse        Transport // left by a connection that has ended, to be closed once mu is free
	sent          int64
	watching      bool // a goroutine waits on behalf of the callbacks
	flushing      bool // a goroutine sends wbuf, or timer will start one
	cut           bool // the loop goes on sending wbuf in its next turn
	shutWrite     bool // CloseWrite once wbuf is empty
	shutRead      bool // CloseRead
	withheld      bool // the watcher has seen the end, which is told after the bytes before it

	// For a Read that waits.
	in    gate
	told  int64 // bytes that callbacks have heard of, counted as consumed is
	spare *writeOp
	timer *time.Timer // of flushing

	// The first reader.
	own readOp

	// What is needed more rarely.
	out    gate
	broken error       // why wbuf could not be sent while the loop stood still
	expiry *time.Timer // of the write deadline, at a loop
	hold   *hold       // of the descriptor, at a loop; nil: nobody has a raw connection

	attempt *attempt
	due     *dueStep
}

// moves lists the states that may follow each state.
var moves = [...][]sock.State{
	sock.UnconnectedState: {sock.HostLookupState, sock.ConnectingState, sock.ConnectedState},
	sock.HostLookupState:  {sock.ConnectingState, sock.UnconnectedState},
	sock.ConnectingState:  {sock.ConnectedState, sock.UnconnectedState},
	sock.ConnectedState:   {sock.ClosingState, sock.UnconnectedState},
	sock.BoundState:       {},
	sock.ListeningState:   {},
	sock.ClosingState:     {sock.UnconnectedState},
}

func mayMove(from, to sock.State) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// setState moves on, and makes whoever waits look again. mu held.
func (s *Socket) setState(to sock.State) {
	if !mayMove(s.state, to) {
		panic("core: " + s.state.String() + " cannot become " + to.String())
	}
	s.state = to
	s.post(event{sig: sigStateChanged, arg: int64(to)})
	if s.flow != nil {
		s.flow.in.poke()
		s.flow.out.poke()
	}
}

// flows returns the socket's flow. mu held.
func (s *Socket) flows() *flow {
	if s.flow == nil {
		f := new(flow)
		f.in.init(&s.mu)
		f.out.init(&s.mu)
		if s.t != nil {
			f.open(s, s.t)
		}
		s.flow = f
	}
	return s.flow
}

func (f *flow) open(s *Socket, t Transport) {
	in, out := t.Pollers()
	f.in.open(in)
	f.out.open(out)
	if s.home != nil {
		f.in.park(s.home.loop, func() lonePoller { return newLonePoller(s.lookAlone(inward)) }, nil)
		f.out.park(s.home.loop, func() lonePoller { return newLonePoller(s.lookAlone(outward)) }, s.wantRoom)
	}
}

// unlock runs the callbacks that are due and lets go of mu.
func (s *Socket) unlock() {
	if !s.idle() {
		s.fire()
	}
	s.mu.Unlock()
}

// fire closes what has ended and runs the callbacks that are due: here, or, if the socket lives on a loop, there. What they wrote is sent
// when they have returned, as an event loop would. mu held, and let go of meanwhile: the caller must look whether the epoch is still the
// same.
func (s *Socket) fire() {
	if s.idle() {
		return
	}
	for turns := 0; ; turns++ {
		if f := s.flow; f != nil && f.corpse != nil {
			t := f.corpse
			f.corpse = nil
			claimed := s.cb.claim() // or a waiter that is woken by this runs them, and the caller goes on meanwhile
			s.mu.Unlock()
			t.Close()
			s.mu.Lock()
			if claimed {
				s.cb.disclaim()
			}
		}
		if !s.runsHere() || s.home != nil && turns == mostTurns { // others want their turn
			s.summon()
			return
		}
		if !s.cb.pending() {
			return
		}
		if s.home == nil {
			epoch, before := s.epoch, s.readSoFar()
			s.cb.run(&s.mu, s)
			s.flushWritten()
			if f := s.flow; s.epoch == epoch && f != nil && (f.consumed > before || f.withheld) {
				// A callback that reads a part of what there is at each signal gets one for the rest, too, and the end is told of after what it was
				// told of: the watcher looks for that, whoever has run the callback.
				if f.consumed > before {
					f.told = f.consumed
				}
				f.withheld = false
				f.in.tell()
			}
		} else {
			s.runAtLoop()
		}
	}
}

// idle reports whether fire would do nothing. mu held.
func (s *Socket) idle() bool { return s.cb.due == nil && (s.flow == nil || s.flow.corpse == nil) }

// due reports whether fire would do something about callbacks. mu held.
func (s *Socket) due() bool { return s.cb.pending() && (s.runsHere() || !s.summoned) }

// runsHere reports whether callbacks run on this goroutine. mu held.
func (s *Socket) runsHere() bool { return s.home == nil || s.home.here() }

// flushWritten sends what a callback that has returned has written. mu held, and let go of while callbacks run.
func (s *Socket) flushWritten() {
	if s.cb.running() {
		return
	}
	if s.home != nil && s.home.here() {
		s.home.flush(s)
	} else {
		s.unstage() // the callback has run elsewhere: the socket was moved meanwhile, and its new loop has written
	}
	if s.t != nil && s.flow != nil && s.flow.wbuf.len() > 0 {
		s.flushPart()
	}
}

// runElsewhere runs what is due after a callback has panicked or ended its goroutine. mu is not held.
func (s *Socket) runElsewhere() {
	if s.home != nil {
		s.home.loop.Post(s.resume)
		return
	}
	go func() {
		s.mu.Lock()
		s.unlock()
	}()
}

// attach gives the socket its transport, or brings that to the loop on which the socket lives. mu held; after an error t is still the caller's.
func (s *Socket) attach(t Transport) error { return s.attachAfter(func() {}, t) }

// attachAfter is attach after begin, which is not called if it fails: then nothing has changed.
func (s *Socket) attachAfter(begin func(), t Transport) error {
	if s.home == nil {
		begin()
		s.attached(t)
		return nil
	}
	fd, copied, err := detach(t)
	if err != nil {
		return err
	}
	r, err := s.register(fd, loop.Readable)
	switch {
	case err == nil:
		begin()
		s.settle(fd, r)
		if copied {
			t.Close()
		}
	case copied:
		sock.FromFd(uintptr(fd)).Close()
	}
	return err
}

func (s *Socket) attached(t Transport) {
	s.t, s.made = t, true
	if s.flow != nil {
		s.flow.open(s, t)
	}
}

// begin forgets the last connection. mu held.
func (s *Socket) begin(end Endpoint, mode sock.OpenMode) {
	s.epoch++
	s.end, s.mode, s.err = end, mode, nil
	s.made, s.closed, s.ended, s.ending, s.untold = false, false, false, false, false
	s.unheard, s.asked, s.full, s.trust, s.owed, s.lent = false, 0, false, untried, false, false
	if f := s.flow; f != nil {
		f.rbuf.reset()
		f.wbuf.reset()
		f.consumed, f.told, f.waited, f.sent = 0, 0, 0, 0
		f.cut, f.shutWrite, f.shutRead, f.withheld, f.broken = false, false, false, false, nil
		f.readDeadline, f.writeDeadline = time.Time{}, time.Time{}
		f.attempt, f.hold = nil, nil
		f.begun++
	}
}

// room returns how many of n bytes the read buffer may still take.
func (f *flow) room(n int64) int64 {
	if f.limit <= 0 {
		return n
	}
	return min(n, max(f.limit-int64(f.rbuf.len()), 0))
}

// unlimited has fill buffer what has arrived whatever the limit: at a connection's end nothing else can keep it, and the system's buffer bounds it.
func (f *flow) unlimited(fill func()) {
	limit := f.limit
	f.limit = 0
	fill()
	f.limit = limit
}

// A dueStep is what a goroutine does next, once the callbacks that it runs have returned.
type dueStep struct {
	step      func(*Socket) // nil: it is done
	epoch     uint32        // of the connection whose step it is
	goroutine uintptr
	next      *dueStep // another goroutine's
}

// then runs the callbacks that are due, and takes the next step if the connection is still the same. A callback that panics or ends its
// goroutine does not keep the step from being taken; one that waits takes it itself. mu held, and let go of while callbacks run.
func (s *Socket) then(step func(*Socket)) {
	if s.idle() {
		step(s)
		return
	}
	f := s.flows()
	d := &dueStep{step, s.epoch, goroutine.ID(), f.due}
	f.due = d
	fired := false
	defer func() {
		if !fired {
			go func() {
				s.mu.Lock()
				s.takeStep(d)
				s.unlock()
			}()
		}
	}()
	s.fire()
	fired = true
	s.takeStep(d)
}

// takeStep takes a step that is due, if nobody has. mu held, and let go of while callbacks run.
func (s *Socket) takeStep(d *dueStep) {
	step := d.step
	if step == nil {
		return
	}
	d.step = nil
	for p := &s.flow.due; *p != nil; p = &(*p).next {
		if *p == d {
			*p = d.next
			break
		}
	}
	if s.epoch == d.epoch {
		step(s)
	}
}

// stepOn is for a callback that is going to wait, perhaps for what only comes of the step that follows it. mu held, and let go of while callbacks
// run.
func (s *Socket) stepOn() {
	if s.flow == nil || s.flow.due == nil {
		return
	}
	here := goroutine.ID()
	for d := s.flow.due; d != nil; {
		if d.goroutine != here {
			d = d.next
			continue
		}
		s.takeStep(d)
		d = s.flow.due
	}
}

// newError returns what a failed op is told to the caller. mu held.
func (s *Socket) newError(op string, code sock.SocketError, cause error) *sock.Error {
	e := &sock.Error{Op: op, Code: code, Err: cause}
	if s.end != nil {
		e.Net, e.Addr = s.end.Network(), s.end.Addr()
	}
	return e
}

// fail notes an error and tells the callbacks. mu held.
func (s *Socket) fail(op string, cause error) error { return s.failCode(op, sock.CodeOf(cause), cause) }

func (s *Socket) failCode(op string, code sock.SocketError, cause error) error {
	e := s.newError(op, code, cause)
	s.err = e
	s.post(event{sig: sigErrorOccurred, arg: int64(code)})
	return e
}

// failTimeout notes that a wait has met its limit. mu held.
func (s *Socket) failTimeout(op string) error { return s.fail(op, os.ErrDeadlineExceeded) }

// superseded says that the connection that something was begun with has gone, and another one has begun. mu held.
func (s *Socket) superseded(op string) error {
	return s.newError(op, sock.OperationError, net.ErrClosed)
}

// notConnected says why there is no connection to use. mu held.
func (s *Socket) notConnected(op string) error {
	switch {
	case s.ended && !s.closed:
		return s.newError(op, sock.RemoteHostClosedError, syscall.EPIPE)
	case s.closed, s.made:
		return s.newError(op, sock.OperationError, net.ErrClosed)
	}
	return s.newError(op, sock.OperationError, syscall.ENOTCONN)
}

// Adopt makes the socket go on with a connection that exists. It fails unless the socket is unconnected, and if its loop does not take the
// connection; t is the caller's then.
func (s *Socket) Adopt(op string, end Endpoint, t Transport, mode sock.OpenMode) error {
	s.mu.Lock()
	if s.state != sock.UnconnectedState {
		err := s.newError(op, sock.OperationError, syscall.EISCONN)
		s.unlock()
		return err
	}
	if err := s.attachAfter(func() { s.begin(end, mode) }, t); err != nil {
		s.unlock()
		return &sock.Error{Op: op, Net: end.Network(), Addr: end.Addr(), Code: sock.CodeOf(err), Err: err}
	}
	s.lent = true // whoever had it may have a duplicate
	s.setState(sock.ConnectedState)
	s.startWatching()
	s.unlock()
	return nil
}

// AdoptCopy is Adopt of a copy of what d stands for: in the end one of them is closed, d if it is adopted, and else t.
func (s *Socket) AdoptCopy(op string, end Endpoint, t Transport, mode sock.OpenMode, d sock.Descriptor) error {
	err := s.Adopt(op, end, t, mode)
	if err == nil {
		d.Close()
	} else {
		t.Close()
	}
	return err
}

// Hold makes a new socket own a connection that nobody has taken yet. It needs no transport until Take.
func (s *Socket) Hold(end Endpoint, fd int) {
	s.end, s.mode, s.state, s.fd = end, sock.ReadWrite, sock.ConnectedState, int32(fd)+1
}

// Release gives up a connection that nobody has taken yet, and the use of the socket, for the connection's descriptor.
func (s *Socket) Release() sock.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := sock.FromFd(uintptr(s.fd - 1))
	s.fd, s.state = 0, sock.UnconnectedState
	return d
}

// held reports whether nobody has taken the connection yet. mu held.
func (s *Socket) held() bool { return s.fd != 0 && s.t == nil }

// Pending returns the descriptor of a connection that Hold has kept and nobody has taken yet.
func (s *Socket) Pending() int { return int(s.fd - 1) }

// Take attaches a connection that Hold has kept: to the loop of home, in whose own callbacks it is a newcomer first, or, if home is nil, to the
// runtime's poller.
func (s *Socket) Take(home *Home) error {
	s.mu.Lock()
	err := s.takeHeld(home)
	s.mu.Unlock()
	return err
}

// takeHeld is Take. mu held.
func (s *Socket) takeHeld(home *Home) error {
	if home != nil && s.home == nil && s.t != nil && s.flow == nil && !s.cb.any() { // one that has a transport, which nobody has used
		t := s.t
		s.t, s.home = nil, home
		if err := s.attach(t); err != nil {
			t.Close()
			return s.newError("accept", sock.CodeOf(err), err)
		}
		return nil
	}
	if !s.held() {
		return nil
	}
	fd := int(s.fd - 1)
	if home != nil {
		s.home = home
		if home.here() {
			s.settle(fd, loop.Registration{})
			home.welcome(s)
			return nil
		}
		r, err := s.register(fd, loop.Readable)
		if err != nil {
			return s.newError("accept", sock.CodeOf(err), err)
		}
		s.settle(fd, r)
		return nil
	}
	t, err := NewTransport(fd)
	if err != nil {
		return s.newError("accept", sock.CodeOf(err), err)
	}
	s.fd = 0
	s.attached(t)
	return nil
}

// State returns the state.
func (s *Socket) State() sock.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Err returns the last error, an *sock.Error, or nil.
func (s *Socket) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return s.err
}

// Endpoint returns what the last connection was told it leads to.
func (s *Socket) Endpoint() Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// Locked calls f with the state, which stays as it is meanwhile; f must not call the socket.
func (s *Socket) Locked(f func(sock.State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.state)
}

// IsValid reports whether there is a connection.
func (s *Socket) IsValid() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t != nil
}

// SocketDescriptor lends the connection's descriptor.
func (s *Socket) SocketDescriptor() sock.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return sock.Descriptor{}
	}
	s.lent = true
	return sock.Lend(s.t.Fd())
}

// Control calls f with the connection's descriptor, which stays open meanwhile; f must not call the socket.
func (s *Socket) Control(op string, f func(fd uintptr) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		return s.notConnected(op)
	}
	s.lent = true
	return f(s.t.Fd())
}
