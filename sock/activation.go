package sock

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// An Activation is a descriptor that the process was started with, by systemd or another that speaks its protocol.
type Activation struct {
	Name       string     // what LISTEN_FDNAMES calls it; "" if there are no names
	Descriptor Descriptor // the caller's, who hands it to a server's ListenDescriptor, or closes it
}

// firstActivation is the number of the first descriptor that is passed.
const firstActivation = 3

// maxActivations bounds what LISTEN_FDS is believed.
const maxActivations = 1 << 16

// activations lets one call take what there is. Between its first descriptor and the last variable another one would find that half taken.
var activations sync.Mutex

// Activations returns the descriptors that the process was started with, in order: LISTEN_FDS of them, from 3 on, if LISTEN_PID is this
// process; LISTEN_FDNAMES, which may be missing, names them. It returns none, and no error, if the process was not started so. The
// descriptors are closed on exec from now on, and the three variables are removed from the environment, so that children do not take them
// for theirs; a second call returns none, also in another goroutine at the same time.
//
// It fails with UnsupportedSocketOperationError if a variable has no possible value, or a descriptor is not open.
func Activations() ([]Activation, error) {
	activations.Lock()
	defer activations.Unlock()
	pid, fds, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	if pid == "" && fds == "" {
		return nil, nil
	}
	if p, err := strconv.Atoi(pid); err != nil || p <= 0 {
		return nil, activationError("LISTEN_PID is %q, and not a process's number", pid)
	} else if p != os.Getpid() {
		return nil, nil // meant for a process before this one
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > maxActivations {
		return nil, activationError("LISTEN_FDS is %q, and not a count of descriptors", fds)
	}
	var named []string
	if names != "" {
		if named = strings.Split(names, ":"); len(named) != n {
			return nil, activationError("LISTEN_FDNAMES has %d names for %d descriptors", len(named), n)
		}
	}
	found := make([]Activation, n)
	for i := range found {
		fd := uintptr(firstActivation + i)
		if err := closeOnExec(fd); err != nil {
			return nil, activationError("descriptor %d, one of %d in LISTEN_FDS, is not open: %v", fd, n, err)
		}
		found[i].Descriptor = FromFd(fd)
		if named != nil {
			found[i].Name = named[i]
		}
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	return found, nil
}

func activationError(format string, args ...any) error {
	return &Error{Op: "find activation", Code: UnsupportedSocketOperationError, Err: fmt.Errorf(format, args...)}
}
