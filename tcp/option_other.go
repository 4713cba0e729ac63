//go:build !unix

package tcp

import "syscall"

// exclusive is for Windows, where a port can be taken from who listens on it.
func exclusive(_, _ string, raw syscall.RawConn) (err error) { return nil }

func setOption(int, SocketOption, int) error { return errNoHandles }
func option(int, SocketOption) (int, error)  { return 0, errNoHandles }
