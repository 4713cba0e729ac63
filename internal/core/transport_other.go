//go:build !unix && !windows

package core

import "errors"

// NewTransport fails: a descriptor cannot be attached to the runtime's poller here.
func NewTransport(fd int) (Transport, error) { return nil, errors.ErrUnsupported }

// NewConnTransport fails, too.
func NewConnTransport(c Conn) (Transport, error) { return nil, errors.ErrUnsupported }
