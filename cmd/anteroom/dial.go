package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"anteroom/local"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

// dialOptions is what a command is told about connecting.
type dialOptions struct {
	wait    bool
	waitFor time.Duration // 0: for ever
	timeout time.Duration // 0: for ever
	proxy   proxy.Proxy   // the zero Proxy: none
}

func (o *dialOptions) setWait(value string) (err error) {
	o.wait = true
	if value != "" {
		if o.waitFor, err = parseDuration(value); err == nil && o.waitFor == 0 {
			o.wait = false // no time at all
		}
	}
	return err
}

// check says why the options do not go with an address.
func (o *dialOptions) check(at address) error {
	if f := at.checkDialled(); f != nil {
		return f
	}
	switch {
	case o.proxy.Type != proxy.DefaultProxy && at.kind != tcpPort:
		return usage("a proxy leads to TCP ports, and not to %s", at)
	case o.wait && at.kind == descriptor:
		return usage("--wait waits for a server, and %s is a connection already", at)
	}
	return nil
}

const passwordVariable = "ANTEROOM_PROXY_PASSWORD"

// setProxy reads a proxy's URL. The password of its user may stand in the environment, which only this user and the system can look at.
func setProxy(to *proxy.Proxy) func(string) error {
	return func(s string) error {
		p, err := proxy.Parse(s)
		if why, ok := errors.AsType[*sock.Error](err); ok {
			return why.Err // which says what is wrong, and not the password
		}
		if p.User != "" && p.Password == "" {
			p.Password = os.Getenv(passwordVariable)
		}
		*to = p
		return err
	}
}

// dial connects to a server, which it waits for as the options say.
func dial(ctx context.Context, v *voice, at address, o dialOptions) (conn, error) {
	const slowest = 100 * time.Millisecond
	started := time.Now()
	for delay := time.Millisecond; ; delay = min(2*delay, slowest) {
		c, err := dialOnce(ctx, at, o)
		if err == nil {
			return c, nil
		}
		if !o.wait || !isAbsent(at, err) || ctx.Err() != nil {
			return nil, explainDial(err, at, o)
		}
		if delay == time.Millisecond {
			v.detail("waiting for a server at %s", at)
		}
		if o.waitFor > 0 {
			left := o.waitFor - time.Since(started)
			if left <= 0 {
				return nil, &failure{exitTimeout, fmt.Errorf("no server came within %v: %w", o.waitFor, err), at.hints()}
			}
			delay = min(delay, left)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

func dialOnce(ctx context.Context, at address, o dialOptions) (conn, error) {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	switch at.kind {
	case tcpPort:
		c := new(tcp.Socket)
		c.SetProxy(o.proxy)
		return orNil(c, c.ConnectContext(ctx, at.hostport()))
	case descriptor:
		return adopt(at)
	}
	return orNil(local.DialContext(ctx, at.name))
}

// adopt returns the connection that an address is already. It can be had once: the descriptor is closed if it is none.
func adopt(at address) (conn, error) {
	ofTCP, err := isTCP(at.fd)
	if err != nil {
		return nil, &failure{status: exitUsage, err: err}
	}
	d := sock.FromFd(at.fd)
	var c interface {
		conn
		SetSocketDescriptor(sock.Descriptor, sock.State, sock.OpenMode) error
	} = new(local.Socket)
	if ofTCP {
		c = new(tcp.Socket)
	}
	if err := c.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite); err != nil {
		d.Close()
		return nil, err
	}
	return c, nil
}

// isAbsent reports whether an error means that there is no server, and not that there is one that cannot be reached, or that there can be none.
func isAbsent(at address, err error) bool {
	if errors.Is(err, sock.ConnectionRefusedError) {
		return at.obstacle() == ""
	}
	return at.kind == localName && errors.Is(err, local.ServerNotFoundError)
}

func explainDial(err error, at address, o dialOptions) error {
	obstacle := at.obstacle()
	switch {
	case errors.Is(err, sock.ProxyConnectionTimeoutError):
		return fail(err) // which says who has not answered whom
	case errors.Is(err, os.ErrDeadlineExceeded) && at.kind == tcpPort:
		return &failure{exitTimeout, fmt.Errorf("%s has not answered for %v", at, o.timeout), nil}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{exitTimeout, fmt.Errorf("the server at %s has let nobody in for %v: its queue is full", at, o.timeout), nil}
	case errors.Is(err, sock.ConnectionRefusedError) && obstacle != "":
		return fail(fmt.Errorf("%w: %s", err, obstacle))
	case isAbsent(at, err):
		return fail(err, append(at.hints(), "no server is there; --wait waits for one")...)
	}
	return fail(err)
}
