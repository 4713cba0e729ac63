package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"anteroom/sock"
)

// The exit statuses. A command that is run for a connection may add its own: see serve --once.
const (
	exitDone        = 0
	exitPeer        = 1   // the network, or the peer
	exitUsage       = 2   // the command line, or a name that cannot be one
	exitInUse       = 3   // something has the name: a live server, or what may be one
	exitPermission  = 4   // the system refuses
	exitTimeout     = 124 // as timeout(1)
	exitNotRunnable = 126 // the command that is to be run cannot be; as the shell
	exitNotFound    = 127 // the command that is to be run is not there; as the shell
	exitSignal      = 128 // and the signal's number; as the shell
)

// A failure is an error that ends the command, with what the user may do about it.
type failure struct {
	status int
	err    error // nil: there is nothing to say
	hints  []string
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.status)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// fail makes a failure of an error, if it is none, whose status follows from what it is.
func fail(err error, hints ...string) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return &failure{statusOf(err), err, hints}
}

// usage makes a failure of a mistake on the command line.
func usage(format string, args ...any) *failure {
	return &failure{status: exitUsage, err: fmt.Errorf(format, args...)}
}

// silent ends the command without a word.
func silent(status int) error {
	if status == exitDone {
		return nil
	}
	return &failure{status: status}
}

// signalled ends the command because of a signal.
func signalled(sig os.Signal) error {
	if n, ok := sig.(syscall.Signal); ok {
		return silent(exitSignal + int(n))
	}
	return silent(exitPeer)
}

// statusOf says which exit status an error means.
func statusOf(err error) int {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.status
	}
	switch sock.CodeOf(err) {
	case sock.NoError:
		return exitDone
	case sock.AddressInUseError:
		return exitInUse
	case sock.SocketAccessError:
		return exitPermission
	case sock.SocketTimeoutError, sock.ProxyConnectionTimeoutError:
		return exitTimeout
	}
	return exitPeer
}
