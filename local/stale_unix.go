//go:build unix && !linux

package local

import (
	"anteroom/internal/core"
	"anteroom/sock"
)

// removeStale does not remove anything here: that a datagram socket tells the dead from the living was measured on Linux only.
func removeStale(string) error {
	return core.Because("whether a server is alive cannot be proven on this system", sock.UnsupportedSocketOperationError)
}

func removeGuarded(path string) error { return removeStale(path) }

// guardBirth has nothing to guard: nobody asks.
func guardBirth(string) (release func(), err error) { return func() {}, nil }
