package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/windows"
)

// A handed is what a process is given as its stdin and stdout: pipes, from and to which the connection is carried here, for programs read
// and write what waits, and a connection's handle was opened not to. So the end of either direction is passed on, and when the process
// has ended, so does the connection.
type handed struct {
	c        conn
	in, out  *os.File // our ends
	theirs   [2]*os.File
	fed, had sync.WaitGroup // until its stdin is carried no more, and its stdout
}

// handOver makes a connection, which it owns from now on, the stdin and the stdout of a command that is to be started.
func handOver(c conn, cmd *exec.Cmd) (*handed, error) {
	h := &handed{c: passEnds(c, false)}
	var err error
	if h.theirs[0], h.in, err = os.Pipe(); err == nil {
		if h.out, h.theirs[1], err = os.Pipe(); err != nil {
			h.theirs[0].Close()
			h.in.Close()
		}
	}
	if err != nil {
		h.c.Close()
		return nil, err
	}
	cmd.Stdin, cmd.Stdout = h.theirs[0], h.theirs[1]
	return h, nil
}

// started is told whether the command was.
func (h *handed) started(yes bool) {
	for _, f := range h.theirs {
		f.Close()
	}
	if !yes {
		h.in.Close()
		h.out.Close()
		h.c.Close()
		return
	}
	h.fed.Go(func() {
		io.CopyBuffer(justWriter{h.in}, justReader{h.c}, make([]byte, relayBuffer))
		h.in.Close()
	})
	h.had.Go(func() {
		_, err := io.CopyBuffer(justWriter{h.c}, justReader{h.out}, make([]byte, relayBuffer))
		if err == nil {
			h.c.CloseWrite()
		}
		h.out.Close()
	})
}

// wait waits, when the command has ended, until everything that it has said is sent, and closes the connection.
func (h *handed) wait() {
	h.had.Wait()
	h.c.Close()
	h.fed.Wait()
}

// A justReader and a justWriter have no other methods, by which io.Copy would do without its buffer.
type (
	justReader struct{ io.Reader }
	justWriter struct{ io.Writer }
)

// groups are the jobs of the processes that run, by which what they have started ends with them, if they are killed.
var groups sync.Map // of windows.Handle, by *exec.Cmd

// setGroup keeps a console's ^C, which is for the server, from the process.
func setGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// startGroup makes a group of a process that was started.
func startGroup(cmd *exec.Cmd) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return
	}
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(cmd.Process.Pid))
	if err == nil {
		err = windows.AssignProcessToJobObject(job, p)
		windows.CloseHandle(p)
	}
	if err != nil {
		windows.CloseHandle(job)
		return
	}
	groups.Store(cmd, job)
}

// killGroup kills a process that was started and not waited for, with what it has started.
func killGroup(cmd *exec.Cmd) {
	if job, ok := groups.Load(cmd); ok {
		windows.TerminateJobObject(job.(windows.Handle), 1)
	}
	cmd.Process.Kill()
}

// releaseGroup forgets the group of a process that has ended.
func releaseGroup(cmd *exec.Cmd) {
	if job, ok := groups.LoadAndDelete(cmd); ok {
		windows.CloseHandle(job.(windows.Handle))
	}
}

// exitStatus says how a process has ended.
func exitStatus(p *os.ProcessState) int { return p.ExitCode() }

// isBrokenPipe reports whether nobody reads any more what was written.
func isBrokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}
