//go:build unix

package sock

import "syscall"

func closeHandle(fd uintptr) error { return syscall.Close(int(fd)) }
