//go:build unix

package local

import (
	"net"
	"os"
	"path"
	"runtime"
	"syscall"

	"anteroom/internal/core"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// maxName is how many bytes of a path, or of an abstract name, an address holds: one less than its field, for the NUL after a path or
// before an abstract name.
const maxName = len(unix.RawSockaddrUnix{}.Path) - 1

// separator stands between the components of a path.
const separator = '/'

// locate returns the path of a name: bare names stand in the temporary directory.
func locate(name string) string {
	if name[0] == separator {
		return name
	}
	return path.Clean(os.TempDir()) + "/" + name
}

// absolute returns the path that means the same in every working directory. It does not clean it: "link/.." is the directory above the link's target.
func absolute(path string) (string, error) {
	if path[0] == separator {
		return path, nil
	}
	wd, err := os.Getwd()
	return wd + "/" + path, err
}

func newAddr(name string) net.Addr { return &net.UnixAddr{Name: name, Net: "unix"} }

// check says whether the system has such names, and room for this one.
func (p place) check() error {
	if p.abstract != "" {
		if runtime.GOOS != "linux" && runtime.GOOS != "android" {
			return core.Because("abstract names exist on Linux only", sock.UnsupportedSocketOperationError)
		}
		if len(p.abstract) > maxName {
			return tooLong("the abstract name", len(p.abstract), maxName, "choose a shorter one")
		}
		return nil
	}
	if p.length() > maxName && !(p.long && longPaths) {
		hint := "choose a shorter name or directory"
		if longPaths {
			hint += ", or set LongPathOption"
		}
		return tooLong("the path "+p.path, p.length(), maxName, hint)
	}
	return nil
}

// length returns how many bytes of an address the path takes. One that begins with @, in a relative TMPDIR, would be taken for an abstract
// name: it gets "./" in front.
func (p place) length() int {
	if p.path[0] == '@' {
		return len("./") + len(p.path)
	}
	return len(p.path)
}

// sockaddr returns the place as the system wants it, and what to do when it has been used: Package syscall makes of the @ the NUL
// byte before an abstract name, and takes as many bytes after it as there are, no more.
func (p place) sockaddr() (syscall.Sockaddr, func(), error) {
	switch {
	case p.abstract != "":
		return &syscall.SockaddrUnix{Name: "@" + p.abstract}, func() {}, nil
	case p.length() > maxName:
		return p.longSockaddr()
	case p.path[0] == '@':
		return &syscall.SockaddrUnix{Name: "./" + p.path}, func() {}, nil
	}
	return &syscall.SockaddrUnix{Name: p.path}, func() {}, nil
}
