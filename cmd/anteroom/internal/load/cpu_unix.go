//go:build unix

package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns how long this process has computed so far, for itself and in the system, and whether the system says so.
func CPUTime() (time.Duration, bool) {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0, false
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), true
}
