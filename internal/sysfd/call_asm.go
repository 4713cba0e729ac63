//go:build linux && amd64 && gc && !race && !msan && !asan

package sysfd

import (
	"syscall"
	"unsafe"
)

// call makes a system call of recvfrom's or sendto's form, without an address. After an error r is 0.
//
// It is syscall.RawSyscall6 in one piece. That is two functions, each on a page of its own, and where a processor's kernel pages are hidden from
// programs it looks for every page anew after a system call: there a loop's echo costs 1 to 2 percent less without them.
//
//go:noescape
func call(trap, fd uintptr, p unsafe.Pointer, n, flags uintptr) (r uintptr, errno syscall.Errno)
