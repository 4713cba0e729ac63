//go:build !unix && !windows

package local

import (
	"net"

	"anteroom/internal/core"
	"anteroom/sock"
)

const separator = '/'

func locate(name string) string    { return name }
func newAddr(name string) net.Addr { return &net.UnixAddr{Name: name, Net: "unix"} }

// check says that local servers are not there yet on this system.
func (place) check() error { return errUnsupported }

var errUnsupported = core.Because("local servers and sockets are not supported on this system", sock.UnsupportedSocketOperationError)
