package load

import (
	"time"

	"golang.org/x/sys/windows"
)

// CPUTime returns how long this process has computed so far, for itself and in the system, and whether the system says so. The system counts
// in steps of some 16 ms.
func CPUTime() (time.Duration, bool) {
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user) != nil {
		return 0, false
	}
	return hundreds(kernel) + hundreds(user), true
}

// hundreds returns a span that is counted in 100 ns. Filetime.Nanoseconds is for points in time, and counts from 1970.
func hundreds(t windows.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}
