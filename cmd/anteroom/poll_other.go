//go:build !unix

package main

import "io"

// waitHangUp waits until the peer of a connection that has ended its side has closed it, or the connection was closed here. A pipe ends in both
// directions at once; of another connection the system does not say more, before something is sent in vain.
func waitHangUp(c conn) {
	if tellsClosed(c) {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Read(func(uintptr) bool { return false })
}

// hasInput does not know: the system does not say.
func hasInput(io.Reader) bool { return false }
