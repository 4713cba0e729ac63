package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// sleep is time.Sleep, but ends some microseconds too late at most. The runtime's own timers are up to a millisecond late when nothing else
// happens, and the system's by the slack that it gives each thread, which would all be latency that is measured.
func sleep(d time.Duration) {
	runtime.LockOSThread() // the slack is the thread's
	defer runtime.UnlockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	left := unix.NsecToTimespec(int64(d))
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
	unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // as it was
}
