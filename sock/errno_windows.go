package sock

import "syscall"

// Windows and Winsock have numbers of their own, beside those of Unix, which package syscall makes up.
func init() {
	for errno, code := range map[syscall.Errno]SocketError{
		syscall.ERROR_ACCESS_DENIED: SocketAccessError,
		4:                           SocketResourceError,             // ERROR_TOO_MANY_OPEN_FILES
		6:                           UnsupportedSocketOperationError, // ERROR_INVALID_HANDLE
		8:                           SocketResourceError,             // ERROR_NOT_ENOUGH_MEMORY
		14:                          SocketResourceError,             // ERROR_OUTOFMEMORY
		50:                          UnsupportedSocketOperationError, // ERROR_NOT_SUPPORTED
		53:                          HostNotFoundError,               // ERROR_BAD_NETPATH
		87:                          UnsupportedSocketOperationError, // ERROR_INVALID_PARAMETER
		109:                         RemoteHostClosedError,           // ERROR_BROKEN_PIPE
		121:                         SocketTimeoutError,              // ERROR_SEM_TIMEOUT
		123:                         HostNotFoundError,               // ERROR_INVALID_NAME
		161:                         HostNotFoundError,               // ERROR_BAD_PATHNAME
		206:                         HostNotFoundError,               // ERROR_FILENAME_EXCED_RANGE
		230:                         UnsupportedSocketOperationError, // ERROR_BAD_PIPE
		231:                         AddressInUseError,               // ERROR_PIPE_BUSY
		232:                         RemoteHostClosedError,           // ERROR_NO_DATA
		233:                         RemoteHostClosedError,           // ERROR_PIPE_NOT_CONNECTED
		1450:                        SocketResourceError,             // ERROR_NO_SYSTEM_RESOURCES
		1816:                        SocketResourceError,             // ERROR_NOT_ENOUGH_QUOTA

		10004: TemporaryError,                  // WSAEINTR
		10009: UnsupportedSocketOperationError, // WSAEBADF
		10013: SocketAccessError,               // WSAEACCES
		10022: UnsupportedSocketOperationError, // WSAEINVAL
		10024: SocketResourceError,             // WSAEMFILE
		10035: TemporaryError,                  // WSAEWOULDBLOCK
		10036: UnfinishedSocketOperationError,  // WSAEINPROGRESS
		10037: UnfinishedSocketOperationError,  // WSAEALREADY
		10038: UnsupportedSocketOperationError, // WSAENOTSOCK
		10040: DatagramTooLargeError,           // WSAEMSGSIZE
		10041: UnsupportedSocketOperationError, // WSAEPROTOTYPE
		10042: UnsupportedSocketOperationError, // WSAENOPROTOOPT
		10043: UnsupportedSocketOperationError, // WSAEPROTONOSUPPORT
		10045: UnsupportedSocketOperationError, // WSAEOPNOTSUPP
		10047: UnsupportedSocketOperationError, // WSAEAFNOSUPPORT
		10048: AddressInUseError,               // WSAEADDRINUSE
		10049: SocketAddressNotAvailableError,  // WSAEADDRNOTAVAIL
		10050: NetworkError,                    // WSAENETDOWN
		10051: NetworkError,                    // WSAENETUNREACH
		10052: NetworkError,                    // WSAENETRESET
		10053: RemoteHostClosedError,           // WSAECONNABORTED
		10054: RemoteHostClosedError,           // WSAECONNRESET
		10055: SocketResourceError,             // WSAENOBUFS
		10056: OperationError,                  // WSAEISCONN
		10057: OperationError,                  // WSAENOTCONN
		10058: RemoteHostClosedError,           // WSAESHUTDOWN
		10060: SocketTimeoutError,              // WSAETIMEDOUT
		10061: ConnectionRefusedError,          // WSAECONNREFUSED
		10064: NetworkError,                    // WSAEHOSTDOWN
		10065: NetworkError,                    // WSAEHOSTUNREACH
	} {
		errnos[errno] = code
	}
}

// unixErrno returns the number by which Unix knows an error: its own if there is none.
func unixErrno(errno syscall.Errno) syscall.Errno {
	if unix, ok := unixErrnos[errno]; ok {
		return unix
	}
	return errno
}

var unixErrnos = map[syscall.Errno]syscall.Errno{
	syscall.ERROR_ACCESS_DENIED: syscall.EACCES,
	syscall.ERROR_BROKEN_PIPE:   syscall.EPIPE,
	232:                         syscall.EPIPE,      // ERROR_NO_DATA
	233:                         syscall.EPIPE,      // ERROR_PIPE_NOT_CONNECTED
	231:                         syscall.EADDRINUSE, // ERROR_PIPE_BUSY
	10013:                       syscall.EACCES,
	10022:                       syscall.EINVAL,
	10024:                       syscall.EMFILE,
	10038:                       syscall.ENOTSOCK,
	10043:                       syscall.EPROTONOSUPPORT,
	10045:                       syscall.EOPNOTSUPP,
	10047:                       syscall.EAFNOSUPPORT,
	10048:                       syscall.EADDRINUSE,
	10049:                       syscall.EADDRNOTAVAIL,
	10050:                       syscall.ENETDOWN,
	10051:                       syscall.ENETUNREACH,
	10053:                       syscall.ECONNABORTED,
	10054:                       syscall.ECONNRESET,
	10055:                       syscall.ENOBUFS,
	10056:                       syscall.EISCONN,
	10057:                       syscall.ENOTCONN,
	10060:                       syscall.ETIMEDOUT,
	10061:                       syscall.ECONNREFUSED,
	10064:                       syscall.EHOSTDOWN,
	10065:                       syscall.EHOSTUNREACH,
}
