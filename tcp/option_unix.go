//go:build unix

package tcp

import (
	"os"

	"golang.org/x/sys/unix"
)

// The pace of keep-alive probes is that of Go's net: 15 s, 15 s, 9 times.
const (
	keepAliveSeconds = 15
	keepAliveProbes  = 9
)

// setDefaults sets on a listening socket what accepted ones are to have, which they inherit. None of it is worth a failure.
func setDefaults(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	setKeepAlivePace(fd)
	keepUrgent(fd)
}

// keepUrgent leaves TCP's urgent bytes in the stream, as Qt does: out of it they would be lost, and hide what follows.
func keepUrgent(fd int) { unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) }

func (o SocketOption) names() (level, name int) {
	if o == KeepAliveOption {
		return unix.SOL_SOCKET, unix.SO_KEEPALIVE
	}
	return unix.IPPROTO_TCP, unix.TCP_NODELAY
}

func setOption(fd int, o SocketOption, v int) error {
	level, name := o.names()
	if o == KeepAliveOption && v == 1 {
		setKeepAlivePace(fd)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, name, v))
}

// option returns 0 or 1: some systems answer with the option's bit.
func option(fd int, o SocketOption) (int, error) {
	level, name := o.names()
	v, err := unix.GetsockoptInt(fd, level, name)
	return min(v, 1), os.NewSyscallError("getsockopt", err)
}
