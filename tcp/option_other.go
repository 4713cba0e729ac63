//go:build !unix && !windows

package tcp

import (
	"errors"
	"syscall"
)

var errExclusive = errors.New("is Windows'")

// exclusive is for Windows, where a port can be taken from who listens on it.
func exclusive(_, _ string, raw syscall.RawConn) (err error) { return nil }

func setOption(int, SocketOption, int) error { return errNoHandles }
func option(int, SocketOption) (int, error)  { return 0, errNoHandles }

// keepUrgent is for systems whose sockets are non-blocking descriptors.
func keepUrgent(int) {}
