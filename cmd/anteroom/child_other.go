//go:build !unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func handOver(conn) (*os.File, error) {
	return nil, fmt.Errorf("a connection cannot be a process's stdin and stdout on this system: %w", errors.ErrUnsupported)
}

func setGroup(*exec.Cmd)                {}
func killGroup(cmd *exec.Cmd)           { cmd.Process.Kill() }
func exitStatus(p *os.ProcessState) int { return p.ExitCode() }
