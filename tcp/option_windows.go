package tcp

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// soExclusiveAddrUse is SO_EXCLUSIVEADDRUSE, which C writes as ~SO_REUSEADDR.
const soExclusiveAddrUse = ^windows.SO_REUSEADDR

// errExclusive is what bind says of a port that somebody else has for himself; no port needs rights here.
const errExclusive = windows.WSAEACCES

// exclusive keeps others from taking a port from who listens on it, which SO_REUSEADDR would let them do here.
func exclusive(_, _ string, raw syscall.RawConn) (err error) {
	control := raw.Control(func(fd uintptr) {
		err = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusiveAddrUse, 1)
	})
	if control != nil {
		return control
	}
	return os.NewSyscallError("setsockopt", err)
}

func (o SocketOption) names() (level, name int) {
	if o == KeepAliveOption {
		return windows.SOL_SOCKET, windows.SO_KEEPALIVE
	}
	return windows.IPPROTO_TCP, windows.TCP_NODELAY
}

func setOption(fd int, o SocketOption, v int) error {
	level, name := o.names()
	return os.NewSyscallError("setsockopt", windows.SetsockoptInt(windows.Handle(fd), level, name, v))
}

func option(fd int, o SocketOption) (int, error) {
	level, name := o.names()
	var v, size int32 = 0, 4
	err := windows.Getsockopt(windows.Handle(fd), int32(level), int32(name), (*byte)(unsafe.Pointer(&v)), &size)
	if size == 1 { // as for TCP_NODELAY, a BOOLEAN
		v &= 0xff
	}
	return min(int(v), 1), os.NewSyscallError("getsockopt", err)
}

// keepUrgent is for systems whose sockets are non-blocking descriptors.
func keepUrgent(int) {}
