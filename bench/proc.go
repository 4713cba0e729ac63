package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A process is a child, which whoever started it stops. Its output is read line by line.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string // closed at the end of the output
	stderr *tail
	ended  chan struct{}
	err    error // how it ended; read it after ended
}

// launch starts a program. start is what makes it so: see spawner.
func launch(ctx context.Context, start func(*exec.Cmd) error, argv []string) (*process, error) {
	p := &process{lines: make(chan string, 8), stderr: new(tail), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = 5 * time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		s := bufio.NewScanner(out)
		for s.Scan() {
			select {
			case p.lines <- s.Text():
			default: // nobody has asked for that much
			}
		}
		close(p.lines)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// line waits for the child's next line.
func (p *process) line(ctx context.Context, timeout time.Duration) (string, error) {
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case s, ok := <-p.lines:
		if !ok {
			<-p.ended
			return "", p.failure()
		}
		return s, nil
	case <-t.C:
		return "", fmt.Errorf("it said nothing for %v", timeout)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// expect waits for a line, which must be that one.
func (p *process) expect(ctx context.Context, want string, timeout time.Duration) error {
	s, err := p.line(ctx, timeout)
	if err == nil && s != want {
		err = fmt.Errorf("it said %q and not %q", s, want)
	}
	return err
}

// failure says how a child ended that should not have.
func (p *process) failure() error {
	if text := p.stderr.String(); text != "" {
		return errors.New(text)
	}
	if p.err == nil {
		return errors.New("it ended early")
	}
	return p.err
}

// stop ends the child, and returns when it is gone.
func (p *process) stop() {
	p.cmd.Process.Kill()
	p.stdin.Close()
	<-p.ended
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - 2000; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(bytes.TrimSpace(t.kept))), " ")
}

// residentBytes returns how much memory of a process is resident, of all kinds, exactly.
func residentBytes(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	return parseResident(data)
}

func parseResident(rollup []byte) (int64, error) {
	for line := range strings.Lines(string(rollup)) {
		if rest, ok := strings.CutPrefix(line, "Rss:"); ok {
			var kib int64
			if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
				return 0, fmt.Errorf("smaps_rollup: %q: %w", line, err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("smaps_rollup has no Rss line")
}
