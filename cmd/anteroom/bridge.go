package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"anteroom/proxy"
	"anteroom/sock"
)

const helpBridge = `Relay between two addresses: who connects to the one reaches the other

Usage: anteroom bridge [FLAG…] FROM TO

FROM is served, and for each connection to it TO is connected to. What either
side sends goes to the other one, without a limit but in pieces, so that the
slower side sets the pace. The end of what a side sends is passed on, and the
other direction goes on; on Windows, to a local name, with --once only.
If TO cannot be reached, only that connection ends, and stderr says why, once
until TO is reached again. If a connection is reset, so is the one beside it.

For all addresses:
      --max-conns N         how many connections there are at once (default 4096);
                            further ones wait
      --once                carry one connection, and end
` + helpLimits + `      --timeout DURATION    how long TO is waited for whose queue is full, or that
                            does not answer (default 30s; 0: for ever)
  -q, --quiet               say nothing but errors
  -v, --verbose             say who connects, and how connections end

If FROM is a local name:
` + helpAccess + `
If TO is a TCP port:
      --proxy URL           reach it through a proxy, as with connect

FROM and TO are local names or TCP ports. FROM may also be systemd: or fd:N, a
socket that listens, as with serve. TO may also be fd:N, a connection that there
is, which can be carried once. Either may be -, stdin and stdout: "bridge - TO" is
"connect TO", and "bridge FROM -" is "serve FROM" without a command.

At SIGINT, SIGTERM or SIGHUP bridge stops listening, waits until the connections
have ended, and says how much it has carried; a second signal breaks them off.

Example: a local server for those who only know TCP
  $ anteroom serve shout -- tr a-z A-Z &
  $ anteroom bridge tcp:127.0.0.1:4711 shout &
  $ echo hello | anteroom connect --wait=5s tcp:127.0.0.1:4711
  HELLO

Example: a database on another machine under a local name, for this user alone
  $ anteroom bridge --access user /tmp/.s.PGSQL.5432 tcp:db.example.org:5432
`

// bridgeOptions is what bridge is told.
type bridgeOptions struct {
	listenOptions
	dial     dialOptions
	maxConns int
	from, to address
}

func runBridge(w *world, args []string) error {
	v := &voice{w: w.stderr}
	o, err := parseBridge(v, args)
	if err != nil {
		return err
	}
	if o.from.kind == stdio {
		return untilSignal(w, func(ctx context.Context) error { return connect(ctx, w, v, o.to, o.dial, 0) })
	}
	caught, stop := w.signals() // before there is a file that has to be removed
	defer stop()
	srv, err := o.listenUnless(caught, v, o.from)
	if err != nil {
		return err
	}
	defer srv.Close()
	if o.to.kind == stdio {
		s := &serving{w: w, v: v, srv: srv}
		return orSignal(caught, s.oneClient)
	}
	b := &bridge{v: v, o: o, srv: srv, slots: make(chan struct{}, o.maxConns), live: make(map[*link]bool), began: time.Now()}
	defer b.vessels.close()
	return b.run(caught)
}

func parseBridge(v *voice, args []string) (o bridgeOptions, err error) {
	o.maxConns = 4096
	o.dial.timeout = sock.DefaultWait
	fs := newFlagSet("bridge")
	o.listenOptions.flags(fs)
	o.dial.flags(fs)
	fs.number("max-conns", 1, &o.maxConns)
	fs.bool("q quiet", &v.quiet)
	fs.bool("v verbose", &v.verbose)
	operands, err := fs.parse(args)
	switch {
	case err != nil:
		return o, err
	case len(operands) != 2:
		return o, usage("two addresses are wanted, FROM and TO, and %d given", len(operands))
	}
	var f *failure
	if o.from, f = parseAddress(operands[0], toServe|stdio); f != nil {
		return o, f
	}
	if o.to, f = parseAddress(operands[1], toConnect|stdio); f != nil {
		return o, f
	}
	same := o.from.kind == o.to.kind && o.from.String() == o.to.String()
	switch {
	case same && o.from.kind == stdio:
		return o, usage("- can be one of the two addresses, and not both")
	case same && o.dial.proxy.Type == proxy.DefaultProxy: // through a proxy it is another machine's
		return o, usage("%s is FROM and TO: the bridge would lead to itself", o.from)
	}
	switch stdio {
	case o.from.kind:
		f = o.to.checkBesideStdio()
	case o.to.kind:
		f = o.from.checkBesideStdio()
	}
	if f != nil {
		return o, f
	}
	if err := o.listenOptions.check(o.from); err != nil {
		return o, err
	}
	if err := o.dial.check(o.to); err != nil {
		return o, err
	}
	if o.to.kind&(stdio|descriptor) != 0 {
		o.once = true // there is one connection
	}
	return o, nil
}

// A bridge relays between whoever connects to a server and another one.
type bridge struct {
	v       *voice
	o       bridgeOptions
	srv     server
	slots   chan struct{} // as many as there may be connections
	vessels vessels
	began   time.Time
	all     sync.WaitGroup

	mu      sync.Mutex
	live    map[*link]bool
	killed  bool   // those that are made now are broken off, too
	failing string // why TO could not be reached the last time; "": it was
	counts
}

// counts is what a bridge has done. What was carried is counted when a connection has ended.
type counts struct {
	conns   int           // that have come
	ended   int           // of them
	failed  int           // of them: TO could not be reached, or they broke off
	carried [2]int64      // bytes to TO, and back
	longest time.Duration // that one has lasted
}

// run relays until a signal, and then until the connections that there are have ended; or, with once, one of them.
func (b *bridge) run(caught <-chan os.Signal) error {
	dialling, cancel := context.WithCancel(context.Background())
	defer cancel()
	accepting, stopAccepting := context.WithCancel(dialling)
	defer stopAccepting()
	result := make(chan error, 1)
	go func() { result <- b.accept(accepting, dialling) }()
	var sig os.Signal
	select {
	case err := <-result: // with once
		b.report()
		return err
	case sig = <-caught:
	}
	stopAccepting()
	b.srv.Close()

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-result
		b.all.Wait()
	}()
	b.mu.Lock()
	n := b.conns - b.ended
	b.mu.Unlock()
	if n > 0 {
		b.v.say("stopped listening, waiting for %d to end; a second signal breaks them off", n)
	}
	select {
	case <-ended:
	case <-caught:
		cancel()
		b.kill()
		<-ended
	}
	b.report()
	return signalled(sig)
}

// accept takes connections until ctx ends, or, with once, one, whose end it waits for.
func (b *bridge) accept(ctx, dialling context.Context) error {
	for {
		select {
		case b.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := accept(ctx, b.srv)
		if err != nil {
			<-b.slots
			return fail(err)
		}
		if b.o.once {
			b.srv.Close()
			return b.carry(dialling, c)
		}
		b.all.Go(func() { b.carry(dialling, c) })
	}
}

// carry connects to TO for somebody who has come, and carries. What goes wrong ends nothing else; the error is for once.
func (b *bridge) carry(ctx context.Context, c conn) error {
	defer func() { <-b.slots }()
	began := time.Now()
	b.mu.Lock()
	b.conns++
	id := b.conns
	b.mu.Unlock()
	b.v.detail("connection %d%s", id, inBrackets(peerWords(c)))

	l := new(link)
	to, err := dial(ctx, b.v, b.o.to, b.o.dial)
	if err != nil {
		b.sayUnreached(ctx, id, err)
		reset(c)
	} else {
		c = passEnds(c, false)
		if b.o.once { // TO has one connection of this process
			to = passEnds(to, true)
		}
		l.sides = [2]conn{c, to}
		b.enter(l)
		err = l.run(&b.vessels)
	}
	lasted := time.Since(began)
	there, back := l.carried[0].Load(), l.carried[1].Load()
	b.mu.Lock()
	delete(b.live, l)
	b.ended++
	b.carried[0] += there
	b.carried[1] += back
	b.longest = max(b.longest, lasted)
	if err != nil {
		b.failed++
	}
	b.mu.Unlock()
	switch {
	case err == nil:
		b.v.detail("connection %d: ended, after %d bytes there and %d back", id, there, back)
		return nil
	case to != nil: // else it was said
		b.v.detail("connection %d: %v, after %d bytes there and %d back", id, err, there, back)
	}
	return fail(err)
}

// sayUnreached says why TO could not be reached, unless that is what it was the last time, or the command ends with it.
func (b *bridge) sayUnreached(ctx context.Context, id int, err error) {
	b.mu.Lock()
	news := b.failing != err.Error()
	b.failing = err.Error()
	b.mu.Unlock()
	if news && !b.o.once && ctx.Err() == nil {
		b.v.complain("connection %d: %v", id, err)
	} else {
		b.v.detail("connection %d: %v", id, err)
	}
}

func (b *bridge) enter(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live[l] = true
	b.failing = ""
	if b.killed {
		l.breakOff(errKilled)
	}
}

// kill breaks off the links that there are, and those that would come.
func (b *bridge) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killed = true
	for l := range b.live {
		l.breakOff(errKilled)
	}
}

var errKilled = errors.New("a signal has ended it")

// report says what was done.
func (b *bridge) report() {
	b.mu.Lock()
	defer b.mu.Unlock()
	noun := "connections"
	if b.conns == 1 {
		noun = "connection"
	}
	b.v.say("%d %s in %v, %d failed, the longest lasted %v: %d bytes there, %d back",
		b.conns, noun, roundly(time.Since(b.began)), b.failed, roundly(b.longest), b.carried[0], b.carried[1])
}

// roundly rounds a duration to what is worth reading of it.
func roundly(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
