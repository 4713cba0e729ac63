package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Machine is what a reader must know of where and when the figures were taken.
type Machine struct {
	Kernel    string  `json:"kernel"`
	CPU       string  `json:"cpu"`
	Cores     int     `json:"cores"` // that the benchmark may use
	Server    int     `json:"server_core"`
	Client    int     `json:"client_core"`
	LoadStart string  `json:"load_start"` // load averages
	LoadEnd   string  `json:"load_end"`
	Steal     float64 `json:"steal_percent"` // of its cores' time, what other virtual machines took
	Syscall   float64 `json:"syscall_ns"`    // what the simplest system call takes
	Go        string  `json:"go"`
	Commit    string  `json:"commit"`
	Dirty     bool    `json:"dirty"` // there were changes that are not in the commit
	Files     uint64  `json:"open_files"`
}

// describeMachine returns what can be said before the first round.
func describeMachine(ctx context.Context, b *builder) Machine {
	m := Machine{Kernel: firstLine("/proc/sys/kernel/osrelease"), CPU: cpuModel(), LoadStart: loadAverage(), Syscall: syscallTime(), Go: runtime.Version()}
	if out, err := b.run(ctx, "go", "env", "GOVERSION"); err == nil {
		m.Go = out
	}
	if out, err := exec.CommandContext(ctx, "git", "-C", b.source, "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
		// What a run of the benchmark itself rewrites is no change of the code.
		out, err := exec.CommandContext(ctx, "git", "-C", b.source, "status", "--porcelain", "--", ":/", ":(exclude)README.md", ":(exclude)plots", ":(top,exclude)README.md").Output()
		m.Dirty = err != nil || len(bytes.TrimSpace(out)) > 0
	}
	return m
}

// syscallTime returns what the simplest system call takes, in nanoseconds: some machines, virtual ones above all, make it ten times as dear as
// others, and then hardly anything else counts.
func syscallTime() float64 {
	const calls = 20_000
	best := math.Inf(1)
	for range 5 {
		start := time.Now()
		for range calls {
			os.Getppid()
		}
		best = min(best, float64(time.Since(start).Nanoseconds())/calls)
	}
	return best
}

func firstLine(file string) string {
	data, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	f := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(f[:min(3, len(f))], " ")
}

// cpuTimes returns how much time all cores have spent, and how much of it others took, in ticks.
func cpuTimes(stat string) (total, steal uint64) {
	f := strings.Fields(stat)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0
	}
	for i, s := range f[1:9] { // user nice system idle iowait irq softirq steal
		n, _ := strconv.ParseUint(s, 10, 64)
		total += n
		if i == 7 {
			steal = n
		}
	}
	return total, steal
}

// siblings returns the cores that are one with a core in hardware.
func siblings(core int) []int {
	return parseCores(firstLine(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", core)))
}

// parseCores reads lists as the kernel writes them: "0,4" or "0-1".
func parseCores(list string) []int {
	var cores []int
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		for c := a; c <= b; c++ {
			cores = append(cores, c)
		}
	}
	return cores
}

// pickCores chooses one core for the server and one for the client, which should not be threads of one. With a single core both get it.
func pickCores(allowed []int, siblings func(int) []int) (server, client int) {
	server = allowed[len(allowed)-1] // the first has most of the system's own work
	client = allowed[0]
	if slices.Contains(siblings(server), client) {
		for _, c := range allowed {
			if !slices.Contains(siblings(server), c) {
				return server, c
			}
		}
	}
	return server, client
}
