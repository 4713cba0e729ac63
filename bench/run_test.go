package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The whole benchmark, with tiny counts.
func TestRunOfTwoServers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("measuring needs Linux")
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("the load generator needs a C compiler: ", err)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"--servers", "go-net,anteroom-loop", "--only", "pp1,echo10,stream,push64,conn,connreq,idle",
		"--rounds", "2", "--turns", "2", "--run", "50ms", "--idle", "20", "--json", file}, &out, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	r, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	if n, example := r.failures(); n > 0 {
		t.Errorf("%d runs failed, such as %s", n, example)
	}
	// Six measures in both turns of both rounds and idle in the first, of two servers on two transports.
	if want := (6*2*2 + 1) * 4; len(r.Runs) != want {
		t.Errorf("%d runs, want %d", len(r.Runs), want)
	}
	for _, run := range r.Runs {
		if run.Measure == "idle" {
			if run.Conns != 20 || !run.Heap {
				t.Errorf("%s: %+v", run.label(), run)
			}
			continue
		}
		var ops, ns, cpu uint64
		for _, s := range run.Slices {
			ops, ns, cpu = ops+s.Ops, ns+s.NS, cpu+s.CPU
		}
		if ops == 0 || ops != run.Ops || ns != run.NS || cpu == 0 || cpu != run.CPU {
			t.Errorf("%s: %+v, whose slices have %d operations in %d ns with %d ns of processor time", run.label(), run, ops, ns, cpu)
		}
	}
	if f := r.ratio("unix", "echo10", "anteroom-loop", "go-net", cpu); f.n != 2 {
		t.Errorf("the ratio is of %d rounds, want 2", f.n)
	}
	for _, want := range []string{"Server CPU per operation in µs, TCP", "Memory of an idle connection", "anteroom-loop / go-net"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, out.String())
		}
	}
}

func TestInterruptedRunEndsAndLeavesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("measuring needs Linux")
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	p := plan{transports: []string{"unix"}, measures: measures[:1], rounds: 1, turns: 1, dir: t.TempDir(),
		servers: []server{{name: "mute", argv: []string{"sleep", "1000"}}}}
	cores, err := allowedCores()
	if err != nil {
		t.Fatal(err)
	}
	p.server = cores[0]
	var cmd *exec.Cmd
	spawn := newSpawner()
	start := spawn.on(p.server)
	proc, err := launch(ctx, func(c *exec.Cmd) error { cmd = c; return start(c) }, p.servers[0].argv)
	if err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if err := proc.expect(ctx, "ready", 0); err == nil {
		t.Error("a server that says nothing is ready")
	}
	proc.stop()
	if cmd.ProcessState == nil {
		t.Error("the child was not waited for")
	}
	if _, err := p.execute(ctx, func(int, int, Run) {}); !errors.Is(err, cause) {
		t.Errorf("the run ended with %v, want %v", err, cause)
	}
}

func TestServersTakeTurns(t *testing.T) {
	p := plan{transports: []string{"unix"}, rounds: 2, turns: 4, idleRounds: 1,
		servers: []server{{name: "a"}, {name: "b"}, {name: "c", only: "idle"}, {name: "d", rare: true}}}
	for _, name := range []string{"pp1", "sparse", "idle"} {
		m, _ := findMeasure(name)
		p.measures = append(p.measures, m)
	}
	var got []string
	for _, s := range p.steps() {
		got = append(got, s.measure.name+" "+s.server.name)
	}
	want := strings.Split("pp1 a,pp1 b,pp1 d,pp1 b,pp1 a,pp1 a,pp1 b,pp1 d,pp1 b,pp1 a,sparse a,sparse b,sparse d,sparse b,sparse a,idle a,idle b,idle c,idle d,"+
		"pp1 a,pp1 b,pp1 d,pp1 b,pp1 a,pp1 a,pp1 b,pp1 d,pp1 b,pp1 a,sparse a,sparse b,sparse d,sparse b,sparse a", ",")
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSlices(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		conns, active int
		run, want     time.Duration
	}{
		{0, 0, 120 * ms, 20 * ms},
		{1000, 0, 120 * ms, 20 * ms},
		{10000, 0, 600 * ms, 150 * ms},
		{10000, 10, 600 * ms, 20 * ms},
		{10, 0, 5 * ms, 5 * ms},
		{10, 0, time.Minute, 300 * ms},
	} {
		s := step{run: c.run, measure: measure{conns: c.conns, active: c.active}}
		if got := s.slice(); got != c.want {
			t.Errorf("%v: slices of %v, want %v", s, got, c.want)
		}
	}
}

func TestParseRun(t *testing.T) {
	r, err := parseRun(`{"slices":[{"ops":10,"ns":1000,"cpu_ns":500}],"ops":10,"ns":1000,"cpu_ns":500,"client_cpu_ns":7,"p50_ns":3,"p99_ns":4}`)
	want := Run{Ops: 10, NS: 1000, CPU: 500, ClientCPU: 7, P50: 3, P99: 4, Slices: []Slice{{10, 1000, 500}}}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v %v", r, err)
	}
	for _, line := range []string{"", "no answer", `{"ops":0,"ns":5}`} {
		if _, err := parseRun(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestParseMemory(t *testing.T) {
	if n, err := parseMemory("memory 100 23\n"); n != 123 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if _, err := parseMemory("ready"); err == nil {
		t.Error("another line was taken")
	}
	if n, err := parseResident([]byte("00400000-7ffc [rollup]\nRss:     1234 kB\nPss:  1 kB\n")); n != 1234<<10 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if _, err := parseResident(nil); err == nil {
		t.Error("nothing was taken for a figure")
	}
}

func TestCores(t *testing.T) {
	for list, want := range map[string][]int{"": nil, "3": {3}, "0,4": {0, 4}, "0-2,7": {0, 1, 2, 7}} {
		if got := parseCores(list); !slices.Equal(got, want) {
			t.Errorf("%q is %v, want %v", list, got, want)
		}
	}
	pairs := func(c int) []int { return []int{c &^ 1, c | 1} }
	for _, c := range []struct {
		allowed        []int
		server, client int
	}{
		{[]int{5}, 5, 5},
		{[]int{0, 1}, 1, 0}, // better than sharing one
		{[]int{0, 1, 2, 3}, 3, 0},
		{[]int{2, 3, 5}, 5, 2},
	} {
		if s, cl := pickCores(c.allowed, pairs); s != c.server || cl != c.client {
			t.Errorf("of %v: server %d, client %d; want %d, %d", c.allowed, s, cl, c.server, c.client)
		}
	}
	if total, steal := cpuTimes("cpu  1 2 3 4 5 6 7 8 9 10"); total != 36 || steal != 8 {
		t.Errorf("%d %d", total, steal)
	}
}

func TestFlags(t *testing.T) {
	o, err := parse([]string{"--quick", "--only", "pp1", "--json", "/secret/file", "--check"}, io.Discard)
	if err != nil || !o.quick || !o.check || o.rounds != 3 || o.command != "go run . --only pp1 --quick" {
		t.Errorf("%+v %v", o, err)
	}
	for _, args := range [][]string{{"extra"}, {"--nonsense"}, {"--rounds", "-1"}, {"--rounds", "0"}, {"--turns", "-1"}, {"--idle", "0"}, {"--run", "0"}, {"--rounds", "1001"}, {"--turns", "101"}, {"--run", "2h"}} {
		var usage usageError
		if _, err := parse(args, io.Discard); !errors.As(err, &usage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	var out bytes.Buffer
	if _, err := parse([]string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "Usage:") {
		t.Errorf("%v %q", err, out.String())
	}
	for _, s := range servers() {
		if !strings.Contains(help, s.name) {
			t.Errorf("--help does not name %s", s.name)
		}
	}
	if _, err := selectNamed("server", "c-epoll,none", servers(), func(s server) string { return s.name }); err == nil || !strings.Contains(err.Error(), `no server "none"`) {
		t.Errorf("%v", err)
	}
	got, err := selectNamed("transport", "tcp,unix", transports, func(s string) string { return s })
	if err != nil || !slices.Equal(got, transports) {
		t.Errorf("%q %v", got, err)
	}
}

// The results' format is read by others: its names stay.
func TestResultsNames(t *testing.T) {
	data, err := json.Marshal(sample().Runs[0])
	if err != nil || !strings.HasPrefix(string(data), `{"round":1,"transport":"unix","measure":"pp1","server":"c-epoll","ops":1000`) {
		t.Errorf("%s %v", data, err)
	}
}

func TestSourceDir(t *testing.T) {
	if dir, err := sourceDir(); err != nil || filepath.Base(dir) == "" {
		t.Errorf("%q %v", dir, err)
	}
	t.Chdir(t.TempDir())
	if _, err := sourceDir(); err == nil {
		t.Error("any directory will do")
	}
	os.Mkdir("bench", 0o755)
	os.WriteFile("bench/go.mod", []byte("module anteroom/bench\n"), 0o644)
	if _, err := sourceDir(); err != nil {
		t.Error(err)
	}
}
