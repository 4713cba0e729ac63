package sock

import (
	"errors"
	"syscall"
)

// closeOnExec marks a descriptor that was passed to be closed on exec. One that is marked already was not passed: it is the runtime's own,
// which takes the lowest free numbers.
func closeOnExec(fd uintptr) error {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFD, 0)
	switch {
	case errno != 0:
		return errno
	case flags&syscall.FD_CLOEXEC != 0:
		return errors.New("it was not passed")
	}
	syscall.CloseOnExec(int(fd))
	return nil
}
