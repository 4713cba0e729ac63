package sockettest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// childVar names the child that a process is to be.
const childVar = "ANTEROOM_TEST_CHILD"

var children = map[string]func(){}

// Child registers what a process does that Command starts by this name; os.Args[1:] are its arguments. The process ends with status 0 when
// f returns. Call it when a package's variables are initialized:
//
//	var _ = sockettest.Child("client", func() { … })
func Child(name string, f func()) struct{} {
	if children[name] != nil {
		panic("sockettest: two children are called " + name)
	}
	children[name] = f
	return struct{}{}
}

func runChild() bool {
	name := os.Getenv(childVar)
	if name == "" {
		return false
	}
	f := children[name]
	if f == nil {
		panic("sockettest: there is no child called " + name)
	}
	f()
	return true
}

// Command returns a command that runs the test binary again, as the child of that name.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	if children[name] == nil {
		t.Fatalf("there is no child called %s", name)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	// The race detector keeps a process for a second when it ends.
	cmd.Env = append(os.Environ(), childVar+"="+name, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// A Process is a child that runs. It talks in lines.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	ended chan struct{}
	err   error
}

// Start runs a child, which is killed when the test ends, if it has not ended by itself.
func Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return StartCommand(t, Command(t, name, args...))
}

// StartCommand runs a command of Command's.
func StartCommand(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, cmd: cmd, in: in, lines: make(chan string, 1024), ended: make(chan struct{})}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Kill()
		<-p.ended
	})
	return p
}

// PID returns the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as a crash would, and waits for that.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	for range p.lines {
	}
	<-p.ended
}

// Line returns the next line that the process says.
func (p *Process) Line() string {
	p.t.Helper()
	timer := time.NewTimer(Long())
	defer timer.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			<-p.ended
			p.t.Fatalf("the child has ended: %v", p.err)
		}
		return line
	case <-timer.C:
		p.t.Fatal("the child says nothing")
	}
	panic("unreachable")
}

// Expect fails the test unless the process's next line is this one.
func (p *Process) Expect(line string) {
	p.t.Helper()
	if got := p.Line(); got != line {
		p.t.Fatalf("the child says %q, want %q", got, line)
	}
}

// Say writes a line to the process.
func (p *Process) Say(words ...string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, strings.Join(words, " ")+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// Wait ends the process's input, and waits until it has ended by itself. It returns the lines that nobody has read.
func (p *Process) Wait() (rest []string, err error) {
	p.t.Helper()
	p.in.Close()
	timer := time.NewTimer(Long())
	defer timer.Stop()
	for {
		select {
		case line, ok := <-p.lines:
			if ok {
				rest = append(rest, line)
				continue
			}
			<-p.ended
			return rest, p.err
		case <-timer.C:
			p.t.Fatal("the child does not end")
		}
	}
}
