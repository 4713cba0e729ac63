package main

import (
	"errors"
	"fmt"
	"syscall"
)

func isTCP(uintptr) (bool, error) {
	return false, fmt.Errorf("a process is not given sockets by number on this system: %w", errors.ErrUnsupported)
}

// dropUnsent makes the close of a TCP connection a reset.
func dropUnsent(fd uintptr) {
	syscall.SetsockoptLinger(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}
