//go:build unix

package sockettest

import (
	"os"
	"syscall"
)

// LeaveDescriptors leaves a child process n descriptors that it may open, until giveBack is called. Nothing may be opened meanwhile, and an
// accept counts, for Linux takes the number before it looks for a connection: let servers pause.
func LeaveDescriptors(n int) (giveBack func(), err error) {
	os.ReadDir("/proc/self/fd") // whatever is opened once is open now
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		return nil, err
	}
	var fillers []int
	for {
		fd, err := syscall.Dup(0)
		if err != nil {
			break
		}
		fillers = append(fillers, fd)
	}
	for _, fd := range fillers[:n] {
		syscall.Close(fd)
	}
	return func() {
		for _, fd := range fillers[n:] {
			syscall.Close(fd)
		}
	}, nil
}
