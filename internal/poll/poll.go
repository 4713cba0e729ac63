// Package poll tells when descriptors are ready: by epoll on Linux, by kqueue on macOS and the BSDs, by poll(2) on other Unix systems and processors.
// Elsewhere a Poller only sleeps and is woken; it takes no descriptors.
//
// It knows descriptors and tokens, and nothing of what they are for: package loop gives a token that never comes twice to each
// registration, and so can tell that an event is older than it looks. Descriptor numbers cannot tell: the system uses them again at once.
package poll

import (
	"errors"
	"time"
)

// Events says what a descriptor is ready for.
type Events uint8

const (
	Readable Events = 1 << iota
	Writable
	// Hangup says that the peer writes no more, or that the connection has failed: look. Without it nothing of the kind has happened. It
	// needs not be asked for, and comes with that of Readable and Writable which does not wait any more because of it.
	Hangup
)

// An Event is what has happened to one registered descriptor.
type Event struct {
	Token  uint64
	Events Events
}

// Batch is the most events that one call returns.
const Batch = 256

// ErrExists says that the descriptor is registered already.
var ErrExists = errors.New("the descriptor is registered already")

var errUnwatchable = errors.New("a descriptor of its kind, such as a regular file, cannot be watched")

// A Poller watches descriptors. Poll and Wait are called by one goroutine at a time; Add, Modify, Remove and Wake may be called meanwhile
// by any, and see to it that Wait hears of it. Close is called when nobody uses it any more. Tokens are not 0.
type Poller interface {
	// Add watches fd, which stays its owner's. An edge-triggered descriptor is told of once each time that something arrives or room
	// is made; else it is told of each time it is found ready.
	Add(fd int, token uint64, on Events, edge bool) error
	// Modify changes what fd is watched for, and tells again of what it is ready for already.
	Modify(fd int, token uint64, on Events, edge bool) error
	// Remove watches fd no longer. closing says that fd is closed right afterwards and has no duplicate, and may save a system call.
	Remove(fd int, closing bool) error
	// Poll puts what has happened into ready, and returns how much that is. It does not wait.
	Poll(ready []Event) (int, error)
	// Wait is Poll that waits until there is something, until it is woken, or until the time is over; a negative time is none. It may
	// return nothing before that.
	Wait(ready []Event, timeout time.Duration) (int, error)
	// Wake ends the Wait that is under way, or else the next one.
	Wake()
	Close() error
}

// A Look is the question what there is to read at a descriptor, bytes or the end, and, after a call of Ask, the answer.
type Look struct { // laid out as a struct pollfd is
	fd              int32
	events, revents int16
}

// milliseconds rounds up, so that nobody who waits finds that it is too early; negative stays negative.
func milliseconds(d time.Duration) int {
	const most = 1 << 30
	if d < 0 {
		return -1
	}
	return int(min((d+time.Millisecond-1)/time.Millisecond, most))
}
