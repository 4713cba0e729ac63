//go:build !unix && !windows

package main

import (
	"io"
	"time"
)

// waitHangUp waits until the connection is closed here: the system does not say more.
func waitHangUp(c conn) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Read(func(uintptr) bool { return false })
	}
}

// hasInput does not know: the system does not say.
func hasInput(io.Reader) bool { return false }

func wasInterrupted(error) bool { return false }

const settlePause = time.Duration(0)
