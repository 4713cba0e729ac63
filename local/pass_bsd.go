//go:build unix && !linux

package local

// recvFlags is none: not every system can have what is received closed on exec from birth.
const recvFlags = 0
