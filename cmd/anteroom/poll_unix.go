//go:build unix

package main

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// waitHangUp waits until the peer of a connection that has ended its side has closed it, or the connection was closed here.
func waitHangUp(c conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Read(hungUp)
}

// hungUp reports whether both directions of a connection have ended: the peer has closed it, and not only half-closed it.
func hungUp(fd uintptr) bool { return poll(fd, 0)&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 }

// hasInput reports whether a Read of r returns at once, be it because there is nothing more. It does not know of anything but files.
func hasInput(r io.Reader) (ready bool) {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return true // closed
	}
	// Control, and not Fd, which may change how the file is read.
	if err := raw.Control(func(fd uintptr) { ready = poll(fd, unix.POLLIN) != 0 }); err != nil {
		return true
	}
	return ready
}

func poll(fd uintptr, events int16) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		if _, err := unix.Poll(fds, 0); err != unix.EINTR {
			return fds[0].Revents
		}
	}
}

// wasInterrupted reports whether hasInput has ended a Read: here it looks only.
func wasInterrupted(error) bool { return false }

// settlePause is when hasInput is asked again: not before something has changed.
const settlePause = time.Duration(0)
