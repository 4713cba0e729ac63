//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// handOver returns a duplicate of a connection's descriptor for another process. A program expects that its stdin and stdout wait, but whether
// a descriptor does is a property of what it leads to, which all duplicates share: after this the connection must not be used here, only
// closed.
func handOver(c conn) (*os.File, error) {
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

// exitStatus says how a process has ended, as a shell does.
func exitStatus(p *os.ProcessState) int {
	if s, ok := p.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return exitSignal + int(s.Signal())
	}
	return p.ExitCode()
}
