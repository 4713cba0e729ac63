//go:build unix

package sock

import "syscall"

func closeHandle(fd uintptr) error { return syscall.Close(int(fd)) }

// closeOnExec marks an open descriptor to be closed on exec.
func closeOnExec(fd uintptr) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(fd), &st); err != nil {
		return err
	}
	syscall.CloseOnExec(int(fd))
	return nil
}
