//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && (amd64 || arm64 || riscv64)

package poll

import (
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open returns the system's best Poller.
func Open() (Poller, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(fd) // a kqueue does not survive a fork: no child can get it in between
	pipe, err := openWakePipe()
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	p := &kqueue{fd: fd, pipe: pipe, watched: make(map[int]Events)}
	if err := p.change(pipe.r, []change{{unix.EVFILT_READ, unix.EV_ADD}}, 0); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

const sizeofKevent = unsafe.Sizeof(unix.Kevent_t{})

// The token is the user data of an event, which has the type of a pointer though it is none: it is kept in memory that the collector does
// not search for pointers, and never read or written as one.
type keventMemory [sizeofKevent / 8]uint64

func kevents(m []keventMemory) []unix.Kevent_t {
	return unsafe.Slice((*unix.Kevent_t)(unsafe.Pointer(&m[0])), len(m))
}

func userData(ev *unix.Kevent_t) *uintptr { return (*uintptr)(unsafe.Pointer(&ev.Udata)) }

type kqueue struct {
	fd      int
	pipe    wakePipe
	memory  [Batch]keventMemory
	mu      sync.Mutex // of what follows, and of the calls that go with it
	watched map[int]Events
}

type change struct{ filter, flags int }

func (p *kqueue) change(fd int, changes []change, token uint64) error {
	if len(changes) == 0 {
		return nil
	}
	memory := make([]keventMemory, len(changes))
	evs := kevents(memory)
	for i, c := range changes {
		unix.SetKevent(&evs[i], fd, c.filter, c.flags)
		*userData(&evs[i]) = uintptr(token)
	}
	for {
		if _, err := unix.Kevent(p.fd, evs, nil, nil); err != unix.EINTR {
			return os.NewSyscallError("kevent", err)
		}
	}
}

// filters returns the changes that watch fd for other events than before. What was watched already is taken away and added again, which
// tells of what is ready.
func filters(before, on Events, edge bool) (changes []change) {
	add := unix.EV_ADD
	if edge {
		add |= unix.EV_CLEAR
	}
	for _, f := range []struct {
		ev     Events
		filter int
	}{{Readable, unix.EVFILT_READ}, {Writable, unix.EVFILT_WRITE}} {
		if before&f.ev != 0 {
			changes = append(changes, change{f.filter, unix.EV_DELETE})
		}
		if on&f.ev != 0 {
			changes = append(changes, change{f.filter, add})
		}
	}
	return changes
}

func (p *kqueue) Add(fd int, token uint64, on Events, edge bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.watched[fd]; ok {
		return ErrExists
	}
	if err := p.change(fd, filters(0, on, edge), token); err != nil {
		p.change(fd, filters(Readable, 0, edge), 0) // the first may have succeeded
		return err
	}
	p.watched[fd] = on
	return nil
}

func (p *kqueue) Modify(fd int, token uint64, on Events, edge bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, ok := p.watched[fd]
	if !ok {
		return os.NewSyscallError("kevent", unix.ENOENT)
	}
	if err := p.change(fd, filters(before, on, edge), token); err != nil {
		return err
	}
	p.watched[fd] = on
	return nil
}

// Remove needs no call if fd is closed: the system forgets what it watched.
func (p *kqueue) Remove(fd int, closing bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, ok := p.watched[fd]
	if !ok {
		return os.NewSyscallError("kevent", unix.ENOENT)
	}
	delete(p.watched, fd)
	if closing {
		return nil
	}
	return p.change(fd, filters(before, 0, false), 0)
}

func (p *kqueue) Poll(ready []Event) (int, error) { return p.kevent(ready, &unix.Timespec{}) }

func (p *kqueue) Wait(ready []Event, timeout time.Duration) (int, error) {
	if timeout < 0 {
		return p.kevent(ready, nil)
	}
	ts := unix.NsecToTimespec(int64(min(timeout, 24*time.Hour))) // some systems take no long ones
	return p.kevent(ready, &ts)
}

func (p *kqueue) kevent(ready []Event, timeout *unix.Timespec) (int, error) {
	evs := kevents(p.memory[:min(len(ready), Batch)])
	n, err := unix.Kevent(p.fd, nil, evs, timeout)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, os.NewSyscallError("kevent", err)
	}
	to := 0
	for i := range evs[:n] {
		ev := &evs[i]
		token := uint64(*userData(ev))
		if token == 0 {
			p.pipe.drain()
			continue
		}
		e := Readable
		if int(ev.Filter) == unix.EVFILT_WRITE {
			e = Writable
		}
		if ev.Flags&(unix.EV_EOF|unix.EV_ERROR) != 0 {
			e |= Hangup
		}
		ready[to] = Event{token, e}
		to++
	}
	return to, nil
}

func (p *kqueue) Wake() { p.pipe.wake() }

func (p *kqueue) Close() error {
	p.pipe.close()
	return os.NewSyscallError("close", unix.Close(p.fd))
}
