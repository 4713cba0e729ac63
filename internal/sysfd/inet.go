package sysfd

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// An Inet is the address and the port of one end of a TCP connection. The zero value is none.
type Inet struct {
	IP    [16]byte // an IPv4 address is mapped
	Scope uint32   // the interface's index, for a link-local address
	Port  uint16
}

func (a *Inet) setIP4(ip [4]byte) { a.IP = netip.AddrFrom4(ip).As16() }

// InetFrom returns a. Its zone must be an interface's name or index, or there is no such address.
func InetFrom(a netip.AddrPort) (Inet, error) {
	if !a.IsValid() {
		return Inet{}, nil
	}
	i := Inet{IP: a.Addr().As16(), Port: a.Port()}
	zone := a.Addr().Zone()
	if zone == "" {
		return i, nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		if n, number := strconv.ParseUint(zone, 10, 31); number == nil {
			ifi, err = net.InterfaceByIndex(int(n))
		}
	}
	if err != nil {
		return Inet{}, fmt.Errorf("there is no interface for the zone of %v: %w", a.Addr(), syscall.EADDRNOTAVAIL)
	}
	i.Scope = uint32(ifi.Index)
	return i, nil
}

// AddrPort returns the address as package netip has it: IPv4 is never mapped, and a zone is an interface's name, if it has one.
func (a Inet) AddrPort() netip.AddrPort {
	if a == (Inet{}) {
		return netip.AddrPort{}
	}
	ip := netip.AddrFrom16(a.IP).Unmap()
	if a.Scope != 0 {
		zone := strconv.FormatUint(uint64(a.Scope), 10)
		if ifi, err := net.InterfaceByIndex(int(a.Scope)); err == nil {
			zone = ifi.Name
		}
		ip = ip.WithZone(zone)
	}
	return netip.AddrPortFrom(ip, a.Port)
}
