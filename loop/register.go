package loop

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"anteroom/internal/poll"
	"anteroom/sock"
)

// Events says what a descriptor is ready for, or is to be watched for.
type Events uint8

const (
	// Readable: a read does not wait. It gives bytes, or the end, or an error; on a listening socket there is a connection.
	Readable = Events(poll.Readable)
	// Writable: a write does not wait.
	Writable = Events(poll.Writable)
	// Hangup: the peer writes no more, or the connection has failed. It comes unasked, and with it come Readable and Writable, asked for or
	// not, if they do not wait because of it. Without it nothing of the kind has happened; with it, reading tells. (On systems that have
	// only poll(2) it may come with any bytes.)
	Hangup = Events(poll.Hangup)
	// Left comes of Doubt, with Readable: there was something to read before any edge was seen to tell of it. It cannot be asked for.
	Left = Hangup << 1
)

// A Handler is what the loop calls when a registered descriptor is ready. Many connections can share the code of one without a closure for
// each: that is what this module's sockets do. For other uses Notify is simpler.
type Handler interface {
	// Ready is called on the loop's goroutine, with no lock held. It may do whatever does not wait, also end its own registration, or
	// anybody else's. It may find nothing: somebody else may have read in between.
	Ready(Events)
}

// A Registration is what Register returns: a small value that stands for one handler at one loop. The zero value stands for none.
type Registration struct{ token uint64 }

// Register watches a descriptor, which is the caller's and stays open until after Unregister, and has the loop call h when it becomes
// ready for what on asks: Readable, Writable, both, or none, when only Hangup is told (and with kqueue nothing). Watching is
// edge-triggered: h is called once for what is ready now, and once more each time that bytes arrive, or that room is made after there was
// none. Who leaves bytes unread is not called again because of them. (Where the system has only poll(2), it is, some 10 ms later.)
//
// It may be called from any goroutine. h may be called before it returns, if that is not the loop's. A descriptor can be registered once
// at a loop, and may be a socket, a pipe, a terminal, or whatever else the system can watch; regular files are not. It fails with an error
// that Is UnsupportedSocketOperationError if it cannot be watched, SocketResourceError if the system has no room, and OperationError if it is
// registered already, other events are asked for, h is nil, or the loop is closed or was not made by New.
func (l *Loop) Register(fd uintptr, on Events, h Handler) (Registration, error) {
	if h == nil {
		return Registration{}, newError(opWatch, sock.OperationError, errors.New("there is no handler"))
	}
	return l.register(fd, on, true, h)
}

// Modify changes what the descriptor of a registration is watched for. What it is ready for already is told again. It may be called from
// any goroutine. It fails with an OperationError if the registration is over, other events are asked for, or the loop is closed.
func (l *Loop) Modify(r Registration, fd uintptr, on Events) error { return l.modify(r, fd, on, true) }

// Unregister ends a registration: its handler is forgotten at once, and an event that has happened before, or in this turn, does not
// reach it, nor whoever comes after it. A call of Ready that has begun on another goroutine may still be running.
//
// del says that the system is to be told. With false that call is saved; then the caller closes fd right afterwards, and there must be no
// duplicate of it, neither here nor in a child. It may be called from any goroutine; one that is over already is left alone.
func (l *Loop) Unregister(r Registration, fd uintptr, del bool) {
	l.ctl.Lock() // and no defer: a connection that comes and goes pays for each
	if l.handlers.Remove(r.token) && !l.isShut {
		l.poller.Remove(int(fd), !del) // it fails if fd is closed already, and is done then
	}
	l.ctl.Unlock()
	if l.kept.Load() == r.token && l.asleep.Load() {
		l.nudge() // or it would keep the handler until something happens
	}
}

const opWatch = "watch descriptor"

func (l *Loop) register(fd uintptr, on Events, edge bool, h Handler) (Registration, error) {
	switch {
	case l.poller == nil:
		return Registration{}, newError(opWatch, sock.OperationError, errNotMade)
	case on&^(Readable|Writable) != 0:
		return Registration{}, newError(opWatch, sock.OperationError, fmt.Errorf("events %#x are not among Readable and Writable", uint8(on)))
	case fd > math.MaxInt32: // the system would cut it to another number
		return Registration{}, watchError(fd, syscall.EBADF)
	}
	l.ctl.Lock()
	if l.noMore {
		l.ctl.Unlock()
		return Registration{}, closedError(opWatch)
	}
	r := Registration{l.handlers.Add(h)}
	err := l.poller.Add(int(fd), r.token, poll.Events(on), edge)
	if err != nil {
		l.handlers.Remove(r.token)
	}
	l.ctl.Unlock()
	if err != nil {
		return Registration{}, watchError(fd, err)
	}
	return r, nil
}

func (l *Loop) modify(r Registration, fd uintptr, on Events, edge bool) error {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	switch {
	case l.noMore:
		return closedError(opWatch)
	case l.handlers.Get(r.token).H == nil:
		return newError(opWatch, sock.OperationError, errors.New("its registration is over"))
	case on&^(Readable|Writable) != 0:
		return newError(opWatch, sock.OperationError, fmt.Errorf("events %#x are not among Readable and Writable", uint8(on)))
	}
	if err := l.poller.Modify(int(fd), r.token, poll.Events(on), edge); err != nil {
		return watchError(fd, err)
	}
	return nil
}

func watchError(fd uintptr, err error) error {
	code := sock.CodeOf(err)
	if errors.Is(err, poll.ErrExists) {
		code = sock.OperationError
	}
	return newError(fmt.Sprintf("%s %d", opWatch, fd), code, err)
}
