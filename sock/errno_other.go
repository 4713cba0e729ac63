//go:build !windows

package sock

import "syscall"

// unixErrno returns the number by which Unix knows an error.
func unixErrno(errno syscall.Errno) syscall.Errno { return errno }
