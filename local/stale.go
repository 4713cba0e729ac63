package local

import (
	"fmt"

	"anteroom/internal/core"
	"anteroom/sock"
)

// RemoveServer removes what would make Listen fail with AddressInUseError: the socket's file that name means, of a server that has
// crashed or of one that lives, which then is no longer found by its name. Only sockets are removed: for any other kind of file it fails
// with AddressInUseError, and for a directory that may not be looked into with SocketAccessError. That nothing is there, or could be (an
// abstract name has no file), is success.
//
// Prefer RemoveStale, or (*Server).SetReplaceStale, which leave the living alone. Unlike Qt, it removes no regular files.
//
// Qt: QLocalServer::removeServer
func RemoveServer(name string) error { return removeNamed("remove", name, removeSocket) }

// RemoveStale removes the socket's file that name means if no server is alive there, and else fails with AddressInUseError. That nothing is
// there is success. Death is proven, and not guessed from a connection that was refused: see SetReplaceStale. Where the system does not
// let it be proven the error Is UnsupportedSocketOperationError.
func RemoveStale(name string) error { return removeNamed("remove", name, removeStale) }

func removeNamed(op, name string, remove func(path string) error) error {
	p, err := resolve(name, LongPathOption)
	if err != nil {
		return opError(op, p.wanted(), err)
	}
	if p.path == "" {
		return nil
	}
	if err := remove(p.path); err != nil {
		return opError(op, p.addr(), err)
	}
	return nil
}

// alive is the cause of an error that says that a file must stay.
func alive(format string, args ...any) error {
	return core.Because(fmt.Sprintf(format, args...), sock.AddressInUseError)
}
