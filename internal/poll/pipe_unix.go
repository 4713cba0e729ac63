//go:build unix

package poll

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A wakePipe wakes who waits for descriptors, by being one.
type wakePipe struct{ r, w int }

func openWakePipe() (wakePipe, error) {
	// Not every system sets the flags with the call. The lock keeps a child from being started before they are set.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		return wakePipe{}, os.NewSyscallError("pipe", err)
	}
	p := wakePipe{fds[0], fds[1]}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			p.close()
			return wakePipe{}, os.NewSyscallError("fcntl", err)
		}
	}
	return p, nil
}

// wake makes the pipe readable. A full pipe is.
func (p wakePipe) wake() {
	for {
		if _, err := unix.Write(p.w, []byte{0}); err != unix.EINTR {
			return
		}
	}
}

// drain makes it unreadable.
func (p wakePipe) drain() {
	var b [64]byte
	for {
		if n, err := unix.Read(p.r, b[:]); err != unix.EINTR && n < len(b) {
			return
		}
	}
}

func (p wakePipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}
