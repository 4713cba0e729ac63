package poll

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open returns the system's best Poller.
func Open() (Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd2", err)
	}
	p := &epoll{fd: fd, wake: wake, coarse: runtime.GOOS == "android"} // its filter kills who calls what it does not know
	// Edge-triggered, so that it need not be read: each write is told of once. Its token is 0.
	if err := p.control(unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN|unix.EPOLLET, 0); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

type epoll struct {
	fd, wake int
	coarse   bool // there is no epoll_pwait2: times are rounded up to milliseconds
	events   [Batch]unix.EpollEvent
}

func (p *epoll) control(op, fd int, events uint32, token uint64) error {
	// The token's halves go where the kernel's epoll_data is, whatever a machine's order of bytes: nobody else reads them.
	ev := unix.EpollEvent{Events: events, Fd: int32(token), Pad: int32(token >> 32)}
	err := unix.EpollCtl(p.fd, op, fd, &ev)
	switch err {
	case nil:
		return nil
	case unix.EEXIST:
		return ErrExists
	case unix.EPERM:
		return fmt.Errorf("%w: %w", errUnwatchable, os.NewSyscallError("epoll_ctl", unix.EOPNOTSUPP))
	}
	return os.NewSyscallError("epoll_ctl", err)
}

func epollEvents(on Events, edge bool) uint32 {
	var e uint32
	if on&Readable != 0 {
		e |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if on&Writable != 0 {
		e |= unix.EPOLLOUT
	}
	if edge {
		e |= unix.EPOLLET
		if on&Readable != 0 {
			e |= unix.EPOLLPRI // a state that may last though there is nothing to read
		}
	}
	return e
}

func (p *epoll) Add(fd int, token uint64, on Events, edge bool) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, epollEvents(on, edge), token)
}

func (p *epoll) Modify(fd int, token uint64, on Events, edge bool) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, epollEvents(on, edge), token)
}

func (p *epoll) Remove(fd int, closing bool) error {
	if closing {
		return nil
	}
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

// Poll makes a raw system call: it does not wait, and telling the scheduler of it would cost as much as the call.
func (p *epoll) Poll(ready []Event) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(min(len(ready), Batch)), 0, 0, 0)
		if errno != syscall.EINTR {
			return p.take(ready, int(n), errno)
		}
	}
}

func (p *epoll) Wait(ready []Event, timeout time.Duration) (int, error) {
	at, most := uintptr(unsafe.Pointer(&p.events[0])), uintptr(min(len(ready), Batch)) // p is in the heap, where nothing moves
	if timeout > 0 && !p.coarse {
		ts := struct{ sec, nsec int64 }{int64(timeout / time.Second), int64(timeout % time.Second)} // 64 bits on every machine
		n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), at, most, uintptr(unsafe.Pointer(&ts)), 0, 0)
		runtime.KeepAlive(p)
		switch errno {
		case syscall.ENOSYS, syscall.EPERM: // an old kernel, or a filter that does not know the call
			p.coarse = true
		default:
			return p.take(ready, int(n), errno)
		}
	}
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), at, most, uintptr(milliseconds(timeout)), 0, 0)
	runtime.KeepAlive(p)
	return p.take(ready, int(n), errno)
}

// take translates n events.
func (p *epoll) take(ready []Event, n int, errno syscall.Errno) (int, error) {
	if errno == syscall.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, os.NewSyscallError("epoll_wait", errno)
	}
	to := 0
	for i := range p.events[:n] {
		ev := &p.events[i]
		token := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
		if token == 0 {
			continue // the waking is what it was for
		}
		var e Events
		if ev.Events&unix.EPOLLIN != 0 {
			e = Readable
		}
		if ev.Events&unix.EPOLLOUT != 0 {
			e |= Writable
		}
		// A read stops at an urgent byte: who is told that there is one looks again.
		if ev.Events&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			e |= Readable | Hangup
			if ev.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				e |= Writable
			}
		}
		ready[to] = Event{token, e}
		to++
	}
	return to, nil
}

func (p *epoll) Wake() {
	one := uint64(1)
	for {
		_, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(p.wake), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
		if errno != syscall.EINTR {
			return
		}
	}
}

func (p *epoll) Close() error {
	unix.Close(p.wake)
	return os.NewSyscallError("close", unix.Close(p.fd))
}
