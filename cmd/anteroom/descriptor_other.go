//go:build !unix && !windows

package main

import (
	"errors"
	"fmt"
)

func isTCP(uintptr) (bool, error) {
	return false, fmt.Errorf("a process is not given sockets by number on this system: %w", errors.ErrUnsupported)
}

func dropUnsent(uintptr) {}
