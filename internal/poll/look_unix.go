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
	if l.revents&(pollEnded|unix.POLLHUP|unix.POLLERR) != 0 {
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
	n, err := pollNow(unsafe.Slice((*unix.PollFd)(unsafe.Pointer(&looks[0])), len(looks)))
	if err != nil { // an interrupted call, a system without memory: who asks will look
		for i := range looks {
			looks[i].revents = unix.POLLIN
		}
	}
	return n != 0 || err != nil
}

var _ [unsafe.Sizeof(unix.PollFd{})]struct{} = [unsafe.Sizeof(Look{})]struct{}{}
