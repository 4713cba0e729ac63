//go:build unix

package poll

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// NewLook returns the question about fd.
func NewLook(fd int) Look { return Look{fd: int32(fd), events: unix.POLLIN | pollEnded} }

// Answer returns what there is: Readable, Hangup too, or nothing.
func (l *Look) Answer() (e Events) {
	if l.revents&unix.POLLIN != 0 {
		e = Readable
	}
	if l.revents&(pollEnded|unix.POLLHUP|unix.POLLERR) != 0 || e != 0 && pollEnded == 0 {
		e |= Readable | Hangup
	}
	return e
}

// Ask answers questions by poll(2), in one call that does not wait, and whatever Pollers have told of the descriptors before. It reports
// whether there is anything.
func Ask(looks []Look) bool {
	if len(looks) == 0 {
		return false
	}
	for {
		n, err := pollNow(unsafe.Slice((*unix.PollFd)(unsafe.Pointer(&looks[0])), len(looks)))
		switch err {
		case nil:
			return n > 0
		case unix.EINTR:
		default: // a system without memory: who asks is to look
			for i := range looks {
				looks[i].revents = unix.POLLIN | unix.POLLHUP
			}
			return true
		}
	}
}

var _ [unsafe.Sizeof(unix.PollFd{})]struct{} = [unsafe.Sizeof(Look{})]struct{}{}
