package sysfd

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	fionread  = unix.TIOCINQ
	pollEnded = unix.POLLRDHUP

	// MaxBacklog asks for the longest queue of connections that the system allows: it cuts the number to net.core.somaxconn.
	MaxBacklog = 1<<16 - 1
)

// Stream returns a new stream socket of the family.
func Stream(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// hasFin reports whether the peer of a connection of TCP has ended its direction, also where CloseRead has ended that before.
func hasFin(fd int) bool {
	const timeWait, closed, closeWait, lastAck, closing = 6, 7, 8, 9, 11 // TCP_TIME_WAIT …, the same for all of Linux
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil { // it is of another kind
		return false
	}
	switch info.State {
	case timeWait, closed, closeWait, lastAck, closing:
		return true
	}
	return false
}

// Accept takes a connection from the queue of a listening fd. Nobody is asked for the peer's address.
func Accept(fd int) (int, syscall.Errno) { return accept(fd, nil, nil) }

// AcceptInet is Accept for an Internet socket, and tells the peer's address, which the system may forget when the peer has gone.
func AcceptInet(fd int) (int, Inet, syscall.Errno) {
	var sa unix.RawSockaddrInet6
	length := uint32(unsafe.Sizeof(sa))
	n, errno := accept(fd, &sa, &length)
	if errno != 0 {
		return -1, Inet{}, errno
	}
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	peer := Inet{Port: uint16(port[0])<<8 | uint16(port[1])}
	if sa.Family == unix.AF_INET {
		peer.setIP4((*unix.RawSockaddrInet4)(unsafe.Pointer(&sa)).Addr)
	} else {
		peer.IP, peer.Scope = sa.Addr, sa.Scope_id
	}
	return n, peer, 0
}

func accept(fd int, sa *unix.RawSockaddrInet6, length *uint32) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(length)),
		syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}
