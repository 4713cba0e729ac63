package local

import (
	"os"
	"path/filepath"
	"strconv"

	"anteroom/internal/core"
	"anteroom/sock"
)

// RuntimeName returns the path of a name in the user's runtime directory, XDG_RUNTIME_DIR: a directory of the user's own, that goes when he
// logs out. Unlike the temporary directory, it is the same for all of his programs, and nobody else can get there first. Hand the path to
// Listen and Dial. A name that is a path or an abstract one already is returned as it is.
//
// It fails with HostNotFoundError if XDG_RUNTIME_DIR is not set, or no absolute path of a directory, or if the name leads out of that, and with
// SocketAccessError if the directory is not the user's alone.
func RuntimeName(name string) (string, error) {
	p, err := resolve(name, LongPathOption)
	if err == nil && (p.abstract != "" || p.path == name) {
		return name, nil
	}
	if err == nil {
		var dir string
		dir, err = runtimeDir(os.Getenv("XDG_RUNTIME_DIR"))
		switch {
		case err != nil:
		case filepath.IsLocal(name):
			return dir + "/" + name, nil
		default: // where others may get first
			err = runtimeError(sock.HostNotFoundError, strconv.Quote(name)+" leads out of the runtime directory: leave out the ..")
		}
	}
	return "", opError("resolve", p.wanted(), err)
}

// runtimeError is the cause of an error about the runtime directory.
func runtimeError(code sock.SocketError, what string) error {
	return core.Because(what, code)
}
