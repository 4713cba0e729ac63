package load

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"anteroom/sock"
)

// A Kind is what an error comes to. Its text is a stable name.
type Kind string

const (
	Mismatch       Kind = "mismatch"        // what came back is not what was sent
	Excess         Kind = "excess"          // more came back than was sent
	Closed         Kind = "closed"          // the server closed or reset the connection before all had come back
	NoAnswer       Kind = "no_answer"       // not all had come back when the time was over
	Stalled        Kind = "stalled"         // in all of the measured time a connection waited for one answer; of a stream, not one write of it was taken
	Refused        Kind = "refused"         // nobody listened, or let the client in
	ConnectTimeout Kind = "connect_timeout" // a connection was not made in time
	NoDescriptors  Kind = "no_descriptors"  // this process, or the system, was out of descriptors or memory
	NoPorts        Kind = "no_ports"        // the system was out of ports for its own end of TCP connections
	Other          Kind = "other"           // none of these
)

// An ErrorCount is how often there was an error of a kind, and the first of them.
type ErrorCount struct {
	Kind  Kind
	Count int64
	First error
}

var (
	errUntaken  = errors.New("in the measured time the server took nothing of what a connection sent")
	errUnserved = errors.New("in the measured time a connection had no answer to what was sent before, though it came later")
)

// A connectError is one of making a connection.
type connectError struct{ error }

func (e connectError) Unwrap() error { return e.error }

// KindOf returns the kind of an error.
func KindOf(err error) Kind {
	_, connecting := errors.AsType[connectError](err)
	timeout := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case isA[*mismatch](err):
		return Mismatch
	case isA[*excess](err):
		return Excess
	case err == errUntaken, err == errUnserved:
		return Stalled
	case timeout && connecting:
		return ConnectTimeout
	case timeout:
		return NoAnswer
	}
	switch code := sock.CodeOf(err); {
	case code == sock.SocketResourceError:
		return NoDescriptors
	case code == sock.SocketAddressNotAvailableError, code == sock.AddressInUseError && connecting:
		return NoPorts
	case connecting && (code == sock.ConnectionRefusedError || code == sock.HostNotFoundError):
		return Refused
	case code == sock.RemoteHostClosedError, errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, io.ErrClosedPipe):
		return Closed
	}
	return Other
}

func isA[E error](err error) bool {
	_, is := errors.AsType[E](err)
	return is
}
