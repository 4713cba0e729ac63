package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"anteroom/cmd/anteroom/internal/load"
	"anteroom/proxy"
)

const helpBench = `Measure a server: how often and how fast it answers; or what this machine can do

Usage: anteroom bench [FLAG…] ADDRESS
       anteroom bench [FLAG…] --self

The server must send back what it is sent, as "anteroom serve NAME -- cat" does.
What comes back is compared with what was sent; a difference is an error.

  -c, --connections N   how many connections there are at once (default 10)
  -s, --size BYTES      how much is sent at a time (default 64; stream: 65536)
  -d, --duration D      how long is measured (default 5s; --self: 1s each)
      --warmup D        how long it runs before that (default 200ms)
  -r, --rate N          requests a second, over all connections. They are due at
                        fixed times, from which latencies count, also when the
                        server cannot keep up. Without, each connection sends
                        when it has its answer
  -m, --mode MODE       echo     send, and wait for the answer (default)
                        connect  connect, and close
                        connreq  connect, send, wait for the answer, and close
                        stream   send as much as is taken; what comes back is
                                 thrown away
      --timeout D       how long a connection is waited for, an answer with
                        connreq, and at the end the answers that are missing
                        (default 5s)
      --self            start servers of this program's library, each a process
                        of its own, and measure them: a local name and a TCP
                        port, blocking and on event loops, in the modes echo,
                        connreq and stream, or the one that --mode says
      --wait[=D]        if there is no server yet, wait until there is one
      --proxy URL       reach a TCP server through a proxy, as with connect
      --json            one JSON object
  -q, --quiet           say nothing but errors, and show no progress

ADDRESS is a local name or a TCP port. A request counts if it began in the
measured time, or was due then. Percentiles are at most 0.1 percent too high. Of
a rate, "late" is what was sent more than 1 ms after it was due, since all
connections were waiting for answers, and "unsent" what was not sent at all by
the end. Of echo and stream, a connection that fails is not made again. CPU is
what the system has counted for a whole process.

Durations are written like 500ms, 10s or 2m, and are at most 720h. The exit
status is 1 if anything has failed that was measured; what keeps it from being
measured has the status that "anteroom help" lists. SIGINT ends it early, and
what was measured so far is said.

The keys of --json: address, mode, loop (closed or open), connections,
size_bytes, warmup_s, duration_s (measured), interrupted, requests,
requests_per_s (of connect connections, of stream writes), sent_bytes,
received_bytes, sent_bytes_per_s, received_bytes_per_s, latency_p50_us,
latency_p90_us, latency_p99_us, latency_p99_9_us, latency_max_us and
latency_mean_us; rate_per_s, due, late and unsent (with --rate); client_cpu_s
and client_cpu_us_per_request; errors, their number; and errors_by_kind, an
object with the number of each kind: mismatch, excess, closed, no_answer,
stalled, refused, connect_timeout, no_descriptors, no_ports, other. What does
not apply, or is not known, is null. With --self: os, arch, cpus, go, and
results, an array of such objects, which also have transport (local or tcp),
server (blocking or loops), server_cpu_s and server_cpu_us_per_request.

Example:
  $ anteroom serve -q echo -- cat &
  $ anteroom bench --wait=5s --connections 4 --rate 1000 echo
  echo of 64 bytes at /tmp/echo, 4 connections, 1000 requests a second, 5s

  requests    5000, 1000 a second; 5000 were due, 0 late, 0 unsent
  bytes       64.0 kB/s each way
              P50     P90     P99     P99.9   MAX     MEAN
  latency     43.5µs  68.1µs  134µs   291µs   1.02ms  47.3µs
  client CPU  41.2µs a request, 0.0412 cores
  errors      none
`

// sentTwice is how long after a signal another one is taken for the same.
const sentTwice = 100 * time.Millisecond

// The limits of what bench takes. Beyond them are mistakes.
const (
	maxSize     = 1 << 30
	maxRate     = 1e7
	maxDuration = 720 * time.Hour
)

// benchOptions is what bench is told.
type benchOptions struct {
	load.Config
	at      address
	dial    dialOptions
	self    bool
	modes   []load.Mode // of self
	json    bool
	sized   bool     // whether Size was said
	serving selfKind // what this process is to serve for another one's --self; the zero selfKind: nothing
}

func runBench(w *world, args []string) error {
	v := &voice{w: w.stderr}
	o, err := parseBench(v, args)
	switch {
	case err != nil:
		return err
	case o.serving != selfKind{}:
		return serveSelf(w, o.serving)
	}
	caught, stop := w.signals()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b := &bench{w: w, v: v, o: o, bar: newBar(w, v)}
	result := make(chan error, 1)
	go func() {
		if o.self {
			result <- b.measureSelf(ctx)
		} else {
			result <- b.measureAddress(ctx)
		}
	}()
	select {
	case err = <-result:
	case sig := <-caught:
		// A second one ends the process, whatever it waits for; but timeout(1) sends the first one twice.
		defer time.AfterFunc(sentTwice, stop).Stop()
		cancel()
		if err := <-result; err != nil && !errors.Is(err, context.Canceled) {
			if f := fail(err).(*failure); f.err != nil {
				v.failure("", f)
			}
		}
		return signalled(sig)
	}
	return err
}

func parseBench(v *voice, args []string) (o benchOptions, err error) {
	o.Connections, o.Size, o.Mode = 10, 64, load.Echo
	o.Warmup, o.Timeout = 200*time.Millisecond, 5*time.Second
	fs := newFlagSet("bench")
	fs.number("c connections", 1, &o.Connections)
	fs.text("s size", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxSize {
			return fmt.Errorf("%q is no number of bytes from 1 to %d", s, maxSize)
		}
		o.Size, o.sized = n, true
		return nil
	})
	fs.text("d duration", someTime(time.Nanosecond, &o.Duration))
	fs.text("warmup", someTime(0, &o.Warmup))
	fs.text("timeout", someTime(time.Nanosecond, &o.Timeout))
	fs.text("r rate", func(s string) error {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !(n > 0 && n <= maxRate) {
			return fmt.Errorf("%q is no number of requests a second above 0 and up to %.0f", s, float64(maxRate))
		}
		o.Rate = n
		return nil
	})
	fs.text("m mode", func(s string) error {
		switch o.Mode = load.Mode(s); o.Mode {
		case load.Echo, load.Connect, load.Request, load.Stream:
			o.modes = []load.Mode{o.Mode}
			return nil
		}
		return fmt.Errorf("%q is none of echo, connect, connreq and stream", s)
	})
	fs.bool("self", &o.self)
	fs.text("self-server", o.serving.set) // not for users: the server's side of --self
	fs.Var(optional{o.dial.setWait}, "wait", "")
	fs.text("proxy", setProxy(&o.dial.proxy))
	fs.bool("json", &o.json)
	fs.bool("q quiet", &v.quiet)
	operands, err := fs.parse(args)
	switch {
	case err != nil:
		return o, err
	case o.serving != selfKind{}:
		return o, nil
	case o.self && len(operands) > 0:
		return o, usage("--self measures servers of its own, and takes no address such as %s", operands[0])
	case o.self && (o.dial.wait || o.dial.proxy.Type != proxy.DefaultProxy):
		return o, usage("--wait and --proxy lead to a server that is elsewhere, and --self starts its own")
	case o.Mode == load.Stream && o.Rate > 0:
		return o, usage("--rate is about requests, and a stream has none")
	case o.Mode == load.Connect && o.sized:
		return o, usage("--size is how much is sent, and with --mode connect nothing is")
	case o.self && o.Rate > 0 && o.modes == nil:
		o.modes = []load.Mode{load.Echo, load.Request}
	case o.self && o.modes == nil:
		o.modes = []load.Mode{load.Echo, load.Request, load.Stream}
	}
	if !o.self {
		if len(operands) == 0 {
			return o, usage("there is no address; --self measures what this machine can do")
		}
		if o.at, err = oneAddress(operands, localName|tcpPort); err != nil {
			return o, err
		}
		o.dial.timeout = o.Timeout
		if err := o.dial.check(o.at); err != nil {
			return o, err
		}
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Second
		if o.self {
			o.Duration = time.Second
		}
	}
	o.sizeFor(o.Mode)
	const others = 32 // stdin and its like, the runtime's poller, a child's pipes
	if limit, known := descriptorLimit(); known && o.Connections > limit-others {
		return o, usage("%d connections are more than this process may have open, which are %d descriptors: take fewer, or raise the limit (ulimit -n)",
			o.Connections, limit)
	}
	return o, nil
}

// sizeFor sets the size that a mode has if none was said.
func (o *benchOptions) sizeFor(m load.Mode) {
	if o.Mode = m; o.sized {
		return
	}
	o.Size = 64
	if m == load.Stream {
		o.Size = 64 << 10
	}
}

// someTime reads a duration that is at least so long.
func someTime(least time.Duration, to *time.Duration) func(string) error {
	return func(s string) error {
		d, err := parseDuration(s)
		switch {
		case err != nil:
			return err
		case d < least:
			return errors.New("it must be longer than nothing")
		case d > maxDuration:
			return fmt.Errorf("%s is longer than %v", s, maxDuration)
		}
		*to = d
		return nil
	}
}

// A bench is at work.
type bench struct {
	w   *world
	v   *voice
	o   benchOptions
	bar *bar
}

// measureAddress measures a server.
func (b *bench) measureAddress(ctx context.Context) error {
	d := &dialler{v: b.v, at: b.o.at, o: b.o.dial}
	if err := d.prepare(ctx, b.o.Mode); err != nil {
		return err
	}
	defer d.close()
	cfg := b.o.Config
	cfg.Dial = d.dial
	cfg.Progress = b.bar.show
	res, err := load.Run(ctx, cfg)
	b.bar.clear()
	if err != nil {
		return explainRun(ctx, err)
	}
	m := measured{address: b.o.at.String(), cfg: cfg, res: res}
	if b.o.json {
		err = writeJSON(b.w.stdout, m.object())
	} else {
		err = m.print(b.w.stdout)
	}
	if err != nil {
		return outputError(err)
	}
	return m.failure()
}

// explainRun makes a failure of why a measurement could not begin.
func explainRun(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var hints []string
	if kind := load.KindOf(err); kind == load.NoDescriptors || kind == load.NoPorts {
		hints = append(hints, adviceOn[kind])
	}
	f := fail(err).(*failure)
	return &failure{f.status, err, append(f.hints, hints...)} // with the words that were put before it
}

// A dialler makes connections to an address. Several goroutines may use it once it is prepared.
type dialler struct {
	v  *voice
	at address
	o  dialOptions

	explain bool // an error ends it all, in place of being counted

	mu    sync.Mutex
	first net.Conn // the one that prepare has made, if it is to be used
}

// prepare sees that there is a server, which it waits for as the options say, and where: a host is looked up only once.
func (d *dialler) prepare(ctx context.Context, m load.Mode) error {
	c, err := dial(ctx, d.v, d.at, d.o)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	d.o.wait, d.explain = false, m.Lasts()
	if d.at.kind == tcpPort && d.o.proxy.Type == proxy.DefaultProxy {
		if to, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
			d.at.host, d.at.ip = to.Addr().String(), to.Addr()
		}
	}
	if m.Lasts() {
		d.first = c
	} else {
		c.Close()
	}
	return nil
}

func (d *dialler) dial(ctx context.Context) (net.Conn, error) {
	if c := d.take(); c != nil {
		return c, nil
	}
	c, err := dialOnce(ctx, d.at, d.o)
	if err != nil && d.explain {
		err = explainDial(err, d.at, d.o)
	}
	return c, err
}

// take returns the connection that prepare has made, once.
func (d *dialler) take() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.first
	d.first = nil
	return c
}

func (d *dialler) close() {
	if c := d.take(); c != nil {
		c.Close()
	}
}

// adviceOn is what a user may do about errors of a kind.
var adviceOn = map[load.Kind]string{
	load.Mismatch:       `what came back is not what was sent: the server must be an echo server, as "anteroom serve NAME -- cat" is`,
	load.Excess:         `more came back than was sent: the server must be an echo server, as "anteroom serve NAME -- cat" is`,
	load.Closed:         "the server has closed connections before it had sent everything back",
	load.NoAnswer:       "answers were missing at the end: the server must be an echo server, and serve so many connections at once; --timeout waits longer",
	load.Stalled:        "connections stood still: the server must serve so many at once, and with --mode stream read; --duration can be longer",
	load.Refused:        "the server has gone, or lets in no more",
	load.ConnectTimeout: "the server lets nobody in, and its queue is full: --connections and --rate can be lower, --timeout longer",
	load.NoDescriptors:  "descriptors or memory have run out: --connections can be fewer, the limit higher (ulimit -n)",
	load.NoPorts: "the ports for this side of TCP connections have run out, for the system keeps each for a while: " +
		"--rate can be lower, --duration shorter",
}

// failure says what has gone wrong, or returns nil if nothing has.
func (m *measured) failure() error {
	if m.res.Failed() == 0 {
		return nil
	}
	var kinds []string
	f := &failure{status: exitPeer}
	for _, e := range m.res.Errors {
		kinds = append(kinds, fmt.Sprintf("%d %s", e.Count, e.Kind))
		hint := fmt.Sprintf("%s: %v", e.Kind, e.First)
		f.hints = append(f.hints, hint)
		if advice := adviceOn[e.Kind]; advice != "" {
			f.hints = append(f.hints, advice)
		}
	}
	noun := "errors"
	if m.res.Failed() == 1 {
		noun = "error"
	}
	f.err = fmt.Errorf("%s: %d %s: %s", m.address, m.res.Failed(), noun, strings.Join(kinds, ", "))
	return f
}

// round3 rounds a figure to what is worth reading of it, without the noise of binary fractions.
func round3(f float64) float64 { return math.Round(f*1000) / 1000 }
