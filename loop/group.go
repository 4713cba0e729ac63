package loop

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"

	"anteroom/sock"
)

// A Group is several loops that run beside each other. NewGroup makes one; its methods may be called from any goroutine.
type Group struct {
	loops  []*Loop
	next   atomic.Uint32
	closed atomic.Bool
}

// NewGroup returns a group of n loops, which do not run yet; n <= 0 is one for each core that Go uses (runtime.GOMAXPROCS). Whoever makes
// it closes it.
func NewGroup(n int) (*Group, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	g := new(Group)
	for range n {
		l, err := New()
		if err != nil {
			g.Close()
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// Next returns the group's loops one after the other, and then again from the first. It returns nil if NewGroup has not made the group.
func (g *Group) Next() *Loop {
	if len(g.loops) == 0 {
		return nil
	}
	return g.loops[(g.next.Add(1)-1)%uint32(len(g.loops))]
}

// Run runs each loop on a goroutine of its own, and returns when all have ended: because ctx has ended, whose cause it returns, or because
// of Close, when it returns nil. If one loop ends for another reason, the others end too, and Run says why: a loop has failed, runs
// already, was closed before or by itself meanwhile, or a callback has called runtime.Goexit. A panic in a callback ends the program, as in
// any goroutine.
func (g *Group) Run(ctx context.Context) error {
	if len(g.loops) == 0 {
		return newError("run loops", sock.OperationError, errors.New("the group was not made by NewGroup"))
	}
	if g.closed.Load() {
		return closedError("run loops")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, len(g.loops))
	for _, l := range g.loops {
		go func() {
			err := newError("run loop", sock.OperationError, errors.New("a callback has ended its goroutine"))
			defer func() { ended <- err }()
			if err = l.Run(ctx); err == nil && !g.closed.Load() { // it was closed alone, and the others still count on it
				err = closedError("run loop")
			}
		}()
	}
	var first error
	for range g.loops {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel(err)
		}
	}
	if g.closed.Load() && errors.Is(first, net.ErrClosed) {
		return nil // a loop that Close has met before it ran
	}
	return first
}

// Close closes all of the group's loops, as Loop.Close does. It returns nil.
func (g *Group) Close() error {
	g.closed.Store(true)
	for _, l := range g.loops {
		l.Close()
	}
	return nil
}
