//go:build unix

package poll

import (
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// OpenPortable returns a Poller that every system of this kind has: one that calls poll(2), which takes time for each descriptor in each
// call, and knows no edges. A descriptor that was told of and is still ready is edge-triggered in its place: it is not waited for, but
// looked at every few milliseconds, and told of again if it has not stopped being ready in between. So a handler that leaves what it was
// told of is told again, which an edge would not, and nothing is lost.
func OpenPortable() (Poller, error) {
	pipe, err := openWakePipe()
	if err != nil {
		return nil, err
	}
	return &portable{pipe: pipe, index: make(map[int]int)}, nil
}

// again is how long what was told of and is still ready is left alone.
const again = 10 * time.Millisecond

type portable struct {
	pipe    wakePipe
	fds     []unix.PollFd // what poll is called with; only the goroutine that waits uses it
	mu      sync.Mutex
	waiting bool
	watched []watch
	index   map[int]int // of a descriptor in watched
}

type watch struct {
	fd    int
	token uint64
	on    Events
	edge  bool
	told  Events    // edge: what was told of and has been ready since
	since time.Time // when it was told of
}

func (p *portable) Add(fd int, token uint64, on Events, edge bool) error {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	if n, err := unix.Poll(fds, 0); fd < 0 || err == nil && n == 1 && fds[0].Revents&unix.POLLNVAL != 0 {
		return os.NewSyscallError("poll", unix.EBADF)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.index[fd]; ok {
		return ErrExists
	}
	p.index[fd] = len(p.watched)
	p.watched = append(p.watched, watch{fd: fd, token: token, on: on, edge: edge})
	p.changed()
	return nil
}

func (p *portable) Modify(fd int, token uint64, on Events, edge bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.index[fd]
	if !ok {
		return os.NewSyscallError("poll", unix.ENOENT)
	}
	p.watched[i] = watch{fd: fd, token: token, on: on, edge: edge}
	p.changed()
	return nil
}

func (p *portable) Remove(fd int, _ bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.index[fd]
	if !ok {
		return os.NewSyscallError("poll", unix.ENOENT)
	}
	last := len(p.watched) - 1
	p.watched[i] = p.watched[last]
	p.index[p.watched[i].fd] = i
	p.watched = p.watched[:last]
	delete(p.index, fd)
	p.changed() // or poll would go on with a number that may soon be another's
	return nil
}

// changed makes who waits begin anew with what is watched now. mu held.
func (p *portable) changed() {
	if p.waiting {
		p.waiting = false
		p.pipe.wake()
	}
}

// collect makes the list for poll, and reports whether something is left out of it for a while: what was told of and has been ready
// since, unless all is asked for. mu held.
func (p *portable) collect(all bool) (leftOut bool) {
	p.fds = append(p.fds[:0], unix.PollFd{Fd: int32(p.pipe.r), Events: unix.POLLIN})
	for i := range p.watched {
		w := &p.watched[i]
		on := w.on
		fd := unix.PollFd{Fd: int32(w.fd)}
		if !all && w.told != 0 {
			leftOut = true
			on &^= w.told
			if w.told&Hangup != 0 {
				fd.Fd = -1 // a hang-up is told of unasked
			}
		}
		if on&Readable != 0 {
			fd.Events |= unix.POLLIN | pollEnded
		}
		if on&Writable != 0 {
			fd.Events |= unix.POLLOUT
		}
		p.fds = append(p.fds, fd)
	}
	return leftOut
}

func (p *portable) Poll(ready []Event) (int, error) {
	n, _, err := p.look(ready)
	return n, err
}

// look is Poll, and reports whether it was woken. It holds the mutex during the call, which does not wait: so an event is that of the
// descriptor that was registered with it.
func (p *portable) look(ready []Event) (n int, woken bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.collect(true)
	if n, err := unix.Poll(p.fds, 0); err == unix.EINTR {
		return 0, false, nil
	} else if err != nil {
		return 0, false, os.NewSyscallError("poll", err)
	} else if n == 0 {
		for i := range p.watched {
			p.watched[i].told = 0
		}
		return 0, false, nil
	}
	if p.fds[0].Revents != 0 {
		p.pipe.drain()
		woken = true
	}
	var now time.Time
	to := 0
	for i := range p.watched {
		w := &p.watched[i]
		e := pollEvents(int(p.fds[i+1].Revents)) & (w.on | Hangup)
		if !w.edge {
			w.told = 0
		} else if w.told &= e; w.told != 0 {
			if now.IsZero() {
				now = time.Now()
			}
			if now.Sub(w.since) < again {
				e &^= w.told
			}
		}
		if e == 0 || to == len(ready) {
			continue
		}
		if w.edge {
			if now.IsZero() {
				now = time.Now()
			}
			w.told, w.since = w.told|e, now
		}
		ready[to] = Event{w.token, e}
		to++
	}
	if to == len(ready) { // the next call begins with those for which there was no room
		p.rotate()
	}
	return to, woken, nil
}

// rotate changes the order in which descriptors are looked at. mu held.
func (p *portable) rotate() {
	half := len(p.watched) / 2
	p.watched = slices.Concat(p.watched[half:], p.watched[:half])
	for i := range p.watched {
		p.index[p.watched[i].fd] = i
	}
}

func pollEvents(re int) (e Events) {
	if re&unix.POLLIN != 0 {
		e = Readable
		if pollEnded == 0 {
			e |= Hangup // it may be the end: nobody but a read can tell
		}
	}
	if re&unix.POLLOUT != 0 {
		e |= Writable
	}
	if re&pollEnded != 0 {
		e |= Readable | Hangup
	}
	if re&(unix.POLLHUP|unix.POLLERR) != 0 {
		e |= Readable | Writable | Hangup
	}
	return e // POLLNVAL: its owner has closed it, and nothing more happens to it
}

func (p *portable) Wait(ready []Event, timeout time.Duration) (int, error) {
	if n, woken, err := p.look(ready); n > 0 || woken || err != nil {
		return n, err
	}
	p.mu.Lock()
	if p.collect(false) && (timeout < 0 || timeout > again) {
		timeout = again
	}
	p.waiting = true
	p.mu.Unlock()
	_, err := unix.Poll(p.fds, milliseconds(timeout))
	p.mu.Lock()
	p.waiting = false
	p.mu.Unlock()
	if err != nil && err != unix.EINTR {
		return 0, os.NewSyscallError("poll", err)
	}
	return p.Poll(ready)
}

func (p *portable) Wake() { p.pipe.wake() }

func (p *portable) Close() error {
	p.pipe.close()
	return nil
}
