//go:build unix && !linux

package sock

import "syscall"

// closeOnExec marks an open descriptor to be closed on exec.
func closeOnExec(fd uintptr) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(fd), &st); err != nil {
		return err
	}
	syscall.CloseOnExec(int(fd))
	return nil
}
