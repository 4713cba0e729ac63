package local

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerPID returns the number that stands, from FreeBSD 13 on, in the last field, a union with a pointer that was null before.
func peerPID(_ uintptr, c *unix.Xucred) (int, error) {
	last := unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c)-unsafe.Sizeof(uintptr(0)))
	return int(*(*int32)(last)), nil
}
