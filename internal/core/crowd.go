package core

import (
	"errors"

	"anteroom/loop"
)

// A crowd is the loops of a server: one accepts and runs the server's callbacks, and all of them, in turn, get the sockets. Its methods
// may be called of a nil crowd, which is that of a server without loops.
type crowd struct {
	group    *loop.Group
	loop     *loop.Loop // which accepts
	homes    map[*loop.Loop]*Home
	last     *Home // that next has returned
	all      *Handler
	passes   bool           // see Home
	notifier *loop.Notifier // of the listening descriptor; nil: a goroutine accepts, for there is no descriptor
	watched  bool           // it is to tell of connections
	summoned bool           // the loop is to run what callbacks are due
	pace     pace
}

func newCrowd(g *loop.Group, passes bool, all *Handler) (*crowd, error) {
	if g == nil {
		return nil, nil
	}
	c := &crowd{group: g, loop: g.Next(), homes: make(map[*loop.Loop]*Home), passes: passes, all: all, pace: pace{tries: 1}}
	if c.loop == nil {
		return nil, errors.New("the group was not made by loop.NewGroup")
	}
	return c, nil
}

// next returns where the next socket is to live.
func (c *crowd) next() *Home {
	if c == nil {
		return nil
	}
	l := c.group.Next()
	if c.last != nil && c.last.loop == l { // so it always is in a group of one
		return c.last
	}
	h := c.homes[l]
	if h == nil {
		h = NewHome(l, c.passes, c.all)
		c.homes[l] = h
	}
	c.last = h
	return h
}

// accepts reports whether a loop accepts, so that nobody else needs to.
func (c *crowd) accepts() bool {
	return c != nil && c.notifier != nil && c.loop.Running() && !c.loop.OnLoop()
}

// leave ends watching.
func (c *crowd) leave() {
	if c != nil && c.notifier != nil {
		c.notifier.Close()
		c.notifier = nil
	}
}

// SetLoops has the server accept on the loops of g from the next Listen on; nil: on none.
func (s *Server[T]) SetLoops(g *loop.Group) {
	s.mu.Lock()
	s.group = g
	s.mu.Unlock()
}

// SetHandler sets what all sockets that live on the server's loops tell, from the next Listen on.
func (s *Server[T]) SetHandler(all *Handler) {
	s.mu.Lock()
	s.all = all
	s.mu.Unlock()
}

// watch has the loop tell of connections at l. mu held.
func (s *Server[T]) watch(l Listener[T]) error {
	fd := l.Fd()
	if fd == noHandle {
		return nil
	}
	c := s.crowd
	n, err := c.loop.Notify(fd, loop.Readable, func(loop.Events) { s.acceptBurst(c) })
	if err != nil {
		return err
	}
	c.notifier, c.watched = n, true
	s.gate.park(c.loop, func() lonePoller {
		return newLonePoller(func() (uintptr, int16) { return fd, pollIn })
	}, nil)
	return nil
}

// watchIfWanted has the loop tell of connections only while there is room for one. mu held.
func (s *Server[T]) watchIfWanted() {
	c := s.crowd
	want := s.l != nil && !s.paused && !s.resting && s.room()
	if c.notifier == nil || want == c.watched {
		return
	}
	c.watched = want
	on := loop.Events(0)
	if want {
		on = loop.Readable
	}
	c.notifier.SetEvents(on) // fails only if the loop is closed
}

// A pace says how many tries to accept there are in a turn of the loop. A try that finds nothing costs as much as a connection. So there is one try
// at first, and twice as many in the next turn each time that all have found one. Where connections come one by one that is in vain, and is done
// the more rarely the more often it was, unless the loop has other things to do, too: else one turn more, which costs less, follows at once.
type pace struct {
	tries int // in this turn
	vain  int // how many turns of one try are to follow when a second one was in vain
	left  int // how many of them do
}

const (
	// mostTries bounds how many connections are accepted before others on the loop have their turn.
	mostTries = 64
	mostVain  = 63
)

// learn sees how many tries there are in the next turn, after one in which found of them have found a connection, and in which the loop has
// nothing else to do unless it is busy.
func (p *pace) learn(found int, busy bool) {
	switch {
	case found == p.tries && p.left > 0 && !busy:
		p.left--
	case found == p.tries:
		if p.tries > 1 {
			p.vain = 0
		}
		p.tries = min(2*p.tries, mostTries)
	default:
		if p.tries == 2 {
			p.vain = min(2*p.vain+1, mostVain)
			p.left = p.vain
		}
		p.tries = 1
	}
}

// acceptBurst accepts connections for a crowd, on its loop.
func (s *Server[T]) acceptBurst(c *crowd) {
	s.mu.Lock()
	n := 0
	for n < c.pace.tries && s.listensFor(c) && s.accept() {
		n++
		s.run()
	}
	if s.listensFor(c) {
		c.pace.learn(n, c.loop.InTurn() > 1)
		s.watchIfWanted()
	}
	s.unlock()
}

// listensFor reports whether the server still listens with the crowd that it was given when it began to. mu held.
func (s *Server[T]) listensFor(c *crowd) bool { return s.l != nil && s.crowd == c }

// summon has the loop run the callbacks that are due. mu held.
func (s *Server[T]) summon() {
	c := s.crowd
	if !c.summoned && s.cb.pending() {
		c.summoned = true
		c.loop.Post(func() {
			s.mu.Lock()
			c.summoned = false
			s.unlock()
		})
	}
}
