package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"anteroom/local"
	"anteroom/sock"
)

const helpConnect = `Talk to a server: stdin goes to it, and what it says goes to stdout

Usage: anteroom connect [FLAG…] ADDRESS

At the end of stdin the server reads the end, too, and can go on answering.
connect ends when the server has closed the connection, even if there is more to
come on stdin. If the server closes before it has read all that was sent, that
is an error with exit status 1.

      --wait[=DURATION]     if there is no server yet, wait until there is one,
                            at most so long; without a duration, for ever
      --timeout DURATION    how long a server whose queue is full is waited for
                            (default 30s; 0: for ever)
  -q, --quiet               say nothing but errors
  -v, --verbose             say who the server is, and how much was carried

Durations are written like 500ms, 10s or 2m. When one passes, the exit status
is 124.

Example: a server that is being started answers in capitals
  $ anteroom serve shout -- tr a-z A-Z &
  $ echo hello | anteroom connect --wait=5s shout
  HELLO
`

// connectOptions is what connect is told by flags.
type connectOptions struct {
	wait    bool
	waitFor time.Duration // 0: for ever
	timeout time.Duration // 0: for ever
}

func runConnect(w *world, args []string) error {
	o := connectOptions{timeout: sock.DefaultWait}
	v := &voice{w: w.stderr}
	fs := newFlagSet("connect")
	fs.Var(optional{o.setWait}, "wait", "")
	fs.duration("timeout", &o.timeout)
	fs.bool("q quiet", &v.quiet)
	fs.bool("v verbose", &v.verbose)
	operands, err := fs.parse(args)
	if err != nil {
		return err
	}
	if len(operands) == 2 && o.wait && o.waitFor == 0 {
		if _, err := parseDuration(operands[0]); err == nil {
			return usage("the duration of --wait follows an equals sign: --wait=%s", operands[0])
		}
	}
	at, err := oneAddress(operands, parseAddress)
	if err != nil {
		return err
	}

	caught, stop := w.signals()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- connect(ctx, w, v, at, o) }()
	select {
	case err = <-result:
		return err
	case sig := <-caught:
		return signalled(sig)
	}
}

func (o *connectOptions) setWait(value string) (err error) {
	o.wait = true
	if value != "" {
		if o.waitFor, err = parseDuration(value); err == nil && o.waitFor == 0 {
			o.wait = false // no time at all
		}
	}
	return err
}

// connect connects and carries until the connection has ended. When ctx ends it closes the connection.
func connect(ctx context.Context, w *world, v *voice, at address, o connectOptions) error {
	c, err := dial(ctx, v, at, o)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.Abort)()
	v.detail("connected to %s%s", at.full, inBrackets(peerWords(c)))
	r := &relay{conn: c, w: w}
	err = r.run()
	sent, received := r.total()
	v.detail("sent %d bytes, received %d", sent, received)
	return err
}

// dial connects to a server, which it waits for as the options say.
func dial(ctx context.Context, v *voice, at address, o connectOptions) (*local.Socket, error) {
	const slowest = 100 * time.Millisecond
	started := time.Now()
	for delay := time.Millisecond; ; delay = min(2*delay, slowest) {
		c, err := dialOnce(ctx, at, o.timeout)
		if err == nil {
			return c, nil
		}
		if !o.wait || !isAbsent(err) || ctx.Err() != nil {
			return nil, explainDial(err, at, o)
		}
		if delay == time.Millisecond {
			v.detail("waiting for a server at %s", at.full)
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

func dialOnce(ctx context.Context, at address, timeout time.Duration) (*local.Socket, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return local.DialContext(ctx, at.name)
}

// isAbsent reports whether an error means that there is no server, and not that there is one that cannot be reached.
func isAbsent(err error) bool {
	return errors.Is(err, local.ServerNotFoundError) || errors.Is(err, local.ConnectionRefusedError)
}

func explainDial(err error, at address, o connectOptions) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{exitTimeout, fmt.Errorf("the server at %s has let nobody in for %v: its queue is full", at.full, o.timeout), nil}
	case isAbsent(err):
		return fail(err, append(at.hints(), "no server is there; --wait waits for one")...)
	}
	return fail(err)
}

// peerWords says who is at the other end: "process 42, user 1000, group 1000", or "" if the system does not say.
func peerWords(c *local.Socket) string {
	p, err := c.Peer()
	if err != nil {
		return ""
	}
	return peerText(p)
}

func peerText(p local.Peer) string {
	var words []string
	if p.PID > 0 {
		words = append(words, fmt.Sprintf("process %d", p.PID))
	}
	if p.UID >= 0 {
		words = append(words, fmt.Sprintf("user %d", p.UID))
	}
	if p.GID >= 0 {
		words = append(words, fmt.Sprintf("group %d", p.GID))
	}
	if p.SID != "" {
		words = append(words, "user "+p.SID)
	}
	return strings.Join(words, ", ")
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
