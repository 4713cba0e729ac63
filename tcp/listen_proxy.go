package tcp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"

	"anteroom/internal/core"
	"anteroom/proxy"
	"anteroom/sock"
)

// A throughListener listens through a proxy.
type throughListener struct {
	*core.NetListener[Socket]
}

// listenThrough makes a proxy listen, on an address of its own or, if that is what addr is, on any.
func listenThrough(ctx context.Context, p proxy.Proxy, addr netip.Addr, port uint16, rebind bool) (listener, error) {
	host := ""
	if addr.IsValid() {
		host = addr.Unmap().String()
	}
	l, err := p.Listen(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	if l, ok := l.(*proxy.Listener); ok {
		l.SetRebind(rebind)
	}
	return throughListener{core.NewNetListener(finalListener{l}, network, newAccepted)}, nil
}

func (l throughListener) address() netip.AddrPort { return addrPort(l.Addr()) }

func (l throughListener) Dup() (*os.File, error) { return nil, errThroughProxy }
func (l throughListener) Lend() sock.Descriptor  { return sock.Lend(l.Fd()) }

var errThroughProxy = core.Because("the server listens through a proxy, and has no listening socket", sock.UnsupportedSocketOperationError)

// A finalListener's errors are the end: a proxy has been asked again as often as that is of use.
type finalListener struct{ net.Listener }

func (l finalListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, &core.EndError{Err: err}
	}
	return c, nil
}
