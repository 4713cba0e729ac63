//go:build unix && !linux

package local

import "golang.org/x/sys/unix"

// recvFlags is none: not every system can have what is received closed on exec from birth.
const recvFlags = 0

func closeStray(*unix.SocketControlMessage) bool { return false }
