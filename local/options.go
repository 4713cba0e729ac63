package local

import "anteroom/sock"

// SocketOptions says who may connect to a server, and in which namespace its name stands. Combine them with |.
//
// On Unix the access options become the mode of the socket's file: rwx for each class that was asked for, and nothing for the others,
// whatever the umask. On Windows they become the pipe's access list, with full access for the user, the primary group, everybody, as asked,
// and for nobody else; in force from the pipe's making on. For an abstract name, which has no file, they are kept by the peer's credentials before a connection is pending.
//
// Qt: QLocalServer::SocketOption, QLocalSocket::SocketOption
type SocketOptions uint8

// The options. A client's Socket knows AbstractNamespaceOption and LongPathOption only.
const (
	NoOptions               SocketOptions = 0 // the platform's default; on Unix 0777 less the umask, on Windows the user, administrators and the system
	UserAccessOption        SocketOptions = 1 // the user who listens
	GroupAccessOption       SocketOptions = 2 // the group of the process that listens
	OtherAccessOption       SocketOptions = 4 // everybody who is neither
	WorldAccessOption       SocketOptions = 7 // all of them
	AbstractNamespaceOption SocketOptions = 8 // the name is an abstract one, without a file; Linux only, elsewhere an error that Is UnsupportedSocketOperationError
)

// LongPathOption lets a path be longer than the system's addresses are (107 bytes on Linux), for Server and Socket alike; Qt has no such
// option: the address then names the file by way of an open descriptor of its directory. Other programs reach the server by the
// path if they can do that too, or from its directory; the kernel's lists of sockets show the address and not the path. Linux only;
// elsewhere such a path stays an error.
const LongPathOption SocketOptions = 16

const accessOptions = WorldAccessOption

// LocalSocketError's own names for codes that package sock knows by others.
//
// Qt: QLocalSocket::LocalSocketError
const (
	PeerClosedError     = sock.RemoteHostClosedError
	ServerNotFoundError = sock.HostNotFoundError
	ConnectionError     = sock.NetworkError
)

// The codes that mean the same in both.
const (
	ConnectionRefusedError          = sock.ConnectionRefusedError
	SocketAccessError               = sock.SocketAccessError
	SocketResourceError             = sock.SocketResourceError
	SocketTimeoutError              = sock.SocketTimeoutError
	DatagramTooLargeError           = sock.DatagramTooLargeError
	UnsupportedSocketOperationError = sock.UnsupportedSocketOperationError
	UnknownSocketError              = sock.UnknownSocketError
	OperationError                  = sock.OperationError
)
