package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A measure is one kind of work.
type measure struct {
	name        string // begins with the transport
	quick       bool
	mode        string // the load generator's
	connections int
	active      int
	oneCore     bool // both ends on one core
}

func (m measure) unix() bool { return strings.HasPrefix(m.name, "unix") }

var measures = both(
	measure{name: "one connection", quick: true, mode: "echo", connections: 1, active: 1, oneCore: true},
	measure{name: "echo 10", quick: true, mode: "echo", connections: 10, active: 10},
	measure{name: "echo 100", quick: true, mode: "echo", connections: 100, active: 100},
	measure{name: "echo 1000", quick: true, mode: "echo", connections: 1000, active: 1000},
	measure{name: "echo 10000", mode: "echo", connections: 10000, active: 10000},
	measure{name: "1 of 10000", mode: "echo", connections: 10000, active: 1},
	measure{name: "10 of 10000", mode: "echo", connections: 10000, active: 10},
	measure{name: "stream", quick: true, mode: "stream", connections: 1, active: 1},
	measure{name: "connect, close", quick: true, mode: "conn", connections: 1},
	measure{name: "connect, echo, close", quick: true, mode: "connreq", connections: 1},
	measure{name: "idle", mode: "idle", connections: 10000},
)

func both(ms ...measure) (all []measure) {
	for _, transport := range []string{"unix", "tcp"} {
		for _, m := range ms {
			m.name = transport + " " + m.name
			all = append(all, m)
		}
	}
	return all
}

// Figures are what one measurement gives. CPU is the server's, in nanoseconds an operation, by the system's accounting; Rate is in operations a
// second; P50 and P99 are latencies in nanoseconds, as the client sees them; Memory is how much of the server's is resident, in bytes a
// connection, and is all that an idle measure gives.
type figures struct {
	CPU, Rate, P50, P99, Memory float64 `json:",omitzero"`
}

// cores returns where the server and the load generator run: on one core each, if this process may use two.
func (m measure) cores() (server, client int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, 0, fmt.Errorf("the cores of this process: %w", err)
	}
	var cores []int
	for core := 0; len(cores) < min(2, set.Count()); core++ {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	if server = cores[0]; m.oneCore {
		return server, server, nil
	}
	return server, cores[len(cores)-1], nil
}

// take starts a server, has it measured, and ends it.
func (m measure) take(dir string, s server, length time.Duration) (f figures, err error) {
	addr := filepath.Join(dir, "socket")
	os.Remove(addr)
	if !m.unix() {
		if addr, err = freePort(); err != nil {
			return f, err
		}
	}
	mode := "echo"
	if m.mode == "stream" {
		mode = "sink"
	}
	serverCore, clientCore, err := m.cores()
	if err != nil {
		return f, err
	}
	srv, err := start(serverCore, append(append(append([]string(nil), s.command...), addr, mode), s.args...))
	if err != nil {
		return f, err
	}
	defer srv.end()
	if _, err := srv.expect("ready"); err != nil {
		return f, err
	}
	idle := srv.resident()
	seconds := strconv.FormatFloat(length.Seconds(), 'f', -1, 64)
	load, err := start(clientCore, []string{loadProgram(dir), m.mode, addr, strconv.Itoa(m.connections), strconv.Itoa(m.active), seconds})
	if err != nil {
		return f, err
	}
	defer load.end()
	if _, err := load.expect("start"); err != nil {
		return f, err
	}
	if m.mode == "idle" {
		f.Memory = max(srv.resident()-idle, 0) / float64(m.connections)
		return f, nil
	}
	before := srv.cpu()
	line, err := load.expect("")
	if err != nil {
		return f, err
	}
	used := srv.cpu() - before
	return parse(line, used)
}

// parse reads the load generator's last line.
func parse(line string, cpu float64) (f figures, err error) {
	var ops, took float64
	if _, err := fmt.Sscan(line, &ops, &took, &f.P50, &f.P99); err != nil || ops <= 0 || took <= 0 {
		return figures{}, fmt.Errorf("the load generator says %q, which is not OPERATIONS NANOSECONDS P50 P99", line)
	}
	f.CPU, f.Rate = cpu/ops, ops/took*1e9
	return f, nil
}

// freePort returns a port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// A process is a server or a load generator. It ends with this one.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
	errs  strings.Builder
}

// start starts a program on one core.
func start(core int, command []string) (*process, error) {
	p := &process{cmd: exec.Command(command[0], command[1:]...)}
	p.cmd.Stderr = &p.errs
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = bufio.NewReader(out)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // of the thread that starts it, which main keeps
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("the cores of this process: %w", err)
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil { // the child inherits it
		return nil, fmt.Errorf("core %d: %w", core, err)
	}
	defer unix.SchedSetaffinity(0, &before)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// expect reads a line, which must be want unless that is "".
func (p *process) expect(want string) (string, error) {
	timer := time.AfterFunc(time.Minute, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := p.lines.ReadString('\n')
	if line = strings.TrimSpace(line); err == nil && (want == "" || line == want) {
		return line, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s says %q in place of %q", p.cmd.Path, line, want)
	}
	p.end()
	return "", fmt.Errorf("%w; and to standard error: %s", err, p.errs.String())
}

func (p *process) end() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// cpu returns how long the process has run, in nanoseconds.
func (p *process) cpu() (total float64) {
	dir := fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid)
	threads, _ := os.ReadDir(dir)
	for _, t := range threads {
		b, _ := os.ReadFile(filepath.Join(dir, t.Name(), "schedstat"))
		if fields := strings.Fields(string(b)); len(fields) > 0 {
			n, _ := strconv.ParseFloat(fields[0], 64)
			total += n
		}
	}
	return total
}

// resident returns how much memory the process has, in bytes.
func (p *process) resident() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if fields := strings.Fields(string(b)); len(fields) > 1 {
		pages, _ := strconv.ParseFloat(fields[1], 64)
		return pages * float64(os.Getpagesize())
	}
	return 0
}
