//go:build !unix

package local

import (
	"os"

	"anteroom/internal/core"
	"anteroom/sock"
)

func tempDir() string { return os.TempDir() }

// check says that local servers are not there yet on this system.
func (place) check() error { return errUnsupported }

var errUnsupported = core.Because("local servers and sockets are not supported on this system", sock.UnsupportedSocketOperationError)
