package local

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"anteroom/internal/core"
	"anteroom/internal/pipe"
	"anteroom/sock"
	"golang.org/x/sys/windows"
)

// A listener is a pipe's instances that wait for clients.
type listener struct {
	place
	*core.Waker
	ends *endpoint // of the sockets it accepts
	pipe *pipe.Listener
}

// listenOptions is what a Server was told before Listen.
type listenOptions struct {
	SocketOptions
	backlog int
	replace bool // a pipe does not outlive its server
	private bool
	alone   bool
	gid     int

	keepFile *atomic.Bool // a pipe is no file
}

// defaultInstances is how many clients can connect before one is accepted. Qt: 50.
const defaultInstances = 50

func listenAt(p place, o listenOptions) (*listener, error) {
	if o.private {
		return nil, core.Because("pipes stand in no directory, so there is no private one: see SetExclusive", sock.UnsupportedSocketOperationError)
	}
	l := &listener{place: p, Waker: core.NewWaker(), ends: endpointOf(p.path, true)}
	c := pipe.Config{Instances: defaultInstances, Exclusive: o.alone}
	if o.backlog > 0 {
		c.Instances = o.backlog + 1 // as Linux counts
	}
	for option, who := range map[SocketOptions]pipe.Access{
		UserAccessOption: pipe.User, GroupAccessOption: pipe.Group, OtherAccessOption: pipe.World,
	} {
		if o.SocketOptions&option != 0 {
			c.Access |= who
		}
	}
	var err error
	l.pipe, err = pipe.Listen(p.path, c, l.Tell)
	switch {
	case err == nil:
		return l, nil
	case o.alone && err == windows.ERROR_ACCESS_DENIED, err == windows.ERROR_PIPE_BUSY:
		return nil, core.Because("another server has the name", sock.AddressInUseError, err)
	}
	return nil, os.NewSyscallError("CreateNamedPipe", err)
}

// lookUpGroup knows the process's own group only.
func lookUpGroup(group string) (int, error) {
	if group != "" {
		return 0, core.Because("access to a pipe is given to the process's primary group, or to none", sock.UnsupportedSocketOperationError)
	}
	return -1, nil
}

func (o listenOptions) group() int { return o.gid }

func adopt(sock.Descriptor) (*listener, error) {
	return nil, core.Because("a pipe's instances are no listening descriptor that could be handed over", sock.UnsupportedSocketOperationError)
}

func (l *listener) Network() string { return network }
func (l *listener) Addr() net.Addr  { return l.addr() }
func (l *listener) Fd() uintptr     { return uintptr(l.pipe.Event()) }

func (l *listener) SyscallConn() (syscall.RawConn, error) {
	return nil, core.Because("a pipe's server has no one handle", sock.UnsupportedSocketOperationError)
}

func (l *listener) Lend() sock.Descriptor { return sock.Lend(l.Fd()) }

func (l *listener) Dup() (*os.File, error) {
	return nil, core.Because("a pipe's instances cannot be handed over to another process", sock.UnsupportedSocketOperationError)
}

func (l *listener) Accept() (*Socket, error) {
	h, err := l.pipe.Accept()
	switch err {
	case nil:
	case windows.ERROR_IO_PENDING:
		return nil, core.ErrAgain
	default:
		return nil, os.NewSyscallError("CreateNamedPipe", err)
	}
	c := new(Socket)
	c.core.Hold(l.ends, int(h))
	return c, nil
}

func (l *listener) Close() error {
	l.Shut()
	return l.pipe.Close()
}

// dial connects to a place. It does not wait: if no instance is free, that is a core.BusyError.
func dial(p place) (core.Transport, error) {
	h, err := pipe.Dial(p.path)
	if err != nil {
		cause := os.NewSyscallError("CreateFile", err)
		if err == windows.ERROR_PIPE_BUSY {
			return nil, &core.BusyError{Err: cause}
		}
		return nil, cause
	}
	t, err := core.NewTransport(int(h))
	if err != nil {
		windows.CloseHandle(h)
	}
	return t, err
}

// take makes a transport of a handle that somebody else has opened, and says where it leads. After an error the descriptor is still the
// caller's.
func take(d sock.Descriptor) (t core.Transport, end *endpoint, copied bool, err error) {
	if !d.IsValid() || d.IsLent() {
		return nil, nil, false, core.Because("the descriptor is not valid, or lent by another object", sock.UnsupportedSocketOperationError)
	}
	fd, ok := d.Fd()
	if !ok || d != sock.FromFd(fd) {
		return nil, nil, false, core.Because("the descriptor is of another package's connection, whose handle cannot be shared", sock.UnsupportedSocketOperationError)
	}
	server, err := pipe.IsServer(windows.Handle(fd))
	if err != nil {
		return nil, nil, false, core.Because("the descriptor is no pipe's handle: "+err.Error(), sock.UnsupportedSocketOperationError, err)
	}
	t, err = core.NewTransport(int(fd))
	if err != nil {
		return nil, nil, false, core.Because("the handle was not opened for overlapped operations, or belongs to a completion port: "+err.Error(),
			sock.UnsupportedSocketOperationError, err)
	}
	return t, endpointOf(pipe.NameOf(windows.Handle(fd)), server), false, nil
}

// addressOf returns one end's address. Clients have none.
func addressOf(fd uintptr, peer bool) (net.Addr, error) {
	server, err := pipe.IsServer(windows.Handle(fd))
	if err != nil || server == peer {
		return newAddr(""), err
	}
	return newAddr(pipe.NameOf(windows.Handle(fd))), nil
}

// removeSocket has nothing to remove: a pipe is gone with its server, and cannot be taken from it.
func removeSocket(string) error { return nil }

func removeStale(path string) error {
	exists, err := pipe.Exists(path)
	if err == nil && exists {
		err = alive("a server has the pipe %s", path)
	}
	return err
}

func runtimeDir(string) (string, error) {
	return "", core.Because("pipes stand in no directory", sock.UnsupportedSocketOperationError)
}
