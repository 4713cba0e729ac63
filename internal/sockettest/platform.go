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

// What local servers and sockets can do.
const (
	// HasHalfClose: one direction of a connection can end before the other.
	HasHalfClose = HasFiles
	// HasExclusiveNames: a name has one server at a time.
	HasExclusiveNames = HasFiles
	// HasExactLocalBacklog is HasExactBacklog of a local server.
	HasExactLocalBacklog = HasExactBacklog || runtime.GOOS == "windows"
	// HasPeers: the system says who the peer of a local socket is.
	HasPeers = HasAbstractNames || runtime.GOOS == "windows" || runtime.GOOS == "darwin" || runtime.GOOS == "freebsd" || runtime.GOOS == "openbsd" || runtime.GOOS == "netbsd"
	// HasLoops: servers and sockets can live on loops.
	HasLoops = HasFiles
)

// PollerGoroutines is how many goroutines a process has for all of its sockets, while one of them waits or is watched.
var PollerGoroutines = map[bool]int{true: 0, false: 1}[HasFiles]

// LocalNetwork is the network of local servers' addresses.
var LocalNetwork = map[bool]string{true: "unix", false: "pipe"}[HasFiles]

// NeedFiles skips the test where local names are no files.
func NeedFiles(t testing.TB) {
	t.Helper()
	if !HasFiles {
		t.Skip("local names are no files here")
	}
}

// NeedHalfClose skips the test where a local connection ends in both directions at once.
func NeedHalfClose(t testing.TB) {
	t.Helper()
	if !HasHalfClose {
		t.Skip("a pipe ends in both directions at once")
	}
}

// NeedLoops skips the test where nothing can live on a loop.
func NeedLoops(t testing.TB) {
	t.Helper()
	if !HasLoops {
		t.Skip("loops take no descriptors here")
	}
}

// NeedExactLocalBacklog skips the test where a full backlog of a local server cannot be made.
func NeedExactLocalBacklog(t testing.TB) {
	t.Helper()
	if !HasExactLocalBacklog {
		t.Skip("how many connections the system queues is known on Linux and Windows only")
	}
}

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
