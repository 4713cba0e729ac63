// Bench measures anteroom beside its peers: raw C epoll, Go's net, netpoll, gnet, Qt and Node.js. It builds what it needs, and lets the servers
// take turns, each in a process of its own, under one load generator. README.md in this directory says how to read what it prints.
//
//	go run .              five rounds of everything
//	go run . --quick      two minutes
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const help = `bench measures anteroom beside its peers, on this machine

Usage: go run . [FLAG…]     in the directory bench

      --quick              fewer measures and rounds: two minutes
      --rounds N           how many rounds of all measures (5; quick: 3)
      --turns N            how many turns a server has at a measure in a round
                           (11; quick: 1); those that no bar compares have a
                           third of them
      --only MEASURES      of pp1,echo10,echo100,echo1000,echo10000,sparse,
                           stream,stream1,push64,conn,connreq,idle
      --servers NAMES      of c-epoll,c-level,go-net,anteroom-loop,
                           loop-callbacks,anteroom,netpoll,gnet,qt,node
      --transport NAMES    of unix,tcp
      --run DURATION       how long to measure in each turn (100ms)
      --idle N             idle connections whose memory is measured (18000;
                           quick: 5000)
      --json FILE          keep all that was found
      --from FILE          measure nothing: show what an earlier run has kept
      --readme             rewrite the tables and plots of README.md, and of the
                           README.md above, between their bench:begin and
                           bench:end marks
      --check              exit with status 1 if a bar is missed

The tables go to stdout, the rest to stderr.
`

type options struct {
	quick, readme, check                 bool
	rounds, turns, idle                  int
	run                                  time.Duration
	only, servers, transport, json, from string
	source                               string // the directory bench
	command                              string // how this program was called
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	var usage usageError
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// A usageError is the caller's mistake.
type usageError struct{ error }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.source, err = sourceDir(); err != nil {
		return usageError{err}
	}
	if o.json != "" { // what cannot be kept is not measured
		if err := mayWrite(o.json); err != nil {
			return usageError{err}
		}
	}
	var r *Results
	if o.from != "" {
		r, err = load(o.from)
	} else {
		r, err = measureAll(ctx, o, stderr)
	}
	if err != nil {
		return err
	}
	for _, line := range r.about() {
		fmt.Fprintln(stdout, line)
	}
	for _, t := range r.tables() {
		t.writeText(stdout)
	}
	if o.json != "" {
		if err := r.save(o.json); err != nil {
			return err
		}
	}
	if o.readme {
		if err := r.rewriteReadmes(o.source, stderr); err != nil {
			return err
		}
	}
	if o.check {
		return check(r)
	}
	return nil
}

// mayWrite returns an error if a file cannot be written. One that is there stays as it is, and none is left that was not.
func mayWrite(file string) error {
	_, missing := os.Stat(file)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	f.Close()
	if errors.Is(missing, fs.ErrNotExist) {
		return os.Remove(file)
	}
	return nil
}

// check says which bars were missed.
func check(r *Results) error {
	var missed []string
	measured := 0
	for _, v := range r.judge() {
		if !v.found.ok() {
			continue
		}
		measured++
		if !v.met() {
			missed = append(missed, fmt.Sprintf("  %s: %s wanted, %s found", v.what(), v.want(), v.got()))
		}
	}
	if n, example := r.failures(); n > 0 {
		missed = append(missed, fmt.Sprintf("  %d runs failed, such as %s", n, example))
	}
	if measured == 0 {
		return errors.New("nothing was measured that a bar is about")
	}
	if len(missed) > 0 {
		return fmt.Errorf("of %d bars that were measured, not all were met:\n%s", measured, strings.Join(missed, "\n"))
	}
	return nil
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&o.quick, "quick", false, "")
	f.BoolVar(&o.readme, "readme", false, "")
	f.BoolVar(&o.check, "check", false, "")
	f.IntVar(&o.rounds, "rounds", 5, "")
	f.IntVar(&o.turns, "turns", 11, "")
	f.IntVar(&o.idle, "idle", 18000, "")
	f.DurationVar(&o.run, "run", 100*time.Millisecond, "")
	f.StringVar(&o.only, "only", "", "")
	f.StringVar(&o.servers, "servers", "", "")
	f.StringVar(&o.transport, "transport", "", "")
	f.StringVar(&o.json, "json", "", "")
	f.StringVar(&o.from, "from", "", "")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, help)
		return o, err
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("it takes no argument: %q", f.Arg(0))
	case err == nil && (o.rounds <= 0 || o.turns <= 0 || o.idle <= 0 || o.run <= 0):
		err = errors.New("--rounds, --turns, --idle and --run take positive values")
	case err == nil && (o.rounds > 1000 || o.turns > 100 || o.run > time.Hour):
		err = errors.New("there are at most 1000 rounds, of 100 turns of an hour")
	}
	if err != nil {
		return o, usageError{fmt.Errorf("%w (--help says more)", err)}
	}
	o.command = "go run ."
	given := make(map[string]bool)
	f.Visit(func(g *flag.Flag) { // what decides about the figures, and no names of files
		given[g.Name] = true
		switch g.Name {
		case "quick":
			o.command += " --quick"
		case "rounds", "turns", "idle", "run", "only", "servers", "transport":
			o.command += " --" + g.Name + " " + g.Value.String()
		}
	})
	for name, quick := range map[string]struct {
		to    *int
		value int
	}{"rounds": {&o.rounds, 3}, "turns": {&o.turns, 1}, "idle": {&o.idle, 5000}} {
		if o.quick && !given[name] {
			*quick.to = quick.value
		}
	}
	return o, nil
}

// sourceDir returns this module's directory, which is the working directory or the directory bench in it.
func sourceDir() (string, error) {
	for _, dir := range []string{".", "bench"} {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module anteroom/bench\n") {
			return filepath.Abs(dir)
		}
	}
	return "", errors.New("run it in the directory bench of the sources: go -C bench run .")
}

// measureAll builds the servers and measures them.
func measureAll(ctx context.Context, o options, log io.Writer) (*Results, error) {
	p := plan{rounds: o.rounds, turns: o.turns, idleRounds: (o.rounds + 1) / 2, run: o.run, warm: o.run / 2, idle: o.idle}
	var err error
	name := func(m measure) string { return m.name }
	if p.measures, err = selectNamed("measure", o.only, measures, name); err != nil {
		return nil, usageError{err}
	}
	if o.quick && o.only == "" {
		p.measures = nil
		for _, m := range measures {
			if m.quick {
				p.measures = append(p.measures, m)
			}
		}
		p.idleRounds = 1
	}
	if p.transports, err = selectNamed("transport", o.transport, transports, func(s string) string { return s }); err != nil {
		return nil, usageError{err}
	}
	wanted, err := selectNamed("server", o.servers, servers(), func(s server) string { return s.name })
	if err != nil {
		return nil, usageError{err}
	}

	cores, err := allowedCores()
	if err != nil {
		return nil, err
	}
	p.server, p.client = pickCores(cores, siblings)
	if p.server == p.client {
		fmt.Fprintln(log, "there is one core only: server and client share it, and rates and latencies mean little")
	}
	files, leftOut, err := p.fitFiles(log)
	if err != nil {
		return nil, err
	}

	if p.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(p.dir)
	b := &builder{source: o.source, dir: p.dir}
	r := &Results{Format: resultsFormat, LeftOut: leftOut, Command: o.command, Start: time.Now(), Rounds: p.rounds, Turns: p.turns,
		RunMS: int(p.run.Milliseconds()), WarmMS: int(p.warm.Milliseconds()), SliceMS: int(step{run: p.run}.slice().Milliseconds()), Machine: describeMachine(ctx, b)}
	r.Machine.Cores, r.Machine.Server, r.Machine.Client, r.Machine.Files = len(cores), p.server, p.client, files
	if p.load, err = b.load(ctx); err != nil {
		return nil, err
	}
	for _, s := range wanted {
		fmt.Fprintf(log, "building %s\n", s.name)
		argv, version, err := s.build(ctx, b, s.name)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			fmt.Fprintf(log, "left out: %s: %v\n", s.name, err)
			r.LeftOut = append(r.LeftOut, Peer{Name: s.name, Why: err.Error()})
			continue
		}
		s.argv = argv
		p.servers = append(p.servers, s)
		r.Servers = append(r.Servers, Peer{Name: s.name, Version: version})
	}
	if len(p.servers) == 0 {
		return nil, errors.New("no server could be built")
	}

	total, steal := cpuTimes(firstLine("/proc/stat"))
	progress := newProgress(log)
	r.Runs, err = p.execute(ctx, progress.done)
	progress.end()
	if err != nil {
		return nil, err
	}
	total2, steal2 := cpuTimes(firstLine("/proc/stat"))
	if total2 > total {
		r.Machine.Steal = 100 * float64(steal2-steal) / float64(total2-total)
	}
	r.Machine.LoadEnd, r.End = loadAverage(), time.Now()
	return r, nil
}

// fitFiles raises the limit of open files, leaves out the measures that still do not fit, and returns the limit and those measures.
func (p *plan) fitFiles(log io.Writer) (files uint64, leftOut []Peer, err error) {
	const others = 100 // descriptors that are no connections
	need := 0
	for _, m := range p.measures {
		need = max(need, m.conns)
		if m.load == "idle" {
			need = max(need, p.idle)
		}
	}
	if files, err = openFiles(uint64(need + others)); err != nil {
		return 0, nil, err
	}
	room := int(min(files, 1<<30)) - others
	var fit []measure
	for _, m := range p.measures {
		switch {
		case m.conns > room:
			why := fmt.Sprintf("it needs %d open files, the limit is %d: run it as root, or raise the hard limit (ulimit -Hn)", m.conns+others, files)
			fmt.Fprintf(log, "left out: %s: %s\n", m.name, why)
			leftOut = append(leftOut, Peer{Name: m.name, Why: why})
			continue
		case m.load == "idle" && p.idle > room:
			fmt.Fprintf(log, "%s: only %d connections, for the limit of open files is %d: run it as root, or raise the hard limit (ulimit -Hn)\n", m.name, room, files)
			p.idle = room
		}
		fit = append(fit, m)
	}
	p.measures = fit
	if len(fit) == 0 {
		return 0, nil, errors.New("nothing is left to measure")
	}
	return files, leftOut, nil
}
