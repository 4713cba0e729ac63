package sock

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// An Error is what a failed call of this module returns: what was tried, where, what went wrong in Qt's words, and the cause. It is a
// net.Error. errors.Is finds its Code and its cause, errors.As finds the Code too.
type Error struct {
	Op   string      // what was tried: "listen", "connect", "read", ...
	Net  string      // "local" or "tcp"; "" if there was no connection yet
	Addr net.Addr    // where; nil if that is not known
	Code SocketError // what went wrong
	Err  error       // the cause, as the system or the standard library says it; may be nil
}

var _ net.Error = (*Error)(nil)

// Error returns "op net addr: code: cause", without the parts that are not known.
func (e *Error) Error() string {
	s := e.Op
	if e.Net != "" {
		s += " " + e.Net
	}
	if e.Addr != nil {
		if a := e.Addr.String(); strings.ContainsFunc(a, unicode.IsControl) {
			s += " " + strconv.Quote(a) // an abstract name may hold any byte
		} else if a != "" {
			s += " " + a
		}
	}
	if e.Code != NoError {
		s += ": " + e.Code.Error()
	}
	if e.Err != nil && (e.Code == NoError || e.Err.Error() != e.Code.Error()) {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the code and the cause, for errors.Is and errors.As. NoError is not among them.
func (e *Error) Unwrap() []error {
	var tree []error
	if e.Code != NoError {
		tree = append(tree, e.Code)
	}
	if e.Err != nil {
		tree = append(tree, e.Err)
	}
	return tree
}

// Is reports whether target is the number by which Unix knows the cause, on Windows, which has numbers of its own: errors.Is finds
// syscall.ECONNREFUSED on every system.
func (e *Error) Is(target error) bool {
	var errno syscall.Errno
	return errors.As(e.Err, &errno) && target == unixErrno(errno)
}

// Timeout reports whether time ran out, here or at a proxy. A context that was cancelled before its time is no timeout.
func (e *Error) Timeout() bool {
	return (e.Code == SocketTimeoutError || e.Code == ProxyConnectionTimeoutError) && !errors.Is(e.Err, context.Canceled)
}

// Temporary reports whether the same call may succeed later without anybody doing anything: time ran out, resources ran out, or the
// system said to try again. net/http.Server asks this of an error that a listener's Accept returns.
func (e *Error) Temporary() bool {
	return e.Timeout() || e.Code == TemporaryError || e.Code == SocketResourceError
}

// CodeOf returns the code that err stands for: NoError for nil, the code that err holds if it holds one, else what its cause means,
// by the system's error number and the standard library's sentinels, and UnknownSocketError if nothing is known of it. A malformed address is
// a host that cannot be found.
//
// Qt: QAbstractSocket::error
func CodeOf(err error) SocketError {
	switch err { // how most connections end
	case nil:
		return NoError
	case io.EOF, syscall.ECONNRESET:
		return RemoteHostClosedError
	}
	var code SocketError
	if errors.As(err, &code) {
		return code
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if code, ok := errnos[errno]; ok {
			return code
		}
	}
	var dns *net.DNSError
	var addr *net.AddrError
	switch {
	case errors.Is(err, context.Canceled):
		return SocketTimeoutError
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return SocketTimeoutError
		}
		return HostNotFoundError
	case errors.As(err, &addr):
		return HostNotFoundError
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return SocketTimeoutError
	case errors.Is(err, net.ErrClosed), errors.Is(err, fs.ErrClosed):
		return OperationError
	case errors.Is(err, io.EOF):
		return RemoteHostClosedError
	case errors.Is(err, fs.ErrPermission):
		return SocketAccessError
	case errors.Is(err, fs.ErrNotExist):
		return HostNotFoundError
	case errors.Is(err, errors.ErrUnsupported):
		return UnsupportedSocketOperationError
	}
	return UnknownSocketError
}
