//go:build unix

package sysfd

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// InetName returns the address of an Internet socket, or of its peer.
func InetName(fd int, peer bool) (Inet, error) {
	get, call := unix.Getsockname, "getsockname"
	if peer {
		get, call = unix.Getpeername, "getpeername"
	}
	sa, err := get(fd)
	if err != nil {
		return Inet{}, os.NewSyscallError(call, err)
	}
	return inetOf(sa), nil
}

func inetOf(sa unix.Sockaddr) (a Inet) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		a.setIP4(sa.Addr)
		a.Port = uint16(sa.Port)
	case *unix.SockaddrInet6:
		a = Inet{IP: sa.Addr, Scope: sa.ZoneId, Port: uint16(sa.Port)}
	}
	return a
}

// Sockaddr returns the address as the system wants it, in a family.
func (a Inet) Sockaddr(family int) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Addr: netip.AddrFrom16(a.IP).Unmap().As4(), Port: int(a.Port)}
	}
	return &unix.SockaddrInet6{Addr: a.IP, ZoneId: a.Scope, Port: int(a.Port)}
}
