package sockettest

import (
	"os"
	"runtime"
	"testing"
)

// What the platform can do. Tests ask here, and not for the platform's name.
const (
	// HasAbstractNames: there is a namespace of local names without files.
	HasAbstractNames = runtime.GOOS == "linux" || runtime.GOOS == "android"
	// HasExactBacklog: a listening socket with backlog n queues n+1 connections and makes the next one wait, at once and exactly.
	HasExactBacklog = runtime.GOOS == "linux" || runtime.GOOS == "android"
	// HasModes: a local server's file has the mode bits of Unix, and connecting is subject to them.
	HasModes = runtime.GOOS == "linux" || runtime.GOOS == "android"
	// HasFiles: a local server's name is a socket in the file system.
	HasFiles = runtime.GOOS != "windows" && runtime.GOOS != "plan9" && runtime.GOOS != "js" && runtime.GOOS != "wasip1"
)

// NeedExactBacklog skips the test where a full backlog cannot be made.
func NeedExactBacklog(t testing.TB) {
	t.Helper()
	if !HasExactBacklog {
		t.Skip("how many connections the system queues is known on Linux only")
	}
}

// NeedRoot skips the test unless the process may become another user.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
}
