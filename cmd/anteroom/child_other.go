//go:build !unix && !windows

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

type handed struct{}

func handOver(c conn, _ *exec.Cmd) (*handed, error) {
	c.Close()
	return nil, fmt.Errorf("a connection cannot be a process's stdin and stdout on this system: %w", errors.ErrUnsupported)
}

func (*handed) started(bool) {}
func (*handed) wait()        {}

func startGroup(*exec.Cmd)              {}
func releaseGroup(*exec.Cmd)            {}
func setGroup(*exec.Cmd)                {}
func killGroup(cmd *exec.Cmd)           { cmd.Process.Kill() }
func exitStatus(p *os.ProcessState) int { return p.ExitCode() }

func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
