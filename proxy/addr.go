package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"anteroom/sock"
)

// An Addr is the address of an end that is known by its host name only, because the proxy looks that up.
type Addr struct {
	Host string
	Port uint16
}

// Network returns "tcp".
func (a Addr) Network() string { return "tcp" }

// String returns "host:port".
func (a Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// An endpoint is what SOCKS5 and HTTP call an address: an IP address, or else a name, and a port.
type endpoint struct {
	ip   netip.Addr // without a zone; an IPv4 address is never mapped to IPv6
	name string
	port uint16
}

func (e endpoint) String() string {
	if e.ip.IsValid() {
		return netip.AddrPortFrom(e.ip, e.port).String()
	}
	return Addr{e.name, e.port}.String()
}

// netAddr returns the endpoint as an *net.TCPAddr, or as an Addr if it is a name.
func (e endpoint) netAddr() net.Addr {
	if e.ip.IsValid() {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(e.ip, e.port))
	}
	return Addr{e.name, e.port}
}

// usable reports whether the endpoint is an address that one can speak of: proxies that do not want to tell say 0.0.0.0:0 or a name.
func (e endpoint) usable() bool { return e.ip.IsValid() && !e.ip.IsUnspecified() && e.port != 0 }

// parseEndpoint reads "host:port", where port may be a service's name. What a proxy cannot be asked is a fault.
func parseEndpoint(ctx context.Context, network, addr string) (endpoint, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return endpoint{}, &fault{code: sock.HostNotFoundError, err: err}
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return endpoint{}, &fault{code: sock.HostNotFoundError, err: err}
	}
	e := endpoint{port: uint16(port)}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		e.name = host
		if host == "" {
			return e, nil
		}
		if err := checkHost(host); err != nil {
			return endpoint{}, &fault{code: sock.HostNotFoundError, err: err}
		}
		return e, nil
	}
	e.ip = ip.Unmap()
	switch {
	case ip.Zone() != "":
		err = fmt.Errorf("%s: the zone %q is an interface of this machine, which the proxy cannot know", addr, ip.Zone())
	case network == "tcp4" && !e.ip.Is4(), network == "tcp6" && !e.ip.Is6():
		err = fmt.Errorf("%s is no address of the network %s", addr, network)
	default:
		return e, nil
	}
	return endpoint{}, &fault{code: sock.UnsupportedSocketOperationError, err: err}
}

// checkHost says why a host name cannot be sent to a proxy. In a name that passes, nothing can end HTTP's request line or header, or be
// taken for another part of a URL.
func checkHost(name string) error {
	switch {
	case name == "":
		return errors.New("there is no host name")
	case len(name) > 255:
		return fmt.Errorf("a host name of %d bytes: 255 is the most", len(name))
	}
	for _, r := range name {
		switch {
		case r >= 0x80:
			return fmt.Errorf("the host name %q: write what is not ASCII in its xn-- form", name)
		case r <= ' ', r == 0x7f, strings.ContainsRune(`:/@?#[]\%"<>^|{}`+"`", r):
			return fmt.Errorf("%q in a host name: %q", r, name)
		}
	}
	return nil
}
