package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// transports are the ones that can be measured.
var transports = []string{"unix", "tcp"}

// A plan is what to measure, and how.
type plan struct {
	transports []string
	measures   []measure
	servers    []server // built
	rounds     int
	turns      int           // of each server at a measure in a round
	warm, run  time.Duration // of each turn
	idle       int           // connections of the measure idle
	idleRounds int           // memory hardly differs between rounds
	server     int           // cores
	client     int
	dir        string // for sockets
	load       string // the load generator
}

// A step is a run that the plan provides for.
type step struct {
	round     int
	turn      int
	run       time.Duration
	measure   measure
	transport string
	server    server
}

const (
	// crowded is from how many connections on it takes longer to make them than to measure: then a round has half as many turns, each longer by
	// this factor.
	crowded = 10000
	longer  = 3
	// rarely is how many turns pass for each that a server has which no bar compares.
	rarely = 3
	// leastSlice is how long a part of a turn is that is measured by itself: short enough for most to pass undisturbed.
	leastSlice = 20 * time.Millisecond
	// perBusy is how long it is at least for each connection that is busy: several times what an echo takes.
	perBusy = 15 * time.Microsecond
	// mostSlices is how many parts a turn has at most: the load tells of all in one line, which must not be long.
	mostSlices = 200
)

// slice returns how long the step's slices are.
func (s step) slice() time.Duration {
	return min(max(leastSlice, time.Duration(cmp.Or(s.measure.active, s.measure.conns))*perBusy, s.run/mostSlices), s.run)
}

// steps returns the plan's runs in order: within a round, at each measure, the servers take turns, each second time in the opposite order. What
// another program takes away for some seconds, and where in memory a process happens to lie, falls upon all of them.
func (p *plan) steps() []step {
	var all []step
	order := [2][]server{slices.Clone(p.servers), p.servers} // of even turns, and of odd ones
	slices.Reverse(order[0])
	for round := 1; round <= p.rounds; round++ {
		for _, m := range p.measures {
			turns, run := p.turns, p.run
			switch {
			case m.load == "idle" && round > p.idleRounds:
				continue
			case m.load == "idle":
				turns = 1
			case m.conns >= crowded:
				turns, run = max(1, p.turns/2), longer*p.run
			}
			for _, t := range p.transports {
				for turn := 1; turn <= turns; turn++ {
					for _, s := range order[turn%2] {
						if (s.only == "" || s.only == m.name) && (!s.rare || turn%rarely == 1) {
							all = append(all, step{round, turn, run, m, t, s})
						}
					}
				}
			}
		}
	}
	return all
}

// execute takes the plan's steps and tells done of each. What fails is in the Run; only the context's end stops it.
func (p *plan) execute(ctx context.Context, done func(i, n int, r Run)) ([]Run, error) {
	var runs []Run
	spawn := newSpawner()
	steps := p.steps()
	for i, s := range steps {
		r, err := p.one(ctx, spawn, s)
		if ctx.Err() != nil {
			return runs, context.Cause(ctx)
		}
		r.Round, r.Turn, r.Transport, r.Measure, r.Server = s.round, s.turn, s.transport, s.measure.name, s.server.name
		if err != nil {
			r.Error = err.Error()
		}
		runs = append(runs, r)
		done(i, len(steps), r)
	}
	return runs, nil
}

// one measures one server once, in a process of its own.
func (p *plan) one(ctx context.Context, spawn *spawner, s step) (Run, error) {
	srv, address, err := p.serve(ctx, spawn, s)
	if err != nil {
		return Run{}, fmt.Errorf("server: %w", err)
	}
	defer srv.stop()
	if s.measure.load == "idle" {
		return p.measureIdle(ctx, spawn, s, srv, address)
	}
	core := p.client
	if s.measure.shared {
		core = p.server
	}
	args := []string{"warm=" + millis(p.warm), "run=" + millis(s.run), "slice=" + millis(s.slice())}
	if s.measure.conns > 0 {
		args = append(args, "conns="+strconv.Itoa(s.measure.conns))
	}
	if s.measure.active > 0 {
		args = append(args, "active="+strconv.Itoa(s.measure.active))
	}
	client, err := p.connect(ctx, spawn, core, s, srv, address, args)
	if err != nil {
		return Run{}, fmt.Errorf("load: %w", err)
	}
	defer client.stop()
	line, err := client.line(ctx, time.Minute+10*(p.warm+s.run))
	if err != nil {
		return Run{}, fmt.Errorf("load: %w", err)
	}
	return parseRun(line)
}

func millis(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

// parseRun reads what the load says.
func parseRun(line string) (Run, error) {
	var r Run
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return Run{}, fmt.Errorf("load said %q: %w", line, err)
	}
	if r.Ops == 0 || r.NS == 0 {
		return Run{}, fmt.Errorf("load measured nothing: %q", line)
	}
	return r, nil
}

// serve starts a server, and returns it and its address when it listens.
func (p *plan) serve(ctx context.Context, spawn *spawner, s step) (*process, string, error) {
	var failed error
	for range 3 { // a port that was free may be taken by now
		address := "unix:" + filepath.Join(p.dir, "s")
		if s.transport == "tcp" {
			port, err := freePort()
			if err != nil {
				return nil, "", err
			}
			address = "tcp:127.0.0.1:" + strconv.Itoa(port)
		} else if err := os.Remove(filepath.Join(p.dir, "s")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, "", err // what the server before has left, which was killed
		}
		argv := append(append([]string{}, s.server.argv...), address, s.measure.mode)
		srv, err := launch(ctx, spawn.on(p.server), append(argv, s.server.args...))
		if err != nil {
			return nil, "", err
		}
		if failed = srv.expect(ctx, "ready", 20*time.Second); failed == nil {
			return srv, address, nil
		}
		srv.stop()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", failed
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (p *plan) connect(ctx context.Context, spawn *spawner, core int, s step, srv *process, address string, args []string) (*process, error) {
	argv := []string{p.load, address, strconv.Itoa(srv.cmd.Process.Pid), s.measure.load}
	return launch(ctx, spawn.on(core), append(argv, args...))
}

// memory returns what a server holds: resident, and, if it can say that, in use.
func memory(ctx context.Context, s server, srv *process) (resident, used int64, err error) {
	if s.heap {
		if err := askMemory(srv); err != nil {
			return 0, 0, err
		}
		line, err := srv.line(ctx, 20*time.Second)
		if err != nil {
			return 0, 0, err
		}
		if used, err = parseMemory(line); err != nil {
			return 0, 0, err
		}
	}
	resident, err = residentBytes(srv.cmd.Process.Pid)
	return resident, used, err
}

// parseMemory reads "memory HEAP STACKS", and returns the sum.
func parseMemory(line string) (int64, error) {
	var heap, stacks int64
	if n, err := fmt.Sscanf(strings.TrimSpace(line), "memory %d %d", &heap, &stacks); n != 2 {
		return 0, fmt.Errorf("the server said %q where its memory was asked for: %w", line, err)
	}
	return heap + stacks, nil
}

// measureIdle returns by how much the server's memory grows with many connections.
func (p *plan) measureIdle(ctx context.Context, spawn *spawner, s step, srv *process, address string) (Run, error) {
	conns := p.idle
	if most := s.server.idle; most > 0 {
		conns = min(conns, most)
	}
	resident, used, err := memory(ctx, s.server, srv)
	if err != nil {
		return Run{}, fmt.Errorf("server: %w", err)
	}
	client, err := p.connect(ctx, spawn, p.client, s, srv, address, []string{"conns=" + strconv.Itoa(conns)})
	if err != nil {
		return Run{}, fmt.Errorf("load: %w", err)
	}
	defer client.stop()
	if err := client.expect(ctx, "idle", 2*time.Minute); err != nil {
		return Run{}, fmt.Errorf("load: %w", err)
	}
	resident2, used2, err := memory(ctx, s.server, srv)
	if err != nil {
		return Run{}, fmt.Errorf("server: %w", err)
	}
	return Run{Conns: conns, RSS: resident2 - resident, InUse: used2 - used, Heap: s.server.heap}, nil
}
