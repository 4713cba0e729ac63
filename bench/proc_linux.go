package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A spawner starts all children on one thread that lives as long as the program: a child inherits the thread's processors, and is killed when that
// thread ends, so that none is left however this program ends.
type spawner struct {
	jobs chan func()
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// on returns what starts a command on one core.
func (s *spawner) on(core int) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		done := make(chan error)
		s.jobs <- func() {
			var all, one unix.CPUSet
			err := unix.SchedGetaffinity(0, &all)
			if err == nil {
				one.Set(core)
				err = unix.SchedSetaffinity(0, &one)
			}
			if err != nil {
				done <- fmt.Errorf("bind to core %d: %w", core, err)
				return
			}
			err = cmd.Start()
			unix.SchedSetaffinity(0, &all)
			done <- err
		}
		return <-done
	}
}

// allowedCores returns the cores that this program may use.
func allowedCores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var cores []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	return cores, nil
}

// openFiles raises the limit of open files as far as it may, for this process and its children, and returns it. want is how many are
// needed; root may raise the hard limit, too.
func openFiles(want uint64) (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	if l.Max < want {
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: want, Max: want}) == nil {
			return want, nil
		}
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("setrlimit: %w", err)
	}
	return l.Cur, nil
}

// askMemory has a server say what is in use.
func askMemory(p *process) error { return p.cmd.Process.Signal(syscall.SIGUSR1) }
