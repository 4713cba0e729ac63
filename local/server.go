package local

import (
	"context"
	"errors"
	"iter"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"anteroom/internal/core"
	"anteroom/sock"
)

// A Server listens on a local name and keeps the connections that it has accepted until somebody takes them. It is a net.Listener.
//
// The zero value is a server that does not listen yet. A Server must not be copied after its first use.
//
// Connections are accepted eagerly, at most MaxPendingConnections ahead of whoever takes them with Accept, AcceptContext, Connections
// or NextPendingConnection; each goes to one taker, and belongs to it. What goes wrong with accepting never ends the server: out of
// descriptors, it says so to OnAcceptError once, and goes on by itself when there are some again.
//
// Qt: QLocalServer
type Server struct {
	core core.Server[Socket]

	mu      sync.Mutex // guards what Listen is told
	options SocketOptions
	backlog int
	replace bool
	group   string
	private bool
	alone   bool
	admit   func(Peer) error

	keepFile atomic.Bool
}

var (
	_ net.Listener = (*Server)(nil)
	_ syscall.Conn = (*Server)(nil)
)

// Listen returns a server that listens on name, with the default options. It is (*Server).Listen of a new Server.
//
// Qt: QLocalServer::listen
func Listen(name string) (*Server, error) {
	s := new(Server)
	if err := s.Listen(name); err != nil {
		return nil, err
	}
	return s, nil
}

// hooks is what the core asks of this package's sockets.
var hooks = core.Hooks[Socket]{
	Take:    func(c *Socket, home *core.Home) error { return c.core.Take(home) },
	Release: func(c *Socket) sock.Descriptor { return c.core.Release() },
	Discard: func(c *Socket) { c.Abort() },
	Passes:  true,
}

func (s *Server) c() *core.Server[Socket] {
	s.core.Init(&hooks)
	return &s.core
}

// listening returns what the server listens with, or nil.
func (s *Server) listening() *listener {
	l, _ := s.c().Listener().(*listener)
	return l
}

// Listen makes the server listen on a name: a bare one, which stands in the temporary directory, a path, or, with AbstractNamespaceOption
// or a leading @, an abstract name. When it returns nil, clients can connect.
//
// It fails with HostNotFoundError if the name is empty, has a NUL byte, is too long or leads to a directory that is not there; with
// AddressInUseError if anything stands at the path already, be it a server, the file that a crashed one left, or no socket at all, none
// of which is touched; with SocketAccessError if the rights are missing, or if access options are set and the directory lets everybody
// replace files; and with OperationError if the server listens already, which changes nothing. Except for that one, the error is
// in Err afterwards. A server may listen again after Close.
//
// Qt: QLocalServer::listen
func (s *Server) Listen(name string) error {
	o, admit, noGroup := s.told()
	p, err := resolve(name, o.SocketOptions)
	if err == nil {
		err = noGroup
	}
	return s.c().Listen(network, func() (core.Listener[Socket], func(*Socket) error, error) {
		if err != nil {
			return nil, nil, opError("listen", p.wanted(), err)
		}
		l, err := listenAt(p, o)
		if err != nil {
			return nil, nil, opError("listen", p.addr(), err)
		}
		return l, admission(l, o, admit), nil
	})
}

// told returns what the server was told before Listen. It fails if there is no such group.
func (s *Server) told() (o listenOptions, admit func(Peer) error, err error) {
	s.mu.Lock()
	o = listenOptions{SocketOptions: s.options, backlog: s.backlog, replace: s.replace, private: s.private, alone: s.alone, keepFile: &s.keepFile}
	group, admit := s.group, s.admit
	s.mu.Unlock()
	o.gid, err = lookUpGroup(group)
	return o, admit, err
}

// admission returns what decides about a new connection, or nil if all may come in: SetAdmit's function, and, for an abstract name, the
// access options.
func admission(l *listener, o listenOptions, admit func(Peer) error) func(*Socket) error {
	byOptions := l.abstract != "" && o.SocketOptions&accessOptions != 0
	if admit == nil && !byOptions {
		return nil
	}
	return func(c *Socket) error {
		peer, err := peerOf(uintptr(c.core.Pending()))
		if err == nil && byOptions && !o.admits(peer, o.group()) {
			err = errNotAdmitted
		}
		if err == nil && admit != nil {
			err = admit(peer)
		}
		if err == nil {
			return nil
		}
		return &sock.Error{Op: "admit", Net: network, Addr: l.Addr(), Code: sock.SocketAccessError, Err: err}
	}
}

var errNotAdmitted = errors.New("the access options do not let this user in")

// ListenDescriptor makes the server accept from a Unix-domain stream socket that listens already, such as one that systemd passes. The
// server owns d once this returned nil; after an error d is still the caller's. The names are those of the socket's address; if that is
// an abstract one, AbstractNamespaceOption is set, as in Qt. A file stays when the server is closed: it belongs to whoever made it, and so
// do its access rights. Access options count for an abstract name, as they do with Listen.
//
// It fails with UnsupportedSocketOperationError if d is not valid, lent, closed, or no listening Unix-domain stream socket, and with
// OperationError if the server listens already.
//
// Qt: QLocalServer::listen(qintptr)
func (s *Server) ListenDescriptor(d sock.Descriptor) error {
	abstract := false
	o, admit, noGroup := s.told()
	err := s.c().Listen(network, func() (core.Listener[Socket], func(*Socket) error, error) {
		l, err := adopt(d)
		if err != nil {
			return nil, nil, opError("listen", nil, err)
		}
		if abstract = l.abstract != ""; abstract && o.SocketOptions&GroupAccessOption != 0 && noGroup != nil {
			return nil, nil, opError("listen", l.addr(), noGroup)
		}
		return l, admission(l, o, admit), nil
	})
	if abstract && err == nil {
		s.mu.Lock()
		s.options |= AbstractNamespaceOption
		s.mu.Unlock()
	}
	return err
}

// Close stops listening. Whoever waits for a connection gets an error that Is net.ErrClosed; connections that were not taken are closed,
// those that were are untouched. The socket's file is removed if it is still the one that Listen made. Close does nothing and returns nil
// if the server does not listen. Err is nil afterwards.
//
// Qt: QLocalServer::close
func (s *Server) Close() error { return s.c().Close() }

// IsListening reports whether the server listens.
//
// Qt: QLocalServer::isListening
func (s *Server) IsListening() bool { return s.c().IsListening() }

// ServerName returns the name that Listen was given, or "" if the server does not listen.
//
// Qt: QLocalServer::serverName
func (s *Server) ServerName() string {
	if l := s.listening(); l != nil {
		return l.name
	}
	return ""
}

// FullServerName returns the path on which the server listens, or the abstract name as Listen was given it, or "" if the server does not
// listen.
//
// Qt: QLocalServer::fullServerName
func (s *Server) FullServerName() string {
	if l := s.listening(); l != nil {
		return l.full
	}
	return ""
}

// HasPendingConnections reports whether NextPendingConnection would return one.
//
// Qt: QLocalServer::hasPendingConnections
func (s *Server) HasPendingConnections() bool { return s.c().HasPending() }

// NextPendingConnection takes the first pending connection, or returns nil if there is none. It does not wait. The connection is the
// caller's, who closes it; it outlives the server.
//
// Qt: QLocalServer::nextPendingConnection
func (s *Server) NextPendingConnection() *Socket { return s.c().Next() }

// AddPendingConnection makes a connection pending, whatever the limit, and tells OnNewConnection's callbacks. It is what the base
// behaviour of IncomingConnection ends with; an override calls it when it has made a Socket in its own way. The server need not listen.
//
// Qt: QLocalServer::addPendingConnection
func (s *Server) AddPendingConnection(c *Socket) {
	if c != nil {
		s.c().Add(c)
	}
}

// IncomingConnection is the base behaviour for a connection that was accepted: it makes a Socket of d, which it owns in any case, and
// makes that pending. A descriptor that is no connected Unix-domain stream socket is closed, and told to OnAcceptError.
//
// Qt: QLocalServer::incomingConnection
func (s *Server) IncomingConnection(d sock.Descriptor) {
	c := new(Socket)
	if err := c.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite); err != nil {
		d.Close()
		s.c().Reject(err)
		return
	}
	s.c().Add(c)
}

// SetIncomingConnection makes f receive each connection that is accepted, in place of the base behaviour; nil puts that back. F owns the
// descriptor. It runs in order with the callbacks, and never two at a time, unless one waits for a connection itself. If it keeps the
// descriptor and makes nothing pending, nothing is pending, and OnNewConnection is told of nothing; WaitForNewConnection returns nil all the same.
//
// Qt: QLocalServer::incomingConnection, which is virtual
func (s *Server) SetIncomingConnection(f func(sock.Descriptor)) { s.c().SetIncoming(f) }

// MaxPendingConnections returns the limit that SetMaxPendingConnections set.
//
// Qt: QLocalServer::maxPendingConnections
func (s *Server) MaxPendingConnections() int { return s.c().Limit() }

// SetMaxPendingConnections sets how many accepted connections may wait to be taken; the default is 30. The server accepts no more until
// one is taken. The operating system may queue further clients, which then count themselves connected: see SetListenBacklogSize. With a
// limit of 0 or less a connection is accepted only while somebody waits for it, in Accept or in WaitForNewConnection. It may be called
// while listening.
//
// Unlike Qt, which accepts two more than it says, the limit is exact.
//
// Qt: QLocalServer::setMaxPendingConnections
func (s *Server) SetMaxPendingConnections(n int) { s.c().SetLimit(n) }

// PauseAccepting stops accepting, whoever waits, until ResumeAccepting. What is pending can be taken. When it returns, no further
// connection is accepted. It stays as it is set, also over Close and Listen.
//
// Qt: QTcpServer::pauseAccepting
func (s *Server) PauseAccepting() { s.c().SetPaused(true) }

// ResumeAccepting goes on accepting.
//
// Qt: QTcpServer::resumeAccepting
func (s *Server) ResumeAccepting() { s.c().SetPaused(false) }

// ListenBacklogSize returns what SetListenBacklogSize set.
//
// Qt: QLocalServer::listenBacklogSize
func (s *Server) ListenBacklogSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backlog
}

// SetListenBacklogSize sets how many clients the operating system may queue that were not accepted yet. The default, 0, asks for as many
// as the system allows. It counts from the next Listen.
//
// Unlike Qt, whose 50 refuses a burst of clients, the default is the system's limit. On Windows, where it is how many instances of the pipe
// wait for clients, less one, it is 49.
//
// Qt: QLocalServer::setListenBacklogSize
func (s *Server) SetListenBacklogSize(n int) {
	s.mu.Lock()
	s.backlog = n
	s.mu.Unlock()
}

// SocketOptions returns what SetSocketOptions set.
//
// Qt: QLocalServer::socketOptions
func (s *Server) SocketOptions() SocketOptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options
}

// SetSocketOptions sets who may connect, and in which namespace the name stands; the default is NoOptions. It counts from the next
// Listen.
//
// Qt: QLocalServer::setSocketOptions
func (s *Server) SetSocketOptions(o SocketOptions) {
	s.mu.Lock()
	s.options = o
	s.mu.Unlock()
}

// SetReplaceStale sets whether Listen removes the socket's file of a server that has crashed, and takes its name; the default is false: then
// Listen fails with AddressInUseError, as Qt documents. It counts from the next Listen.
//
// A living server, whoever wrote it, is never displaced, nor is any file removed that is not a socket of this process's effective user on a
// file system of this machine: Listen then fails with AddressInUseError. Death is proven by the kernel, which knows whether a socket is
// still bound to the file; no server needs to cooperate. Of several processes that replace at once one gets the name. A lock file,
// ".NAME.UID.lock" beside the socket, exists for that moment; if somebody else's file has that name, Listen fails with AddressInUseError
// that names it. Linux only so far; elsewhere the error Is UnsupportedSocketOperationError if there is something to replace.
func (s *Server) SetReplaceStale(replace bool) {
	s.mu.Lock()
	s.replace = replace
	s.mu.Unlock()
}

// SetSocketGroup sets the group that GroupAccessOption speaks of, by name or by number; "", the default, is the process's own. The socket's
// file gets it before anybody can connect. Listen fails with HostNotFoundError if there is no such group, and with SocketAccessError if
// the process may not give a file to it. It counts from the next Listen.
func (s *Server) SetSocketGroup(group string) {
	s.mu.Lock()
	s.group = group
	s.mu.Unlock()
}

// SetRequirePrivateDirectory sets whether Listen refuses, with SocketAccessError, a path on which somebody else than this user and root
// could put another file: each directory and each symbolic link on the way must belong to one of them, and each directory
// be writable for nobody else, unless it is sticky. The default is false; then Listen with access options refuses only a directory that everybody may write to
// and that is not sticky. It counts from the next Listen.
func (s *Server) SetRequirePrivateDirectory(require bool) {
	s.mu.Lock()
	s.private = require
	s.mu.Unlock()
}

// SetExclusive sets whether Listen fails with AddressInUseError if another server has the name already. On Unix that is so in any case. On
// Windows several servers may have one name, and the system gives each client to one of them, as Qt documents; the default is false. Who has
// the right to make another instance of the pipe, which the access options give with the right to connect, may still do so later. It counts
// from the next Listen.
func (s *Server) SetExclusive(exclusive bool) {
	s.mu.Lock()
	s.alone = exclusive
	s.mu.Unlock()
}

// SetUnlinkOnClose sets whether Close removes the socket's file, which is the default. Set it to false in a process that has given the
// listener, by File, to another one that goes on with it. The file of a descriptor that ListenDescriptor adopted is never removed.
func (s *Server) SetUnlinkOnClose(unlink bool) {
	s.keepFile.Store(!unlink)
}

// SetAdmit sets the function that decides who may come in, before a connection is pending. An error refuses: the connection is closed,
// and OnAcceptError is told, with an error that Is SocketAccessError and the one that f returned. So is a peer whom the system does not
// identify. Nil, the default, lets everybody in whom the access rights let in. It counts from the next Listen. F runs in order with the
// callbacks, and must not wait long: nobody is accepted meanwhile.
func (s *Server) SetAdmit(f func(Peer) error) {
	s.mu.Lock()
	s.admit = f
	s.mu.Unlock()
}

// WaitForNewConnection waits until a connection is pending, or until an override of IncomingConnection has been given one, for at most
// timeout; a negative one stands for ever, and 0 for a look. It returns nil at once if a connection is pending. One that a callback or
// another goroutine takes first does not end the wait. It fails with SocketTimeoutError when the time has passed, which also becomes the
// last error, and with an error that Is net.ErrClosed if the server does not listen, or is closed meanwhile.
//
// Qt: QLocalServer::waitForNewConnection
func (s *Server) WaitForNewConnection(timeout time.Duration) error {
	return s.c().WaitNew(timeout, network)
}

// ServerError returns the code of the last error: NoError if there was none since the last successful Listen, and after Close.
//
// Qt: QLocalServer::serverError
func (s *Server) ServerError() sock.SocketError { return sock.CodeOf(s.Err()) }

// ErrorString returns the last error in words, or "".
//
// Qt: QLocalServer::errorString
func (s *Server) ErrorString() string {
	if err := s.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// Err returns the last error, or nil if there was none since the last successful Listen, and after Close.
func (s *Server) Err() error { return s.c().Err() }

// OnNewConnection registers f to be called for each connection that becomes pending, and calls it for each that is. It may find that
// somebody else has taken the connection. The function that it returns ends that.
//
// Qt: QLocalServer::newConnection
func (s *Server) OnNewConnection(f func()) (stop func()) { return s.c().OnNewConnection(f) }

// OnAcceptError registers f to be told of what goes wrong with accepting. Out of descriptors or memory the error Is SocketResourceError,
// and is told once; the server accepts again by itself, after 5 ms and then after twice as long each time, up to a second, until it can.
// A connection that was refused by SetAdmit's function or by the access options is told each time, with SocketAccessError. The function
// that it returns ends that.
//
// Qt: QTcpServer::acceptError
func (s *Server) OnAcceptError(f func(error)) (stop func()) { return s.c().OnAcceptError(f) }

// Accept waits for a connection and takes it. The connection is a *Socket. It fails with an error that Is net.ErrClosed when the server is
// closed or does not listen, and with one that Is os.ErrDeadlineExceeded when the deadline passes; nothing else ends it.
func (s *Server) Accept() (net.Conn, error) {
	c, err := s.c().Accept(context.Background(), network)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptContext waits for a connection and takes it, as Accept does, but no longer than ctx lasts. The error is then the context's, too.
func (s *Server) AcceptContext(ctx context.Context) (*Socket, error) {
	return s.c().Accept(ctx, network)
}

// Connections returns what AcceptContext returns, one after the other. The sequence ends after the first error, which it yields with a nil
// Socket: the context's, the deadline's, or, when the server is closed, one that Is net.ErrClosed.
func (s *Server) Connections(ctx context.Context) iter.Seq2[*Socket, error] {
	return func(yield func(*Socket, error) bool) {
		for {
			c, err := s.AcceptContext(ctx)
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Addr returns the address on which the server listens or listened last, a *net.UnixAddr or on Windows a PipeAddr. It is never nil: before
// the first Listen it has no name. An abstract name begins with @ in it.
func (s *Server) Addr() net.Addr {
	if l, ok := s.c().Last().(*listener); ok {
		return l.Addr()
	}
	return newAddr("")
}

// SetDeadline sets when Accept, AcceptContext and Connections fail, those that wait now included; the zero time stands for never. It lasts
// until Close.
func (s *Server) SetDeadline(t time.Time) error { return s.c().SetDeadline(network, t) }

// SyscallConn returns a raw connection of the listening socket. Accepting from it takes connections away from the server.
func (s *Server) SyscallConn() (syscall.RawConn, error) { return s.c().SyscallConn(network) }

// File returns a duplicate of the listening socket, for another process to go on with. The caller closes it. Both accept from one queue,
// and closing one does not affect the other, but for the socket's file: see SetUnlinkOnClose.
func (s *Server) File() (f *os.File, err error) {
	err = s.c().Control("file", network, func(l core.Listener[Socket]) error {
		if f, err = l.(*listener).Dup(); err != nil {
			return opError("file", l.(*listener).addr(), err)
		}
		return nil
	})
	return f, err
}

// SocketDescriptor lends the descriptor of the listening socket. It is not valid if the server does not listen.
//
// Qt: QLocalServer::socketDescriptor
func (s *Server) SocketDescriptor() (d sock.Descriptor) {
	s.c().Control("socketDescriptor", network, func(l core.Listener[Socket]) error {
		d = l.(*listener).Lend()
		return nil
	})
	return d
}
