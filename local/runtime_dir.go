package local

import (
	"os"

	"anteroom/internal/core"
	"anteroom/sock"
)

// RuntimeName returns the path of a name in the user's runtime directory, XDG_RUNTIME_DIR: a directory of the user's own, that goes when he
// logs out. Unlike the temporary directory, it is the same for all of his programs, and nobody else can get there first. Hand the path to
// Listen and Dial. A name that is a path or an abstract one already is returned as it is.
//
// It fails with HostNotFoundError if XDG_RUNTIME_DIR is not set, or no absolute path of a directory, and with SocketAccessError if that
// directory is not the user's alone.
func RuntimeName(name string) (string, error) {
	p, err := resolve(name, LongPathOption)
	if err == nil && (p.abstract != "" || p.path == name) {
		return name, nil
	}
	if err == nil {
		var dir string
		if dir, err = runtimeDir(os.Getenv("XDG_RUNTIME_DIR")); err == nil {
			return dir + "/" + name, nil
		}
	}
	return "", opError("resolve", p.wanted(), err)
}

// runtimeError is the cause of an error about the runtime directory.
func runtimeError(code sock.SocketError, what string) error {
	return core.Because(what, code)
}
