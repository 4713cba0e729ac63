//go:build unix

package tcp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"anteroom/internal/core"
	"anteroom/internal/sysfd"
	"anteroom/proxy"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// A fdListener is a bound, listening socket at the runtime's poller.
type fdListener struct {
	core.FdListener
	at netip.AddrPort
}

// listenAt makes a listener of an address of this host.
func listenAt(addr netip.Addr, port uint16, backlog int) (listener, error) {
	dual := !addr.IsValid()
	if dual {
		addr = netip.IPv6Unspecified()
	}
	addr = addr.Unmap()
	l, err := listenIn(addr, port, backlog, dual)
	if dual && errors.Is(err, unix.EAFNOSUPPORT) { // a system without IPv6
		l, err = listenIn(netip.IPv4Unspecified(), port, backlog, false)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

func listenIn(addr netip.Addr, port uint16, backlog int, dual bool) (*fdListener, error) {
	name, err := sysfd.InetFrom(netip.AddrPortFrom(addr, port))
	if err != nil {
		return nil, err
	}
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := sysfd.Stream(family)
	if err != nil {
		return nil, err
	}
	l, err := bindAndListen(fd, family, name, backlog, dual)
	if err != nil {
		sysfd.Close(fd)
		return nil, err
	}
	return l, nil
}

func bindAndListen(fd, family int, at sysfd.Inet, backlog int, dual bool) (*fdListener, error) {
	options := []struct{ level, name, value int }{
		// A port is free as soon as nobody listens on it, whatever connections a dead server has left (TIME_WAIT).
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
	}
	if family == unix.AF_INET6 {
		only := 1
		if dual {
			only = 0
		}
		options = append(options, struct{ level, name, value int }{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	setDefaults(fd)
	if err := unix.Bind(fd, at.Sockaddr(family)); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if backlog <= 0 {
		backlog = sysfd.MaxBacklog
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	l, err := newListener(fd, false)
	if err != nil {
		return nil, err
	}
	l.Own()
	return l, nil
}

func newListener(fd int, shared bool) (*fdListener, error) {
	name, err := sysfd.InetName(fd, false)
	if err != nil {
		return nil, err
	}
	l := &fdListener{at: name.AddrPort()}
	l.Init(fd, "tcp "+l.at.String(), shared)
	return l, nil
}

// adopt makes a listener of a socket that somebody else has bound.
func adopt(d sock.Descriptor) (listener, error) {
	if !d.IsValid() || d.IsLent() {
		return nil, errNotOurs
	}
	h, ok := d.Fd()
	if !ok || d != sock.FromFd(h) {
		return nil, core.Because("the descriptor is of a connection, and not of a listening socket", syscall.EINVAL)
	}
	fd := int(h)
	if err := sysfd.CheckStream(fd, true, unix.AF_INET, unix.AF_INET6); err != nil {
		return nil, err
	}
	if err := sysfd.Prepare(fd); err != nil {
		return nil, err
	}
	setDefaults(fd)
	l, err := newListener(fd, true)
	if err != nil {
		return nil, err
	}
	return l, nil
}

var errNotOurs = core.Because("the descriptor is not valid, or lent by another object", sock.UnsupportedSocketOperationError)

func (l *fdListener) Network() string         { return network }
func (l *fdListener) Addr() net.Addr          { return net.TCPAddrFromAddrPort(l.at) }
func (l *fdListener) address() netip.AddrPort { return l.at }

func (l *fdListener) Accept() (*Socket, error) {
	if err := l.Ready(); err != nil {
		return nil, err
	}
	fd, peer, errno := sysfd.AcceptInet(int(l.Fd()))
	if errno != 0 {
		return nil, core.AcceptErrno(errno)
	}
	c := new(Socket)
	c.hold(fd, peer)
	return c, nil
}

func (l *fdListener) Close() error {
	if err := l.FdListener.Close(); err != nil {
		return opError("close", l.Addr(), err)
	}
	return nil
}

// take makes a transport of a connection that somebody else has made, or of a copy if it is another package's, and says where it leads. After an
// error, and of a copy, the descriptor is still the caller's.
func take(d sock.Descriptor) (t core.Transport, known *ends, copied bool, err error) {
	if !d.IsValid() || d.IsLent() {
		return nil, nil, false, errNotOurs
	}
	use := d.Control
	switch c := d.Conn().(type) {
	case *proxy.Conn, *net.TCPConn:
		t, known, err = attach(c)
		return t, known, false, err
	case *Socket: // also one that goes through a proxy, of which d.Control tells nothing
		if known, err = c.handOver(); err != nil {
			return nil, nil, false, err
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return nil, nil, false, err
		}
		use = raw.Control
	}
	var fd int
	control := use(func(h uintptr) {
		fd = int(h)
		if err = sysfd.CheckStream(fd, false, unix.AF_INET, unix.AF_INET6); err != nil {
			return
		}
		if known == nil {
			if known, err = endsOf(fd); err != nil {
				return
			}
		}
		keepUrgent(fd)
		if d != sock.FromFd(h) { // a connection of another package: go on with a duplicate
			copied = true
			fd, err = sysfd.Dup(fd)
		}
	})
	switch {
	case control != nil:
		return nil, nil, false, control
	case err != nil:
		return nil, nil, false, err
	}
	if err := sysfd.Prepare(fd); err != nil {
		if copied {
			sysfd.Close(fd)
		}
		return nil, nil, false, err
	}
	t, err = core.NewTransport(fd)
	return t, known, copied, err
}

func endsOf(fd int) (*ends, error) {
	remote, err := sysfd.InetName(fd, true)
	if errors.Is(err, syscall.ENOTCONN) {
		err = core.Because("the descriptor is a socket that is not connected", sock.UnsupportedSocketOperationError, err)
	}
	if err != nil {
		return nil, err
	}
	local, err := sysfd.InetName(fd, false)
	if err != nil {
		return nil, err
	}
	return &ends{local: net.TCPAddrFromAddrPort(local.AddrPort()), remote: net.TCPAddrFromAddrPort(remote.AddrPort())}, nil
}

// nameOf asks the system for one end's address.
func nameOf(fd uintptr, peer bool) (sysfd.Inet, error) { return sysfd.InetName(int(fd), peer) }
