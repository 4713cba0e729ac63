//go:build linux && !(amd64 && gc) && !race && !msan && !asan

package sysfd

import (
	"syscall"
	"unsafe"
)

// call makes a system call of recvfrom's or sendto's form, without an address. After an error r means nothing.
func call(trap, fd uintptr, p unsafe.Pointer, n, flags uintptr) (r uintptr, errno syscall.Errno) {
	r, _, errno = syscall.RawSyscall6(trap, fd, uintptr(p), n, flags, 0, 0)
	return
}
