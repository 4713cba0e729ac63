package poll

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollNow makes a raw system call, as Poll does.
func pollNow(fds []unix.PollFd) (int, error) {
	var now [2]int64 // a timespec, on every machine no smaller than that
	n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
