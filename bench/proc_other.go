//go:build !linux

package main

import (
	"errors"
	"os/exec"
)

var errLinux = errors.New("measuring needs Linux; tables and plots can be made anywhere of an earlier run, with --from")

type spawner struct{}

func newSpawner() *spawner { return nil }

func (*spawner) on(int) func(*exec.Cmd) error { return func(*exec.Cmd) error { return errLinux } }

func allowedCores() ([]int, error) { return nil, errLinux }

func openFiles(uint64) (uint64, error) { return 0, errLinux }

func askMemory(*process) error { return errLinux }
