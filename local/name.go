package local

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"anteroom/internal/core"
	"anteroom/sock"
)

// A place is where a name leads.
type place struct {
	name     string // as it was given
	full     string // as FullServerName says it
	path     string // of the file, or of the pipe; "" if the name is abstract
	abstract string // the abstract name's bytes; "" if it is not
	long     bool   // the path may be longer than an address
}

// resolve says where a name leads. It asks nothing of the system.
func resolve(name string, options SocketOptions) (place, error) {
	p := place{name: name, full: name, long: options&LongPathOption != 0}
	switch {
	case name == "":
		return p, nameError("the name is empty")
	case options&AbstractNamespaceOption != 0:
		p.abstract = name
	case name[0] == '@':
		if p.abstract = name[1:]; p.abstract == "" {
			return p, nameError("there is no name after the @")
		}
	case strings.IndexByte(name, 0) >= 0:
		return p, nameError("the name contains a NUL byte, which only an abstract name may")
	default:
		p.path = locate(name)
		p.full = p.path
	}
	return p, p.check()
}

// nameError is the cause of an error that says what is wrong with a name.
func nameError(what string) error {
	return core.Because(what, sock.HostNotFoundError, syscall.EINVAL)
}

// explain adds words to a cause.
func explain(err error, format string, args ...any) error {
	return core.Because(err.Error()+": "+fmt.Sprintf(format, args...), err)
}

// tooLong says that an address does not fit.
func tooLong(what string, length, limit int, hint string) error {
	return core.Because(fmt.Sprintf("%s is %d bytes long, and the system's limit is %d: %s", what, length, limit, hint),
		syscall.ENAMETOOLONG)
}

// addr returns the place as Go says it: an abstract name begins with @.
func (p place) addr() net.Addr {
	if p.abstract != "" {
		return newAddr("@" + p.abstract)
	}
	return newAddr(p.path)
}

// wanted returns the address of a place that resolve refused, for its error.
func (p place) wanted() net.Addr { return newAddr(p.name) }

// An endpoint is what a socket knows of its names and addresses. Sockets that one server accepted share one.
type endpoint struct {
	server   string // ServerName
	full     string // FullServerName
	addr     net.Addr
	accepted bool // addr is this end's, else the peer's
}

var _ interface{ Network() string } = (*endpoint)(nil)

func (e *endpoint) Network() string { return network }

func (e *endpoint) Addr() net.Addr {
	if e.addr == nil || e.addr.String() == "" {
		return nil
	}
	return e.addr
}

// network is what errors call this package's connections.
const network = "local"

// base returns the last component of a path, as Qt's accepted sockets call their server.
func base(full string) string { return full[strings.LastIndexByte(full, separator)+1:] }

// directory returns the directory that a path's last component stands in, as the system finds it: ".." after a symbolic link leads up from
// where the link leads, which filepath.Dir does not know.
func directory(path string) string {
	if dir := path[:strings.LastIndexByte(path, '/')+1]; dir != "" {
		return dir
	}
	return "./"
}

// endpointOf returns the endpoint of one end of a connection, by the address that the system has for it: "" if there is none, a path, or
// an abstract name after a NUL byte.
func endpointOf(address string, accepted bool) *endpoint {
	switch {
	case address == "":
		return &endpoint{addr: newAddr(""), accepted: accepted}
	case address[0] == 0:
		name := address[1:]
		return &endpoint{server: name, full: name, addr: newAddr("@" + name), accepted: accepted}
	}
	return &endpoint{server: base(address), full: address, addr: newAddr(address), accepted: accepted}
}

// FullServerName returns what a name means: for a bare name a path in the temporary directory (TMPDIR, else /tmp), for an absolute path
// and for an abstract name ("@name") the name itself. A name without a leading slash never means the working directory. On Windows any name
// is that of a pipe: \\.\pipe\name, unless it begins so already. It fails with an error that Is HostNotFoundError if the name is empty,
// contains a NUL byte or is too long, and asks nothing of the file system.
//
// Qt: QLocalServer::fullServerName
func FullServerName(name string) (string, error) {
	p, err := resolve(name, NoOptions)
	if err != nil {
		return "", &sock.Error{Op: "resolve", Net: network, Code: sock.CodeOf(err), Err: err}
	}
	return p.full, nil
}

// opError returns what a failed op is told to the caller.
func opError(op string, addr net.Addr, cause error) error {
	var e *sock.Error
	if errors.As(cause, &e) {
		return cause
	}
	e = &sock.Error{Op: op, Net: network, Code: sock.CodeOf(cause), Err: cause}
	if addr != nil && addr.String() != "" {
		e.Addr = addr
	}
	return e
}
