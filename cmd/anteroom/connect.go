package main

import (
	"context"
	"io"
	"os"
	"time"

	"anteroom/sock"
	"golang.org/x/term"
)

const helpConnect = `Talk to a server: stdin goes to it, and what it says goes to stdout

Usage: anteroom connect [FLAG…] ADDRESS

At the end of stdin the server reads the end, too, and can go on answering.
connect ends when the server has closed the connection, even if there is more to
come on stdin. If the server closes before it has read all that was sent, that
is an error with exit status 1. A TCP server that has closed cannot be told from
one that has only ended its own side, before something more is sent to it: the
latter is believed, unless stdin is a terminal.
` + helpPipes + `
      --wait[=DURATION]     if there is no server yet, wait until there is one,
                            at most so long; without a duration, for ever
` + helpEndAfter + helpDialling + `  -q, --quiet               say nothing but errors
  -v, --verbose             say who the server is, and how much was carried

ADDRESS may also be fd:N, a connected socket that connect was started with.
Durations are written like 500ms, 10s or 2m. When one passes, the exit status
is 124.

Example: a server that is being started answers in capitals
  $ anteroom serve shout -- tr a-z A-Z &
  $ echo hello | anteroom connect --wait=5s shout
  HELLO

Example: the same over TCP, which other machines reach, too
  $ anteroom serve tcp::4711 -- tr a-z A-Z &
  $ echo hello | anteroom connect --wait=5s tcp:localhost:4711
  HELLO
`

// helpPipes is about what connect and serve cannot do through a pipe, and helpEndAfter about the flag that helps there.
const (
	helpPipes = `
On Windows, where local names are named pipes, the end of stdin is passed on only
between two of this program. With others, connect and serve end when the other
side has closed, or as --end-after says.
`
	helpEndAfter = `      --end-after DURATION  end once stdin has ended and nothing has come for so
                            long (default: when the other side has closed)
`
)

// isTyped reports whether a reader is a terminal.
func isTyped(r io.Reader) (typed bool) {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { typed = term.IsTerminal(int(fd)) })
	}
	return typed
}

// tellsClosed reports whether a peer that has closed can be told from one that has only ended its own side.
func tellsClosed(c conn) bool {
	_, ok := localSocket(c)
	return ok
}

// helpDialling is about the flags of dialOptions that each command has that connects.
const helpDialling = `      --timeout DURATION    how long a server is waited for whose queue is full, or
                            that does not answer (default 30s; 0: for ever)
      --proxy URL           reach a TCP server through a proxy:
                            socks5://[USER[:PASSWORD]@]HOST[:PORT] or http://…
                            Without PASSWORD, it is what the environment variable
                            ANTEROOM_PROXY_PASSWORD says, which ps(1) does not show
`

func (o *dialOptions) flags(fs flagSet) {
	fs.duration("timeout", &o.timeout)
	fs.text("proxy", setProxy(&o.proxy))
}

func runConnect(w *world, args []string) error {
	o := dialOptions{timeout: sock.DefaultWait}
	v := &voice{w: w.stderr}
	fs := newFlagSet("connect")
	fs.Var(optional{o.setWait}, "wait", "")
	o.flags(fs)
	var endAfter time.Duration
	fs.duration("end-after", &endAfter)
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
	at, err := oneAddress(operands, toConnect)
	if err != nil {
		return err
	}
	if err := o.check(at); err != nil {
		return err
	}
	if f := at.checkBesideStdio(); f != nil {
		return f
	}
	return untilSignal(w, func(ctx context.Context) error { return connect(ctx, w, v, at, o, endAfter) })
}

// untilSignal runs what ends soon after its context, which a signal ends.
func untilSignal(w *world, f func(context.Context) error) error {
	caught, stop := w.signals()
	defer stop()
	return orSignal(caught, f)
}

func orSignal(caught <-chan os.Signal, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- f(ctx) }()
	select {
	case err := <-result:
		return err
	case sig := <-caught:
		return signalled(sig)
	}
}

// connect connects stdin and stdout to a server, and carries until the connection has ended. When ctx ends it closes the connection. EndAfter
// is relay's.
func connect(ctx context.Context, w *world, v *voice, at address, o dialOptions, endAfter time.Duration) error {
	c, err := dial(ctx, v, at, o)
	if err != nil {
		return err
	}
	v.detail("connected to %s%s", at, inBrackets(peerWords(c)))
	return converse(ctx, w, v, passEnds(c, true), endAfter)
}

// converse carries stdin to a connection and the connection to stdout, and closes it.
func converse(ctx context.Context, w *world, v *voice, c conn, endAfter time.Duration) error {
	defer c.Close()
	defer context.AfterFunc(ctx, c.Abort)()
	r := &relay{conn: c, w: w, untilEnd: isTyped(w.stdin) && !tellsClosed(c), endAfter: endAfter}
	err := r.run()
	sent, received := r.total()
	v.detail("sent %d bytes, received %d", sent, received)
	return err
}
