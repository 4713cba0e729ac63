//go:build unix

package local

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"anteroom/internal/core"
	"anteroom/internal/sysfd"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// A listener is a bound, listening socket at the runtime's poller, and the file that it is bound to.
type listener struct {
	place
	core.FdListener
	ends     *endpoint    // of the sockets it accepts
	listens  bool         // the server listens with it
	absolute string       // the path of the socket's file, wherever the process goes
	id       fileID       // of the socket's file
	unlink   bool         // the file was made by bind
	keepFile *atomic.Bool // what SetUnlinkOnClose says
}

// A fileID tells one file from another while both exist.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID {
	return fileID{uint64(st.Dev), uint64(st.Ino)} //nolint:unconvert // the types differ from system to system
}

// lstat returns which file a path names.
func lstat(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fileID{}, os.NewSyscallError("lstat", err)
	}
	return idOf(&st), nil
}

var errReplaced = errors.New("somebody has replaced the socket while it was being made")

// listenOptions is what a Server was told before Listen.
type listenOptions struct {
	SocketOptions
	backlog int
	replace bool
	private bool
	alone   bool // as a socket always is
	gid     int  // -1: the process's own

	keepFile *atomic.Bool // the file stays when the server is closed
}

// listenAt makes a listener of a name, in the order that leaves no moment in which too much is allowed: the file is born with the mode
// that was asked for, less the umask; nobody can connect before listen, and before that the mode is widened to what was asked for.
func listenAt(p place, o listenOptions) (*listener, error) {
	fd, err := sysfd.Stream(unix.AF_UNIX)
	if err != nil {
		return nil, err
	}
	l, err := bindAndListen(fd, p, o)
	if err != nil {
		sysfd.Close(fd)
		return nil, err
	}
	return l, nil
}

func bindAndListen(fd int, p place, o listenOptions) (*listener, error) {
	mode, restricted := o.mode()
	if p.path != "" {
		if err := checkDirectory(p.path, restricted, o.private); err != nil {
			return nil, err
		}
	}
	if restricted {
		// The file may be born with another group than it gets: the directory's, if that has the set-group-ID bit.
		if o.gid < 0 && mode&0o070 != 0 {
			o.gid = os.Getegid()
		}
		if err := narrow(fd, mode&^0o070); err != nil {
			return nil, err
		}
	}
	var remove func(string) error
	if o.replace {
		remove = removeStale
	}
	if restricted && mode&0o200 == 0 && p.path != "" {
		release, err := guardBirth(p.path)
		if err != nil {
			return nil, err
		}
		defer release()
		if o.replace {
			remove = removeGuarded
		}
	}
	err := bind(fd, p, remove)
	if err != nil {
		return nil, err
	}
	l := newListener(p, fd, false)
	l.keepFile = o.keepFile
	if p.path != "" {
		if l.absolute, err = absolute(p.path); err != nil {
			l.absolute = p.path
		}
		if err := l.remember(mode, restricted, o.gid); err != nil {
			l.removeFile()
			return nil, err
		}
	}
	if err := unix.Listen(fd, o.queue()); err != nil {
		l.removeFile()
		return nil, os.NewSyscallError("listen", err)
	}
	l.FdListener.Own()
	return l, nil
}

// bind gives the socket its name, which decides at once who has it. A file that a dead socket has left gives way if remove, which may be nil,
// removes it.
func bind(fd int, p place, remove func(path string) error) error {
	sa, done, err := p.sockaddr()
	if err != nil {
		return err
	}
	defer done()
	err = syscall.Bind(fd, sa)
	if err == unix.EADDRINUSE && remove != nil && p.path != "" {
		if err := remove(p.path); err != nil {
			return err
		}
		err = syscall.Bind(fd, sa)
	}
	if err != nil {
		return explainBind(p, os.NewSyscallError("bind", err))
	}
	return nil
}

// removeSocket removes the socket's file at path, whoever uses it.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return alive("%s", inTheWay(path))
	}
	if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
		return os.NewSyscallError("unlink", err)
	}
	return nil
}

// mode returns the access mode that the options ask for, if they ask for one.
func (o listenOptions) mode() (mode uint32, ok bool) {
	if o.SocketOptions&UserAccessOption != 0 {
		mode |= 0o700
	}
	if o.SocketOptions&GroupAccessOption != 0 {
		mode |= 0o070
	}
	if o.SocketOptions&OtherAccessOption != 0 {
		mode |= 0o007
	}
	return mode, mode != 0
}

func (o listenOptions) queue() int {
	if o.backlog <= 0 {
		return sysfd.MaxBacklog
	}
	return o.backlog
}

// explainBind says what is in the way.
func explainBind(p place, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	if p.path == "" {
		return explain(err, "another server has the abstract name")
	}
	return explain(err, "%s", inTheWay(p.path))
}

// inTheWay says what stands at a path.
func inTheWay(path string) string {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return path + " was there a moment ago"
	case info.Mode()&fs.ModeSocket != 0:
		return "a socket stands at " + path + ": another server is there, or was and has crashed"
	case info.IsDir():
		return path + " is a directory"
	case info.Mode()&fs.ModeSymlink != 0:
		return path + " is a symbolic link"
	}
	return path + " is a file, and not a socket"
}

func newListener(p place, fd int, shared bool) *listener {
	l := &listener{place: p, ends: &endpoint{server: p.name, full: p.full, addr: p.addr(), accepted: true}}
	if p.path != "" {
		l.ends.server = base(p.full)
	}
	l.Init(fd, p.full, shared)
	return l
}

// Own notes that the server listens. From then on keepFile counts.
func (l *listener) Own() {
	l.listens = true
	l.FdListener.Own()
}

// adopt makes a listener of a socket that somebody else has bound. Its file is never removed.
func adopt(d sock.Descriptor) (*listener, error) {
	if !d.IsValid() || d.IsLent() {
		return nil, errNotOurs
	}
	h, ok := d.Fd()
	if !ok || d != sock.FromFd(h) {
		return nil, core.Because("the descriptor is of a connection, and not of a listening socket", syscall.EINVAL)
	}
	fd := int(h)
	if err := sysfd.CheckStream(fd, true, unix.AF_UNIX); err != nil {
		return nil, err
	}
	address, err := sysfd.UnixName(fd, false)
	if err != nil {
		return nil, err
	}
	if err := sysfd.Prepare(fd); err != nil {
		return nil, err
	}
	end := endpointOf(address, true)
	p := place{name: end.server, full: end.full}
	if address != "" && address[0] == 0 {
		p.abstract = end.full
	} else {
		p.path = end.full
	}
	return newListener(p, fd, true), nil
}

var errNotOurs = core.Because("the descriptor is not valid, or lent by another object", sock.UnsupportedSocketOperationError)

func (l *listener) Network() string { return network }
func (l *listener) Addr() net.Addr  { return l.ends.addr }

func (l *listener) Accept() (*Socket, error) {
	if err := l.Ready(); err != nil {
		return nil, err
	}
	fd, errno := sysfd.Accept(int(l.Fd()))
	if errno != 0 {
		return nil, core.AcceptErrno(errno)
	}
	c := new(Socket)
	c.core.Hold(l.ends, fd)
	return c, nil
}

// Close removes the file while the descriptor still pins its inode's number, so that a successor's file is never mistaken for ours.
func (l *listener) Close() error {
	if !l.listens || l.keepFile == nil || !l.keepFile.Load() {
		l.removeFile()
	}
	if err := l.FdListener.Close(); err != nil {
		return opError("close", l.addr(), err)
	}
	return nil
}

// removeFile removes the socket's file, if it is still the one that bind made.
func (l *listener) removeFile() {
	if !l.unlink {
		return
	}
	if id, err := lstat(l.absolute); err == nil && id == l.id {
		unix.Unlink(l.absolute)
	}
}

// dial connects to a place. It does not wait: a full queue is a core.BusyError.
func dial(p place) (core.Transport, error) {
	sa, done, err := p.sockaddr()
	if err != nil {
		return nil, err
	}
	defer done()
	fd, err := sysfd.Stream(unix.AF_UNIX)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Connect(fd, sa)
		if err != unix.EINTR {
			break
		}
	}
	if err == nil {
		return core.NewTransport(fd)
	}
	sysfd.Close(fd)
	cause := os.NewSyscallError("connect", err)
	if err == unix.EAGAIN {
		return nil, &core.BusyError{Err: cause}
	}
	return nil, cause
}

// take makes a transport of a descriptor that somebody else has connected, or of a copy if it is another package's, and says where it leads. The
// descriptor is still the caller's.
func take(d sock.Descriptor) (t core.Transport, end *endpoint, copied bool, err error) {
	if !d.IsValid() || d.IsLent() {
		return nil, nil, false, errNotOurs
	}
	if c, ok := d.Conn().(*Socket); ok && c.core.Holds() {
		return nil, nil, false, core.ErrHolds
	}
	var fd int
	control := d.Control(func(h uintptr) {
		fd = int(h)
		if err = sysfd.CheckStream(fd, false, unix.AF_UNIX); err != nil {
			return
		}
		if end, err = describe(fd); err != nil {
			if errors.Is(err, syscall.ENOTCONN) {
				err = core.Because("the descriptor is a socket that is not connected", sock.UnsupportedSocketOperationError, err)
			}
			return
		}
		if d != sock.FromFd(h) { // a connection of another package: go on with a duplicate
			copied = true
			fd, err = sysfd.Dup(fd)
		}
	})
	switch {
	case control != nil:
		return nil, nil, false, control
	case err != nil:
		return nil, nil, false, err
	}
	if err := sysfd.Prepare(fd); err != nil {
		if copied {
			sysfd.Close(fd)
		}
		return nil, nil, false, err
	}
	t, err = core.NewTransport(fd)
	return t, end, copied, err
}

// describe says where a connected socket leads: to a server that has a name, or from one that has accepted it.
func describe(fd int) (*endpoint, error) {
	peer, err := sysfd.UnixName(fd, true)
	if err != nil || peer != "" {
		return endpointOf(peer, false), err
	}
	own, err := sysfd.UnixName(fd, false)
	return endpointOf(own, true), err
}

// addressOf asks the system for one end's address.
func addressOf(fd uintptr, peer bool) (net.Addr, error) {
	name, err := sysfd.UnixName(int(fd), peer)
	return endpointOf(name, false).addr, err
}
