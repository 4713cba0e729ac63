//go:build unix

package core

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"anteroom/internal/sysfd"
	"golang.org/x/sys/unix"
)

// Read notes whether there may be more. Where descriptors come with the bytes, a read stops at them: recvmsg says so, and costs a tenth of an
// echo more than recvfrom. On the loop, which is where most reads are, the loop finds out later. It also stops at an urgent byte; then, and
// where it is known to stop, nothing but another look will do.
func (t *loopSide) Read(p []byte) (int, error) {
	var n uintptr
	var errno syscall.Errno
	cut := false
	fd, h, here := int(t.Fd()), t.home, t.home.here()
	doubtful := h.passes && here && t.trust == trusted && h.loop.DoubtPays()
	switch {
	case t.trust == wary, !h.passes, doubtful && !h.loop.Samples(t.watch):
		n, errno = sysfd.Read(fd, p)
		cut = t.trust == wary && errno == 0 && n > 0
	default:
		n, cut, errno = sysfd.ReadUpTo(fd, p)
	}
	switch {
	case errno == syscall.EINTR:
		return t.Read(p)
	case errno != 0:
		t.full = false
		return failed(errno)
	case cut:
		t.trust = wary
	case t.trust == untried:
		t.trust = trusted
	}
	t.full = cut || sysfd.Filled(int(n), p)
	switch {
	case doubtful && n > 0 && !t.full:
		h.loop.Doubt(t.watch, uintptr(fd))
	case cut && !(here && t.cb.running()): // else whoever runs the callbacks sees that it is full
		(*Socket)(t).owe()
	}
	return readResult(n, p)
}

func (t *loopSide) Write(p []byte) (int, error) { return writeFd(int(t.fd-1), p) }

// unstage sends what callbacks have written, and keeps what the system does not take; it returns how much was sent. mu held.
func (s *Socket) unstage() int64 {
	if !s.staged {
		return 0
	}
	s.staged = false
	out := s.home.out
	if s.t == nil || len(out) == 0 {
		return 0
	}
	return s.unstaged(sysfd.Write(int(s.fd-1), out))
}

// unstaged is the rest of unstage, after n bytes of out were sent or none was because of errno.
func (s *Socket) unstaged(n uintptr, errno syscall.Errno) int64 {
	out := s.home.out
	if errno != 0 {
		n = 0
	}
	if n > 0 {
		if s.hears(sigBytesWritten) {
			s.cb.note(event{sig: sigBytesWritten, arg: int64(n)})
		}
		if s.flow != nil {
			s.flow.sent += int64(n)
			s.flow.sends++
		}
	}
	if int(n) < len(out) {
		s.flows().wbuf.write(out[n:])
		if errno == 0 || errno == syscall.EAGAIN {
			s.wantRoom()
		} else {
			s.flushSoon(0) // which meets the error
		}
	}
	return int64(n)
}

func (t *loopSide) Query() (int, bool, error) { return queryFd(t.Fd()) }
func (t *loopSide) CloseRead() error          { return sysfd.Shutdown(int(t.fd-1), unix.SHUT_RD) }
func (t *loopSide) CloseWrite() error         { return sysfd.Shutdown(int(t.fd-1), unix.SHUT_WR) }

// detach takes the descriptor out of a transport, which is not used any more then, or copies it if it is at the runtime's poller already.
func detach(t Transport) (fd int, copied bool, err error) {
	r, ok := t.(*runtimeTransport)
	if !ok {
		return -1, false, syscall.ENOTSUP
	}
	if !r.seated.Load() {
		return r.fd, false, nil
	}
	fd, err = sysfd.Dup(r.fd)
	return fd, true, err
}

// hasBytes reports whether something can be read.
func hasBytes(fd int) bool {
	unread, _ := peek(fd)
	return unread
}

// peek reports whether something can be read, or else why not: nil if it may come, io.EOF, or an error of the connection's.
func peek(fd int) (unread bool, cause error) {
	switch n, errno := sysfd.Peek(fd); {
	case errno == syscall.EAGAIN:
		return false, nil
	case errno != 0:
		return false, errno
	case n == 0:
		return false, io.EOF
	}
	return true, nil
}

// A pollPoller waits at a descriptor by poll(2), while the loop stands still: on its goroutine, and when it does not run.
type pollPoller struct {
	prepare func() (fd uintptr, events int16)
	wake    [2]int // a pipe: a byte ends the wait

	mu     sync.Mutex
	limit  time.Time
	closed bool
}

// newLonePoller returns a poller that waits at what prepare says each time, without the owner's mutex held. Out of descriptors it has no
// pipe, and looks again every few milliseconds instead.
func newLonePoller(prepare func() (fd uintptr, events int16)) lonePoller {
	p := &pollPoller{prepare: prepare}
	p.wake, _ = sysfd.Pipe()
	return p
}

// When the descriptor is ready and what is waited for has not come all the same, such as bytes that a full read buffer has no room for, it is
// left out of the wait for firstNap, and each time that this happens again for twice as long, but at most for lastNap.
const (
	firstNap = time.Millisecond
	lastNap  = 10 * time.Millisecond
)

func (p *pollPoller) Wait(ready func(uintptr) bool) error {
	var nap time.Duration
	for told := false; ; {
		p.mu.Lock()
		limit := p.limit
		p.mu.Unlock()
		if expired(limit) {
			return os.ErrDeadlineExceeded
		}
		fd, events := p.prepare()
		if ready(fd) {
			return nil
		}
		if told {
			nap = min(max(2*nap, firstNap), lastNap)
			p.sleep(limit, nap, nil)
			told = false
			continue
		}
		most := forEver
		if p.wake[0] < 0 {
			most = lastNap
		}
		watched := unix.PollFd{Fd: int32(fd), Events: events}
		p.sleep(limit, most, &watched)
		if told = watched.Revents != 0; !told {
			nap = 0
		}
	}
}

// forEver is no end of a sleep.
const forEver = time.Duration(-1)

// sleep waits until it is woken, until watched is ready, if there is one, until limit, or for most.
func (p *pollPoller) sleep(limit time.Time, most time.Duration, watched *unix.PollFd) {
	fds := []unix.PollFd{{Fd: int32(p.wake[0]), Events: unix.POLLIN}}
	if watched != nil {
		fds = append(fds, *watched)
	}
	if !limit.IsZero() {
		if left := max(time.Until(limit), 0); most == forEver || left < most {
			most = left
		}
	}
	milliseconds := -1
	if most != forEver {
		milliseconds = int((most + time.Millisecond - 1) / time.Millisecond)
	}
	unix.Poll(fds, milliseconds)
	if fds[0].Revents != 0 {
		var b [16]byte
		unix.Read(p.wake[0], b[:])
	}
	if watched != nil {
		*watched = fds[1]
	}
}

const (
	pollIn  = unix.POLLIN
	pollOut = unix.POLLOUT
)

func (p *pollPoller) SetLimit(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	p.limit = t
	if p.wake[1] >= 0 {
		unix.Write(p.wake[1], []byte{0})
	}
	return nil
}

func (p *pollPoller) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, fd := range p.wake {
		if fd >= 0 {
			sysfd.Close(fd)
		}
	}
}
