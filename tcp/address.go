package tcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"

	"anteroom/internal/core"
	"anteroom/internal/sysfd"
	"anteroom/sock"
)

const network = "tcp"

// opError returns the error of a failed op. A nil addr is not known.
func opError(op string, addr net.Addr, err error) error {
	return &sock.Error{Op: op, Net: network, Addr: addr, Code: sock.CodeOf(err), Err: err}
}

// An endpoint is what a connection leads to that was dialled, or given by its descriptor.
type endpoint struct {
	host   string // as it was given; "" if it was not dialled
	port   uint16
	unread string               // what was given in place of both, and could not be read as that
	by     *Socket              // which dials it; nil if nobody does
	conn   net.Conn             // one that was accepted, as long as nobody has taken it
	ends   atomic.Pointer[ends] // nil until there is a connection
}

// ends are the two addresses of a connection.
type ends struct {
	local, remote net.Addr
	proxied       bool
}

func (e *endpoint) Network() string { return network }

// Prepare sets the options that SetSocketOption was given by now: after this they are the connection's.
func (e *endpoint) Prepare(fd uintptr) {
	if e.by == nil || e.by.setup == nil {
		return
	}
	for o, v := range e.by.setup.options {
		if v != 0 {
			setOption(int(fd), SocketOption(o), int(v-1)) // an option that cannot be set does not make the connection useless
		}
	}
}

func (e *endpoint) Addr() net.Addr {
	if known := e.ends.Load(); known != nil {
		return known.remote
	}
	return hostAddr(e.hostport())
}

func (e *endpoint) hostport() string {
	if e.unread != "" {
		return e.unread
	}
	return net.JoinHostPort(e.host, strconv.Itoa(int(e.port)))
}

// A hostAddr is an address whose host may be a name.
type hostAddr string

func (hostAddr) Network() string  { return network }
func (a hostAddr) String() string { return string(a) }

// A peer4 is an IPv4 address and a port. A server keeps one for each connection, so it is small.
type peer4 struct {
	ip   [4]byte
	port uint16
}

// An accepted4 is what the connection of an accepted socket leads to, as the system said when it was accepted: later it may have forgotten.
type accepted4 Socket

func (e *accepted4) Network() string { return network }
func (e *accepted4) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(e.peer.ip), e.peer.port))
}

// An accepted6 is the same for IPv6.
type accepted6 sysfd.Inet

func (e *accepted6) Network() string { return network }
func (e *accepted6) Addr() net.Addr  { return net.TCPAddrFromAddrPort(sysfd.Inet(*e).AddrPort()) }

// addrPort returns what package netip makes of a, or the zero AddrPort if that is not the address of a TCP socket.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(*net.TCPAddr); ok && a != nil {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// splitHostPort reads "host:port". The port may be a service's name.
func splitHostPort(ctx context.Context, hostport string) (string, uint16, error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		why, _ := errors.AsType[*net.AddrError](err)
		return "", 0, addressError(strconv.Quote(hostport) + " is no address such as host:80, 127.0.0.1:80 or [::1]:80: " + why.Err)
	}
	if service == "" {
		return "", 0, addressError(strconv.Quote(hostport) + " has no port after the colon")
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return "", 0, addressError(strconv.Quote(service) + " is neither a port's number, from 0 to 65535, nor a service's name")
	}
	return host, uint16(port), nil
}

func addressError(what string) error {
	return core.Because(what, sock.HostNotFoundError, syscall.EINVAL)
}

// lookUp returns the address to listen on for a host: the zero Addr for "". Of a name's addresses it is an IPv4 one if there is one, as in
// Go's net.
func lookUp(ctx context.Context, host string) (netip.Addr, error) {
	if host == "" {
		return netip.Addr{}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range found {
		if a = a.Unmap(); a.Is4() {
			return a, nil
		}
	}
	return found[0], nil
}
