package core

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"anteroom/internal/goroutine"
	"anteroom/loop"
	"anteroom/sock"
)

// A Listener is the system's side of a server. T is the type of the sockets that it accepts.
type Listener[T any] interface {
	Endpoint
	Poller
	// Accept takes a connection from the system's queue and makes a pending socket of it. It does not wait: ErrAgain says that there is
	// none. An EndError says that there never will be one again; any other error may pass.
	Accept() (*T, error)
	// Close stops listening. It may wait for goroutines of the listener's.
	Close() error
	Fd() uintptr
	SyscallConn() (syscall.RawConn, error)
}

// An adopter is a Listener of a descriptor that somebody else may have made. Own is called once the server listens, before it waits or accepts;
// until then Close leaves such a descriptor to its owner.
type adopter interface{ Own() }

// AcceptErrno makes of what the system's accept says what a Listener's Accept returns.
func AcceptErrno(errno syscall.Errno) error {
	if errno == syscall.EAGAIN {
		return ErrAgain
	}
	return errno
}

// An EndError is what Accept returns of a listener that can accept no more.
type EndError struct{ Err error }

func (e *EndError) Error() string { return e.Err.Error() }
func (e *EndError) Unwrap() error { return e.Err }

// Hooks is what a Server asks of the package above, whose sockets it queues.
type Hooks[T any] struct {
	// Take makes a socket that was pending ready for use: on a loop, or, if home is nil, at the runtime's poller.
	Take func(t *T, home *Home) error
	// Release gives up a socket that was pending for its descriptor, which is then the caller's.
	Release func(*T) sock.Descriptor
	// Discard closes a socket that was pending and is not wanted.
	Discard func(*T)
	// Passes says that descriptors may come with a socket's bytes.
	Passes bool
}

// A Server is a queue of connections that were accepted and not taken, and what fills and empties it. T is the socket's type. The zero
// value, given hooks by Init, is ready to listen.
//
// Connections are accepted by whoever waits at the gate: a taker, or, when there is none, a goroutine of the server's own. That one
// steps back when takers wait, so that a connection costs no switch from it to them, and comes back when none has waited for a while.
type Server[T any] struct {
	mu    sync.Mutex
	ready atomic.Bool // Init was called
	hooks *Hooks[T]
	l     Listener[T] // nil unless listening
	last  Listener[T] // the same after Close, for its address
	err   error       // the last one, an *sock.Error
	cb    dispatcher
	gate  gate

	ending error // why the listener can accept no more, while somebody is asked about a connection that it has accepted
	ended  error // the same afterwards: what Accept fails with until Close or Listen

	queue     fifo[T]
	questions []question[T] // of connections that somebody must be asked about first
	runner    uintptr       // the goroutine that runs the callbacks, or has run them last
	handling  int           // accepted, and not yet in the queue or in an override's hands
	waiting   int           // takers and waits
	limit     int
	limited   bool // limit was set
	paused    bool
	admit     func(*T) error
	group     *loop.Group // for the next Listen
	all       *Handler    // for the next Listen
	incoming  func(sock.Descriptor)
	queued    uint64 // counts connections that became pending
	handed    uint64 // counts descriptors given to an override that has made nothing pending
	told      uint64 // of which a wait has told
	deadline  time.Time
	tryAccept func() bool // of a taker, since Listen

	exhausted bool          // out of resources, and told so
	pause     time.Duration // how long the next pause for that is
	resting   bool          // in such a pause
	rest      *time.Timer

	crowd *crowd // the loops; nil: none

	acceptor bool          // the goroutine lives
	recall   *time.Timer   // brings it back
	recalled bool          // recall is set
	patience time.Duration // for how long
	leaves   uint64        // counts takers that left
	seen     uint64        // what leaves was when recall was set
}

// DefaultLimit is how many connections may be pending if nothing else is said.
const DefaultLimit = 30

// Out of resources, accepting goes on after firstPause, then after twice as long each time, but at least every lastPause.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// firstRecall and lastRecall are how long the server looks after its takers' absence before it accepts for them. It looks ever longer while they
// come and go: as long as it looks there is a timer, which costs the runtime more than a system call each time that nothing else is to be done.
const (
	firstRecall = time.Millisecond
	lastRecall  = 16 * time.Millisecond
)

// Init gives the server its hooks. Every other method may follow, in any goroutine.
func (s *Server[T]) Init(hooks *Hooks[T]) {
	if s.ready.Load() { // a connection that comes and goes pays for each
		return
	}
	s.mu.Lock()
	if !s.ready.Load() {
		s.hooks = hooks
		s.gate.init(&s.mu)
		s.ready.Store(true)
	}
	s.mu.Unlock()
}

func (s *Server[T]) unlock() {
	s.run()
	s.mu.Unlock()
}

// run runs the callbacks that are due: here, or, on loops, on the one that accepts. mu held, and let go of meanwhile.
func (s *Server[T]) run() {
	if !s.runsHere() {
		s.summon()
		return
	}
	if s.cb.pending() {
		s.runner = goroutine.ID()
	}
	if s.cb.run(&s.mu, s); !s.runsHere() {
		s.summon()
	}
}

// due reports whether run would do something. mu held.
func (s *Server[T]) due() bool { return s.cb.pending() && (s.runsHere() || !s.crowd.summoned) }

// called reports whether a callback calls, of whom nobody else can be asked anything as long as it waits. mu held.
func (s *Server[T]) called() bool { return s.cb.running() && s.runner == goroutine.ID() }

// runsHere reports whether callbacks run on this goroutine. mu held.
func (s *Server[T]) runsHere() bool { return s.crowd == nil || s.crowd.loop.OnLoop() }

func (s *Server[T]) tellAll(signal, int64) {}

func (s *Server[T]) runElsewhere() {
	go func() {
		s.mu.Lock()
		s.unlock()
	}()
}

// Listen makes the server accept from the listener that open returns, which is called unless the server listens already. Admit, if not nil, decides
// who may come in.
func (s *Server[T]) Listen(network string, open func() (l Listener[T], admit func(*T) error, err error)) error {
	s.mu.Lock()
	defer s.unlock()
	if s.l != nil {
		return &sock.Error{Op: "listen", Net: network, Addr: s.l.Addr(), Code: sock.OperationError, Err: errListening}
	}
	l, admit, err := open()
	if err != nil {
		s.err = err
		return err
	}
	s.l, s.last, s.err, s.ended, s.admit = l, l, nil, nil, admit
	s.deadline, s.told = time.Time{}, s.handed
	s.exhausted, s.resting, s.pause = false, false, firstPause
	s.tryAccept = func() bool {
		if s.l != l || s.queue.len() > 0 {
			return true
		}
		if s.crowd.accepts() {
			return false
		}
		s.accept()
		return s.queue.len() > 0 || s.due() || s.called() && (len(s.questions) > 0 || s.ending != nil)
	}
	if s.crowd, err = newCrowd(s.group, s.hooks.Passes, s.all); err == nil && s.crowd != nil {
		err = s.watch(l)
	}
	if err != nil {
		s.l, s.last, s.crowd = nil, nil, nil
		l.Close()
		s.err = &sock.Error{Op: "listen", Net: network, Addr: l.Addr(), Code: sock.CodeOf(err), Err: err}
		return s.err
	}
	if a, ok := l.(adopter); ok {
		a.Own()
	}
	if s.crowd == nil || s.crowd.notifier == nil {
		s.gate.open(l)
		s.patience = firstRecall
		s.recallSoon()
	}
	return nil
}

var errListening = errors.New("the server is listening already: close it first")

// Close stops listening and closes what is pending.
func (s *Server[T]) Close() error {
	s.mu.Lock()
	l := s.l
	if l == nil && s.ended == nil {
		s.mu.Unlock()
		return nil
	}
	s.err, s.ended = nil, nil
	s.stop()
	queue := s.queue.all()
	for _, q := range s.questions {
		queue = append(queue, q.t)
	}
	s.handling -= len(s.questions)
	s.queue, s.questions = fifo[T]{}, nil
	s.mu.Unlock()
	var err error
	if l != nil {
		err = l.Close()
	}
	for _, t := range queue {
		s.hooks.Discard(t)
	}
	return err
}

// stop forgets the listener, which the caller closes without mu. mu held.
func (s *Server[T]) stop() {
	s.l, s.ending = nil, nil
	if s.rest != nil {
		s.rest.Stop()
	}
	s.crowd.leave()
	s.gate.shut()
}

// IsListening reports whether the server listens.
func (s *Server[T]) IsListening() bool { return s.Listener() != nil }

// Listener returns what the server listens with, or nil.
func (s *Server[T]) Listener() Listener[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l
}

// Last returns what the server listens with, or listened with last, or nil. It may be closed.
func (s *Server[T]) Last() Listener[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Control calls f with what the server listens with, which stays open meanwhile; f must not call the server.
func (s *Server[T]) Control(op, network string, f func(Listener[T]) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l == nil {
		return closedError(op, network)
	}
	return f(s.l)
}

func closedError(op, network string) error {
	return &sock.Error{Op: op, Net: network, Code: sock.OperationError, Err: net.ErrClosed}
}

// HasPending reports whether a connection can be taken.
func (s *Server[T]) HasPending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.len() > 0
}

// Next takes a connection if there is one: to the next of the server's loops, if it has any. One that is found broken when it is taken is
// passed over.
func (s *Server[T]) Next() *T {
	for {
		s.mu.Lock()
		t := s.pop()
		if t == nil {
			s.mu.Unlock()
			return nil
		}
		home := s.crowd.next()
		s.mu.Unlock()
		if s.take(t, home) == nil {
			return t
		}
	}
}

// pop takes the first pending connection off the queue. mu held.
func (s *Server[T]) pop() *T {
	if s.queue.len() == 0 {
		return nil
	}
	full := !s.room()
	t := s.queue.pop()
	if full && s.room() {
		s.acceptMore()
	}
	return t
}

func (s *Server[T]) take(t *T, home *Home) error {
	err := s.hooks.Take(t, home)
	if err != nil {
		s.hooks.Discard(t)
	}
	return err
}

// Add queues a connection, whatever the limit.
func (s *Server[T]) Add(t *T) {
	s.mu.Lock()
	s.enqueue(t)
	s.unlock()
}

// enqueue makes a connection pending. mu held.
func (s *Server[T]) enqueue(t *T) {
	s.queue.push(t)
	s.queued++
	s.cb.post(event{sig: sigNewConnection})
	s.gate.tell()
}

// SetIncoming makes f receive accepted descriptors in place of the base behaviour; nil puts that back.
func (s *Server[T]) SetIncoming(f func(sock.Descriptor)) {
	s.mu.Lock()
	s.incoming, s.told = f, s.handed // what the last one was given is no news of this one
	s.mu.Unlock()
}

// Limit returns how many connections may be pending.
func (s *Server[T]) Limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxPending()
}

func (s *Server[T]) maxPending() int {
	if !s.limited {
		return DefaultLimit
	}
	return s.limit
}

// SetLimit sets how many connections may be pending.
func (s *Server[T]) SetLimit(n int) {
	s.mu.Lock()
	s.limit, s.limited = n, true
	s.acceptMore()
	s.unlock()
}

// SetPaused stops or resumes accepting.
func (s *Server[T]) SetPaused(paused bool) {
	s.mu.Lock()
	s.paused = paused
	if !paused {
		s.acceptMore()
	}
	s.unlock()
}

// Err returns the last error, an *sock.Error, or nil.
func (s *Server[T]) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// SetDeadline bounds Accept.
func (s *Server[T]) SetDeadline(network string, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l == nil {
		return closedError("set deadline", network)
	}
	s.deadline = t
	s.gate.rearm(&s.deadline)
	return nil
}

// Reject tells of a connection that was not let in.
func (s *Server[T]) Reject(err error) {
	s.mu.Lock()
	s.err = err
	s.cb.post(event{sig: sigAcceptError, err: err})
	s.unlock()
}

// OnNewConnection registers f, and tells it of each connection that is pending.
func (s *Server[T]) OnNewConnection(f func()) func() {
	return s.on(sigNewConnection, f)
}

// OnAcceptError registers f.
func (s *Server[T]) OnAcceptError(f func(error)) func() {
	return s.on(sigAcceptError, s.cb.withEvent(func(ev *event) { f(ev.err) }))
}

func (s *Server[T]) on(sig signal, f func()) func() {
	s.mu.Lock()
	cb := s.cb.add(sig, f)
	if sig == sigNewConnection {
		for range s.queue.len() {
			s.cb.post(event{sig: sig, only: cb})
		}
	}
	s.unlock()
	return func() {
		s.mu.Lock()
		s.cb.remove(cb)
		s.mu.Unlock()
	}
}

// acceptError says what went wrong with accepting.
func acceptError(at Endpoint, err error) error {
	if _, ok := err.(*sock.Error); ok {
		return err
	}
	code := sock.CodeOf(err)
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError("accept", errno)
	}
	return &sock.Error{Op: "accept", Net: at.Network(), Addr: at.Addr(), Code: code, Err: err}
}

// A fifo is a queue.
type fifo[T any] struct {
	items []*T
	head  int
}

func (q *fifo[T]) len() int  { return len(q.items) - q.head }
func (q *fifo[T]) all() []*T { return q.items[q.head:] }
func (q *fifo[T]) push(t *T) { q.items = append(q.items, t) }

func (q *fifo[T]) pop() *T {
	t := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head > len(q.items)/2 { // amortized, and an empty queue starts at the front again
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return t
}
