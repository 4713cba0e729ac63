package sock

import "syscall"

// errnos says what the system's error numbers mean, whatever the call was. Where Qt maps one number differently in different calls,
// the meaning that a caller can act on was chosen; docs/qt.md lists them.
var errnos = map[syscall.Errno]SocketError{
	syscall.EACCES: SocketAccessError,
	syscall.EPERM:  SocketAccessError,

	syscall.ENOENT:       HostNotFoundError,
	syscall.ENOTDIR:      HostNotFoundError,
	syscall.ELOOP:        HostNotFoundError,
	syscall.ENAMETOOLONG: HostNotFoundError,
	syscall.EROFS:        HostNotFoundError,

	syscall.EADDRINUSE:    AddressInUseError,
	syscall.EADDRNOTAVAIL: SocketAddressNotAvailableError,

	syscall.ECONNREFUSED: ConnectionRefusedError,
	syscall.ETIMEDOUT:    SocketTimeoutError,

	syscall.ECONNRESET: RemoteHostClosedError,
	syscall.EPIPE:      RemoteHostClosedError,
	syscall.ESHUTDOWN:  RemoteHostClosedError,

	syscall.ECONNABORTED: NetworkError,
	syscall.ENETDOWN:     NetworkError,
	syscall.ENETUNREACH:  NetworkError,
	syscall.ENETRESET:    NetworkError,
	syscall.EHOSTDOWN:    NetworkError,
	syscall.EHOSTUNREACH: NetworkError,

	syscall.EMFILE:  SocketResourceError,
	syscall.ENFILE:  SocketResourceError,
	syscall.ENOBUFS: SocketResourceError,
	syscall.ENOMEM:  SocketResourceError,
	syscall.ENOSPC:  SocketResourceError,
	syscall.EDQUOT:  SocketResourceError,

	syscall.EMSGSIZE: DatagramTooLargeError,

	syscall.EAFNOSUPPORT:    UnsupportedSocketOperationError,
	syscall.EBADF:           UnsupportedSocketOperationError,
	syscall.EINVAL:          UnsupportedSocketOperationError,
	syscall.ENOPROTOOPT:     UnsupportedSocketOperationError,
	syscall.ENOSYS:          UnsupportedSocketOperationError,
	syscall.ENOTSOCK:        UnsupportedSocketOperationError,
	syscall.EOPNOTSUPP:      UnsupportedSocketOperationError,
	syscall.EPROTO:          UnsupportedSocketOperationError,
	syscall.EPROTONOSUPPORT: UnsupportedSocketOperationError,
	syscall.EPROTOTYPE:      UnsupportedSocketOperationError,

	syscall.EALREADY:    UnfinishedSocketOperationError,
	syscall.EINPROGRESS: UnfinishedSocketOperationError,

	syscall.EISCONN:  OperationError,
	syscall.ENOTCONN: OperationError,

	syscall.EAGAIN: TemporaryError,
	syscall.EINTR:  TemporaryError,
}
