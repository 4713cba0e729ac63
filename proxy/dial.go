package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"anteroom/sock"
)

// DialContext connects to addr, "host:port", through the proxy. The network is "tcp", "tcp4" or "tcp6"; the latter two refuse addresses of
// the other kind, but which address a host name means is for the proxy to find. With a proxy the connection is a *Conn; without one, for
// NoProxy, it is what a net.Dialer makes.
//
// The end of ctx ends it at any moment. If ctx has no deadline, connecting to the proxy and its answer may take sock.DefaultWait together.
//
// Qt: QAbstractSocket::connectToHost with QAbstractSocket::setProxy
func (p Proxy) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	const op = "connect"
	p = p.Resolve()
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &sock.Error{Op: op, Net: network, Code: sock.UnsupportedSocketOperationError, Err: net.UnknownNetworkError(network)}
	}
	if p.Type == NoProxy {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, directError(op, err)
		}
		return c, nil
	}
	to, err := parseEndpoint(ctx, network, addr)
	if err == nil && to.name == "" && !to.ip.IsValid() {
		err = &fault{code: sock.HostNotFoundError, err: fmt.Errorf("%q has no host: the proxy cannot know which is meant", addr)}
	}
	if err != nil {
		return nil, &sock.Error{Op: op, Net: "tcp", Code: sock.CodeOf(err), Err: err}
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, bound, err := p.request(ctx, socksConnect, to)
	if err != nil {
		return nil, p.newError(ctx, op, to, err)
	}
	conn := &Conn{conn: c, local: c.LocalAddr(), remote: to.netAddr()}
	if bound.usable() {
		conn.local = bound.netAddr()
	}
	return conn, nil
}

// bounded gives ctx the usual limit if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, sock.DefaultWait)
}

// request connects to the proxy and asks it for a connection to (or, to bind, from) an endpoint. It returns the connection to the proxy, of
// which nothing after the answer has been read, and the endpoint that the answer holds, if any.
func (p Proxy) request(ctx context.Context, command byte, to endpoint) (*net.TCPConn, endpoint, error) {
	if err := p.check(); err != nil {
		return nil, endpoint{}, err
	}
	c, err := p.connect(ctx)
	if err != nil {
		return nil, endpoint{}, err
	}
	var bound endpoint
	err = interruptible(ctx, c, func() (err error) {
		if p.Type == HttpProxy {
			return httpConnect(c, p, to)
		}
		bound, err = socksRequest(c, p, command, to)
		return err
	})
	if err != nil {
		c.Close()
		return nil, endpoint{}, err
	}
	return c, bound, nil
}

// connect connects to the proxy itself.
func (p Proxy) connect(ctx context.Context) (*net.TCPConn, error) {
	// A proxy that has died while a binding waits for its peer is noticed by keep-alive alone.
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 9}}
	c, err := d.DialContext(ctx, "tcp", p.hostPort())
	if err == nil {
		return c.(*net.TCPConn), nil
	}
	code := sock.ProxyConnectionRefusedError
	switch sock.CodeOf(err) {
	case sock.HostNotFoundError:
		code = sock.ProxyNotFoundError
	case sock.SocketTimeoutError:
		code = sock.ProxyConnectionTimeoutError
	case sock.SocketResourceError:
		code = sock.SocketResourceError // it is this process that has no descriptor
	}
	return nil, &fault{code: code, err: cause(err)}
}

// interruptible calls f, which reads from and writes to c, and makes the end of ctx fail it. If it returns nil, c has no deadline and gets
// none.
func interruptible(ctx context.Context, c net.Conn, f func() error) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() {
		return ctx.Err() // the deadline is set or about to be: c is of no use
	}
	return err
}

// A fault is a failure at the proxy, before it is known of which call.
type fault struct {
	code  sock.SocketError
	reply bool // the proxy understood and said no: it is about what was asked for, not about the proxy
	err   error
}

func (f *fault) Error() string   { return f.err.Error() }
func (f *fault) Unwrap() []error { return []error{f.code, f.err} }

func protocolFault(format string, args ...any) error {
	return &fault{code: sock.ProxyProtocolError, err: fmt.Errorf(format, args...)}
}

// newError returns the error of a call that failed with err, a fault or what reading and writing said, when it asked the proxy for to.
func (p Proxy) newError(ctx context.Context, op string, to endpoint, err error) *sock.Error {
	e := &sock.Error{Op: op, Net: "tcp", Addr: p.addr(), Code: sock.ProxyConnectionClosedError, Err: cause(err)}
	var f *fault
	switch ended := ctx.Err(); {
	case ended == context.Canceled:
		e.Code, e.Err = sock.CodeOf(ended), ended
	case ended != nil:
		e.Code, e.Err = sock.ProxyConnectionTimeoutError, ended
	case errors.As(err, &f):
		e.Code, e.Err = f.code, f.err
		if f.reply {
			e.Addr = to.netAddr()
			e.Err = fmt.Errorf("the proxy %v: %w", p, f.err)
		}
	case sock.CodeOf(err) == sock.SocketTimeoutError: // keep-alive
		e.Code = sock.ProxyConnectionTimeoutError
	}
	if e.Code == sock.ProxyConnectionTimeoutError {
		e.Err = timeout{e.Err}
	}
	return e
}

// A timeout makes an error a time-out in this module's and in the standard library's words, too.
type timeout struct{ error }

func (e timeout) Unwrap() []error { return []error{e.error, sock.SocketTimeoutError} }

// directError returns the error of a call without a proxy.
func directError(op string, err error) *sock.Error {
	e := &sock.Error{Op: op, Net: "tcp", Code: sock.CodeOf(err), Err: cause(err)}
	var oe *net.OpError
	if errors.As(err, &oe) {
		e.Addr = oe.Addr
	}
	return e
}

// cause returns what made a call of package net fail, without the words that our error has, too.
func cause(err error) error {
	var oe *net.OpError
	if errors.As(err, &oe) {
		return oe.Err
	}
	return err
}
