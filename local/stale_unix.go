//go:build unix && !linux

package local

import "anteroom/sock"

// removeStale does not remove anything here: that a datagram socket tells the dead from the living was measured on Linux only.
func removeStale(string) error {
	return &causeError{"whether a server is alive cannot be proven on this system", []error{sock.UnsupportedSocketOperationError}}
}
