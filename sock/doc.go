// Package sock is the vocabulary that anteroom's servers and sockets share: what can go wrong (SocketError, Error), how far a
// connection has come (State), how it may be used (OpenMode), a native handle that changes owner (Descriptor), and how long to wait
// (Forever, DefaultWait). Each means the same for local and for TCP connections. The names and numbers are those of Qt's
// QAbstractSocket, so that a program or a protocol that speaks of them carries over.
//
// A failed call returns an *Error. Ask what went wrong with errors.Is, for the code and for the cause alike:
//
//	errors.Is(err, sock.AddressInUseError)     // the code
//	errors.Is(err, syscall.EADDRINUSE)         // the cause
//	sock.CodeOf(err) == sock.AddressInUseError // for a switch
package sock
