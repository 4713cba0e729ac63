//go:build !unix

package tcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"

	"anteroom/internal/core"
	"anteroom/internal/sysfd"
	"anteroom/sock"
)

// A plainListener is one of package net's.
type plainListener struct {
	*core.NetListener[Socket]
}

// listenAt makes a listener of an address of this host. The system chooses the backlog.
func listenAt(addr netip.Addr, port uint16, _ int) (listener, error) {
	addr = addr.Unmap()
	family, host := network, ""
	if addr.IsValid() {
		family, host = "tcp6", addr.String()
		if addr.Is4() {
			family = "tcp4"
		}
	}
	if _, err := sysfd.InetFrom(netip.AddrPortFrom(addr, port)); err != nil && addr.IsValid() {
		return nil, err // no such zone, which package net says in another way
	}
	config := net.ListenConfig{Control: exclusive}
	l, err := config.Listen(context.Background(), family, net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		if err = plainCause(err); errors.Is(err, errExclusive) {
			err = core.Because(err.Error()+": somebody has the port for himself", sock.AddressInUseError, err)
		}
		return nil, err
	}
	return plainListener{core.NewNetListener(l, network, newAccepted)}, nil
}

func (l plainListener) address() netip.AddrPort { return addrPort(l.Addr()) }

func (l plainListener) Dup() (*os.File, error) { return nil, errNoHandles }
func (l plainListener) Lend() sock.Descriptor  { return sock.Lend(l.Fd()) }

func adopt(sock.Descriptor) (listener, error) { return nil, errNoHandles }

// take makes a transport of a connection that somebody else has made, and says where it leads. After an error the descriptor is still the
// caller's.
func take(d sock.Descriptor) (t core.Transport, known *ends, copied bool, err error) {
	c := d.Conn()
	if _, ours := c.(*Socket); !ours && c != nil { // a Socket may take from the system, meanwhile, what the other one waits for
		t, known, err = attach(c)
		return t, known, false, err
	}
	return nil, nil, false, errNoHandles
}

var errNoHandles = core.Because("native handles of sockets cannot be handed over on this system", sock.UnsupportedSocketOperationError)

func nameOf(uintptr, bool) (sysfd.Inet, error) { return sysfd.Inet{}, errNoHandles }
