package local

import (
	"net"
	"strings"
	"unicode/utf16"

	"anteroom/internal/core"
	"anteroom/internal/pipe"
	"anteroom/sock"
)

// maxName is how many UTF-16 units the path of a pipe may have.
const maxName = 256

// separator stands between the components of a path.
const separator = '\\'

// locate returns the path of a name. All pipes stand in one place.
func locate(name string) string {
	if len(name) > len(pipe.Prefix) && strings.EqualFold(name[:len(pipe.Prefix)], pipe.Prefix) {
		return name
	}
	return pipe.Prefix + name
}

func newAddr(name string) net.Addr { return PipeAddr(name) }

// check says whether the system has such names, and room for this one.
func (p place) check() error {
	if p.abstract != "" {
		return core.Because("abstract names exist on Linux only", sock.UnsupportedSocketOperationError)
	}
	if n := len(utf16.Encode([]rune(p.path))); n > maxName {
		return tooLong("the pipe's path "+p.path, n, maxName, "choose a shorter name")
	}
	return nil
}
