//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// A handed is what a process is given as its stdin and stdout: the connection itself.
type handed struct{ f *os.File }

// handOver makes a connection, which it owns from now on, the stdin and the stdout of a command that is to be started.
func handOver(c conn, cmd *exec.Cmd) (*handed, error) {
	defer c.Close()
	f, err := duplicate(c)
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout = f, f
	return &handed{f}, nil
}

// started is told whether the command was.
func (h *handed) started(bool) { h.f.Close() }

// wait waits, when the command has ended, until the connection has.
func (h *handed) wait() {}

// duplicate returns a duplicate of a connection's descriptor for another process. A program expects that its stdin and stdout wait, but
// whether a descriptor does is a property of what it leads to, which all duplicates share: after this the connection must not be used here,
// only closed.
func duplicate(c conn) (*os.File, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var f *os.File
	control := raw.Control(func(fd uintptr) {
		var dup int
		if dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); err != nil {
			err = os.NewSyscallError("fcntl", err)
			return
		}
		if err = unix.SetNonblock(dup, false); err != nil {
			unix.Close(dup)
			return
		}
		f = os.NewFile(uintptr(dup), "connection")
	})
	if control != nil {
		return nil, control
	}
	return f, err
}

// setGroup gives a process a group of its own. So a terminal's ^C, which is for the server, leaves it time to end, and what it has started
// can be killed with it.
func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills a process that was started and not waited for, with what it has started.
func killGroup(cmd *exec.Cmd) { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }

func startGroup(*exec.Cmd)   {}
func releaseGroup(*exec.Cmd) {}

// exitStatus says how a process has ended, as a shell does.
func exitStatus(p *os.ProcessState) int {
	if s, ok := p.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return exitSignal + int(s.Signal())
	}
	return p.ExitCode()
}

// isBrokenPipe reports whether nobody reads any more what was written.
func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
