package tcp

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"anteroom/internal/core"
	"anteroom/proxy"
	"anteroom/sock"
)

// A dialling is what the next connection is told.
type dialling struct {
	proxy   proxy.Proxy
	options [optionCount]int8 // what SetSocketOption was given, plus one; 0: nothing
}

// dialer returns what connects to e through a proxy.
func (e *endpoint) dialer(by proxy.Proxy) core.Dialer {
	return func(ctx context.Context, found func()) (core.Transport, error) {
		dialer := net.Dialer{Control: func(string, string, syscall.RawConn) error {
			found()
			return nil
		}}
		through := by.Resolve()
		if e.host == "" {
			return nil, addressError("the host is empty")
		}
		var c net.Conn
		var err error
		if through.Type == proxy.NoProxy {
			c, err = dialer.DialContext(ctx, network, e.hostport())
		} else {
			found() // looking up is the proxy's part
			c, err = through.DialContext(ctx, network, e.hostport())
		}
		if err != nil {
			err = plainCause(err)
			if e, ok := err.(*sock.Error); ok { // a proxy's, which says where, as the socket's error will
				err = core.Because(e.Err.Error(), e.Code, e.Err)
			}
			if limit, ok := ctx.Deadline(); ok && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(limit) {
				err = core.Because(err.Error(), context.DeadlineExceeded, err) // the system may be quicker than the context
			}
			return nil, err
		}
		t, known, err := attach(c)
		if err != nil {
			c.Close()
			return nil, err
		}
		e.ends.Store(known)
		return t, nil
	}
}

// plainCause returns what package net says has gone wrong, without what it says of where.
func plainCause(err error) error {
	if op, ok := err.(*net.OpError); ok {
		return op.Err
	}
	return err
}

// attach makes a transport of a connection, which it owns then, and says where that leads.
func attach(c net.Conn) (core.Transport, *ends, error) {
	known := &ends{local: c.LocalAddr(), remote: c.RemoteAddr()}
	if p, ok := c.(*proxy.Conn); ok {
		known.proxied = true
		c = p.NetConn()
	}
	conn, ok := c.(core.Conn)
	if !ok {
		return nil, nil, core.Because("the connection has no native handle of its own, and is none of a proxy's", sock.UnsupportedSocketOperationError)
	}
	if err := sock.FromConn(c).Control(func(uintptr) {}); err != nil {
		return nil, nil, err // it is closed, or has never been open
	}
	t, err := core.NewConnTransport(conn)
	if err != nil {
		return nil, nil, err
	}
	keepUrgent(int(t.Fd()))
	return t, known, nil
}
