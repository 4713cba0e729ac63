package sock

import (
	"errors"
	"io/fs"
	"os"
)

// A SocketError says what went wrong. It is enum and sentinel in one, like syscall.Errno: compare it, switch on it, or hand it to
// errors.Is. The zero value is NoError, which is never part of an error that a call returns.
//
// Qt: QAbstractSocket::SocketError, QLocalSocket::LocalSocketError
type SocketError int8

// The codes, in Qt's order. Their values are not Qt's numbers, which leave no room for NoError as the zero value: see Qt.
const (
	NoError                          SocketError = iota // nothing went wrong
	ConnectionRefusedError                              // nobody listens there, or the listener refused
	RemoteHostClosedError                               // the peer closed the connection; the cause is io.EOF or the system's reset
	HostNotFoundError                                   // no such host, or no such local name
	SocketAccessError                                   // the process lacks the rights; also errors.Is fs.ErrPermission
	SocketResourceError                                 // out of descriptors, buffers or memory
	SocketTimeoutError                                  // the time that was given ran out; also errors.Is os.ErrDeadlineExceeded
	DatagramTooLargeError                               // more than the system sends in one piece
	NetworkError                                        // the network failed, or a connection ended before it was accepted
	AddressInUseError                                   // the name or port is taken
	SocketAddressNotAvailableError                      // the address does not belong to this host
	UnsupportedSocketOperationError                     // the system, or this kind of socket, cannot do it; also errors.Is errors.ErrUnsupported
	UnfinishedSocketOperationError                      // the last operation is still under way
	ProxyAuthenticationRequiredError                    // the proxy wants to know who asks
	SslHandshakeFailedError                             // the TLS handshake failed
	ProxyConnectionRefusedError                         // the proxy cannot be reached
	ProxyConnectionClosedError                          // the proxy closed the connection before it was made
	ProxyConnectionTimeoutError                         // the proxy did not answer in time
	ProxyNotFoundError                                  // no such proxy host
	ProxyProtocolError                                  // the proxy's answer makes no sense
	OperationError                                      // not possible in the present state
	SslInternalError                                    // the TLS library failed
	SslInvalidUserDataError                             // a certificate or key is not usable
	TemporaryError                                      // try again: nothing is wrong
	UnknownSocketError                                  // none of the above; the cause says more
)

// codes holds what there is to say of each code: Qt's name, and our words for it.
var codes = [...]struct{ name, text string }{
	NoError:                          {"NoError", "no error"},
	ConnectionRefusedError:           {"ConnectionRefusedError", "connection refused"},
	RemoteHostClosedError:            {"RemoteHostClosedError", "closed by the peer"},
	HostNotFoundError:                {"HostNotFoundError", "not found"},
	SocketAccessError:                {"SocketAccessError", "access denied"},
	SocketResourceError:              {"SocketResourceError", "out of resources"},
	SocketTimeoutError:               {"SocketTimeoutError", "timed out"},
	DatagramTooLargeError:            {"DatagramTooLargeError", "datagram too large"},
	NetworkError:                     {"NetworkError", "network error"},
	AddressInUseError:                {"AddressInUseError", "address in use"},
	SocketAddressNotAvailableError:   {"SocketAddressNotAvailableError", "address not available"},
	UnsupportedSocketOperationError:  {"UnsupportedSocketOperationError", "operation not supported"},
	UnfinishedSocketOperationError:   {"UnfinishedSocketOperationError", "operation under way"},
	ProxyAuthenticationRequiredError: {"ProxyAuthenticationRequiredError", "proxy authentication required"},
	SslHandshakeFailedError:          {"SslHandshakeFailedError", "TLS handshake failed"},
	ProxyConnectionRefusedError:      {"ProxyConnectionRefusedError", "proxy refused the connection"},
	ProxyConnectionClosedError:       {"ProxyConnectionClosedError", "proxy closed the connection"},
	ProxyConnectionTimeoutError:      {"ProxyConnectionTimeoutError", "proxy timed out"},
	ProxyNotFoundError:               {"ProxyNotFoundError", "proxy not found"},
	ProxyProtocolError:               {"ProxyProtocolError", "proxy protocol error"},
	OperationError:                   {"OperationError", "not possible in this state"},
	SslInternalError:                 {"SslInternalError", "TLS internal error"},
	SslInvalidUserDataError:          {"SslInvalidUserDataError", "invalid TLS data"},
	TemporaryError:                   {"TemporaryError", "temporarily unavailable"},
	UnknownSocketError:               {"UnknownSocketError", "unknown error"},
}

func (e SocketError) known() bool { return e >= NoError && int(e) < len(codes) }

// Error returns the code in words, lower case: "address in use".
func (e SocketError) Error() string {
	if !e.known() {
		e = UnknownSocketError
	}
	return codes[e].text
}

// Name returns Qt's name of the code: "AddressInUseError". A value that is none of the constants is an UnknownSocketError.
func (e SocketError) Name() string {
	if !e.known() {
		e = UnknownSocketError
	}
	return codes[e].name
}

// Qt returns Qt's number for the code: 8 for AddressInUseError. It is -1 for UnknownSocketError and for NoError, which Qt's objects
// report as -1 too.
//
// Qt: QAbstractSocket::SocketError
func (e SocketError) Qt() int {
	if e <= NoError || e >= UnknownSocketError {
		return -1
	}
	return int(e) - 1
}

// Is reports whether the code means target, one of the standard library's errors: SocketTimeoutError is os.ErrDeadlineExceeded,
// SocketAccessError is fs.ErrPermission, UnsupportedSocketOperationError is errors.ErrUnsupported. It is there for errors.Is.
func (e SocketError) Is(target error) bool {
	switch e {
	case SocketTimeoutError:
		return target == os.ErrDeadlineExceeded
	case SocketAccessError:
		return target == fs.ErrPermission
	case UnsupportedSocketOperationError:
		return target == errors.ErrUnsupported
	}
	return false
}
