package tcp

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"anteroom/internal/core"
	"anteroom/proxy"
	"anteroom/sock"
)

// A Server listens on a TCP port and keeps the connections that it has accepted until somebody takes them. It is a net.Listener.
//
// The zero value is a server that does not listen yet. A Server must not be copied after its first use.
//
// Connections are accepted eagerly, at most MaxPendingConnections ahead of whoever takes them with Accept, AcceptContext, Connections
// or NextPendingConnection; each goes to one taker, and belongs to it. What goes wrong with accepting never ends the server, unless it
// listens through a proxy that does so no more: out of descriptors, it says so to OnAcceptError once, and goes on by itself when there
// are some again.
//
// Qt: QTcpServer
type Server struct {
	core core.Server[Socket]

	mu      sync.Mutex // guards what Listen is told
	backlog int
	proxy   proxy.Proxy
	once    bool
	admit   func(netip.AddrPort) error
}

var (
	_ net.Listener = (*Server)(nil)
	_ syscall.Conn = (*Server)(nil)
)

// proxyTimeout is how long Listen gives a proxy. Qt: 5 s.
const proxyTimeout = 5 * time.Second

// Listen returns a server that listens on "host:port". An empty host stands for every address, IPv4 and IPv6; of a name's addresses one is
// taken, an IPv4 one if there is one; port 0 is chosen by the system. It is (*Server).Listen of a new Server.
//
// It fails with HostNotFoundError if there is no such host, or hostport is none, and else as (*Server).Listen does.
//
// Qt: QTcpServer::listen
func Listen(hostport string) (*Server, error) {
	ctx := context.Background()
	host, port, err := splitHostPort(ctx, hostport)
	var addr netip.Addr
	if err == nil {
		addr, err = lookUp(ctx, host)
	}
	if err != nil {
		return nil, opError("listen", hostAddr(hostport), err)
	}
	s := new(Server)
	if err := s.Listen(addr, port); err != nil {
		return nil, err
	}
	return s, nil
}

// A listener is what a Server listens with.
type listener interface {
	core.Listener[Socket]
	address() netip.AddrPort // "::" if it is dual stack
	Dup() (*os.File, error)
	Lend() sock.Descriptor
}

// hooks is what the core asks of this package's sockets.
var hooks = core.Hooks[Socket]{
	Take:    func(c *Socket, home *core.Home) error { return c.core.Take(home) },
	Release: (*Socket).release,
	Discard: func(c *Socket) { c.Abort() },
}

func (s *Server) c() *core.Server[Socket] {
	s.core.Init(&hooks)
	return &s.core
}

// listening returns the address on which the server listens, or the zero AddrPort.
func (s *Server) listening() netip.AddrPort {
	if l, ok := s.c().Listener().(listener); ok {
		return l.address()
	}
	return netip.AddrPort{}
}

// Listen makes the server listen on an address of this host, and a port. The zero Addr stands for every address, IPv4 and IPv6 (IPv4 alone on
// a system without IPv6), 0.0.0.0 for every IPv4 address, and :: for every IPv6 address. Port 0 is chosen by the system: see ServerPort.
// When it returns nil, clients can connect.
//
// The port can be taken at once after a server that listened on it has gone, whatever connections it has left. On Windows, where that needs
// nothing, the port is exclusive: nobody else can listen on it.
//
// It fails with AddressInUseError if somebody listens on the port; with SocketAccessError if the rights are missing, as for ports below
// 1024; with SocketAddressNotAvailableError if the address is not this host's; and with OperationError if the server listens already,
// which changes nothing. Except for that one, the error is in Err afterwards. A server may listen again after Close.
//
// With SetProxy it listens through a proxy, unless addr is a loopback address, and takes up to 5 s: see ListenContext.
//
// Qt: QTcpServer::listen
func (s *Server) Listen(addr netip.Addr, port uint16) error {
	ctx, cancel := context.WithTimeout(context.Background(), proxyTimeout)
	defer cancel()
	return s.ListenContext(ctx, addr, port)
}

// ListenContext is Listen with another time for a proxy: until ctx ends. Nothing else waits.
//
// Through a SOCKS5 proxy the server listens as RFC 1928 describes BIND: ServerAddress and ServerPort are the proxy's, and a connection is
// pending when a peer has come to them. The proxy lets one peer in for each BIND, so the server binds anew as soon as one has come; see
// SetProxyRebind. A peer that comes before the proxy has answered that is refused. The proxy may give another port then; the server asks
// for the same. If the proxy is gone, that is tried again for sock.DefaultWait; after that, or when the proxy refuses, the server listens no
// more: OnAcceptError is told, and Accept fails with the error.
//
// The errors of a proxy: ProxyNotFoundError, ProxyConnectionRefusedError, ProxyConnectionClosedError, ProxyAuthenticationRequiredError,
// ProxyProtocolError; ProxyConnectionTimeoutError, which also Is SocketTimeoutError, when ctx ends; what the proxy itself
// says, such as SocketAccessError; and UnsupportedSocketOperationError for a proxy that cannot listen, such as an HTTP proxy.
func (s *Server) ListenContext(ctx context.Context, addr netip.Addr, port uint16) error {
	s.mu.Lock()
	backlog, through, once := s.backlog, s.proxy.Resolve(), s.once
	s.mu.Unlock()
	var l listener
	var err error
	open := func() (listener, error) { return l, err }
	switch {
	case through.Type == proxy.NoProxy || addr.Unmap().IsLoopback():
		open = func() (listener, error) { return listenAt(addr, port, backlog) }
	case s.IsListening():
		// The proxy is not asked in vain; and a server that is closed just now must not listen without it.
		err = opError("listen", nil, core.Because("the server was listening: close it first", sock.OperationError))
	default:
		// Asking a proxy takes its time, during which the server can be used.
		if l, err = listenThrough(ctx, through, addr, port, !once); err == nil {
			defer func() {
				if s.c().Listener() != l {
					l.Close()
				}
			}()
		}
	}
	admit := s.admission()
	return s.c().Listen(network, func() (core.Listener[Socket], func(*Socket) error, error) {
		l, err := open()
		if e, ok := errors.AsType[*sock.Error](err); ok {
			return nil, nil, e // a proxy's
		}
		if err != nil {
			return nil, nil, opError("listen", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port)), err)
		}
		return l, admit, nil
	})
}

// admission returns what decides about a new connection, or nil if all may come in.
func (s *Server) admission() func(*Socket) error {
	s.mu.Lock()
	admit := s.admit
	s.mu.Unlock()
	if admit == nil {
		return nil
	}
	return func(c *Socket) error {
		peer := addrPort(c.RemoteAddr())
		if err := admit(peer); err != nil {
			return &sock.Error{Op: "admit", Net: network, Addr: c.RemoteAddr(), Code: sock.SocketAccessError, Err: err}
		}
		return nil
	}
}

// SetSocketDescriptor makes the server accept from a TCP socket that listens already, such as one that systemd passes. The server owns d once
// this returned nil; after an error d is still the caller's.
//
// It fails with UnsupportedSocketOperationError if d is not valid, lent, closed, or no listening TCP socket, and with OperationError if the
// server listens already.
//
// Qt: QTcpServer::setSocketDescriptor
func (s *Server) SetSocketDescriptor(d sock.Descriptor) error {
	admit := s.admission()
	return s.c().Listen(network, func() (core.Listener[Socket], func(*Socket) error, error) {
		l, err := adopt(d)
		if err != nil {
			return nil, nil, opError("set socket descriptor", nil, err)
		}
		return l, admit, nil
	})
}

// ListenDescriptor is SetSocketDescriptor, by the name that it has for a local server.
func (s *Server) ListenDescriptor(d sock.Descriptor) error { return s.SetSocketDescriptor(d) }

// Close stops listening. Whoever waits for a connection gets an error that Is net.ErrClosed; connections that were not taken are closed,
// those that were are untouched. Close does nothing and returns nil if the server does not listen. Err is nil afterwards.
//
// Qt: QTcpServer::close
func (s *Server) Close() error { return s.c().Close() }

// IsListening reports whether the server listens.
//
// Qt: QTcpServer::isListening
func (s *Server) IsListening() bool { return s.c().IsListening() }

// ServerAddress returns the address on which the server listens: :: if that is every address of both families, a proxy's if it listens
// through one; the zero Addr, which is Qt's QHostAddress::Null, if it does not listen.
//
// Qt: QTcpServer::serverAddress
func (s *Server) ServerAddress() netip.Addr { return s.listening().Addr() }

// ServerPort returns the port on which the server listens, a proxy's if it listens through one, or 0 if it does not listen.
//
// Qt: QTcpServer::serverPort
func (s *Server) ServerPort() uint16 { return s.listening().Port() }

// HasPendingConnections reports whether NextPendingConnection would return one.
//
// Qt: QTcpServer::hasPendingConnections
func (s *Server) HasPendingConnections() bool { return s.c().HasPending() }

// NextPendingConnection takes the first pending connection, or returns nil if there is none. It does not wait. The connection is the
// caller's, who closes it; it outlives the server.
//
// Qt: QTcpServer::nextPendingConnection
func (s *Server) NextPendingConnection() *Socket { return s.c().Next() }

// AddPendingConnection makes a connection pending, whatever the limit, and tells OnNewConnection's callbacks. It is what the base
// behaviour of IncomingConnection ends with; an override calls it when it has made a Socket in its own way. The server need not listen.
//
// Qt: QTcpServer::addPendingConnection
func (s *Server) AddPendingConnection(c *Socket) {
	if c != nil {
		s.c().Add(c)
	}
}

// IncomingConnection is the base behaviour for a connection that was accepted: it makes a Socket of d, which it owns in any case, and
// makes that pending. A descriptor that is no connected TCP socket is closed, and told to OnAcceptError.
//
// Qt: QTcpServer::incomingConnection
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
// descriptor; one that has come through a proxy has no native handle. It runs in order with the callbacks, and never two at a time, unless
// one waits for a connection itself. If it keeps the descriptor and makes nothing pending, nothing is pending, and OnNewConnection is told of
// nothing; WaitForNewConnection returns nil all the same.
//
// Unlike Qt, which says newConnection also if nothing was made pending.
//
// Qt: QTcpServer::incomingConnection, which is virtual
func (s *Server) SetIncomingConnection(f func(sock.Descriptor)) { s.c().SetIncoming(f) }

// MaxPendingConnections returns the limit that SetMaxPendingConnections set.
//
// Qt: QTcpServer::maxPendingConnections
func (s *Server) MaxPendingConnections() int { return s.c().Limit() }

// SetMaxPendingConnections sets how many accepted connections may wait to be taken; the default is 30. The server accepts no more until
// one is taken. The operating system may queue further clients, which then count themselves connected: see SetListenBacklogSize. With a
// limit of 0 or less a connection is accepted only while somebody waits for it, in Accept or in WaitForNewConnection. It may be called
// while listening, and a raised limit counts at once.
//
// Qt: QTcpServer::setMaxPendingConnections
func (s *Server) SetMaxPendingConnections(n int) { s.c().SetLimit(n) }

// PauseAccepting stops accepting, whoever waits, until ResumeAccepting. What is pending can be taken, which does not resume. When it
// returns, no further connection is accepted. It stays as it is set, also over Close and Listen.
//
// Qt: QTcpServer::pauseAccepting
func (s *Server) PauseAccepting() { s.c().SetPaused(true) }

// ResumeAccepting goes on accepting.
//
// Qt: QTcpServer::resumeAccepting
func (s *Server) ResumeAccepting() { s.c().SetPaused(false) }

// ListenBacklogSize returns what SetListenBacklogSize set.
//
// Qt: QTcpServer::listenBacklogSize
func (s *Server) ListenBacklogSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backlog
}

// SetListenBacklogSize sets how many clients the operating system may queue that were not accepted yet. The default, 0, asks for as many
// as the system allows. It counts from the next Listen. A proxy is not told.
//
// Unlike Qt, whose 50 refuses a burst of clients, the default is the system's limit.
//
// Qt: QTcpServer::setListenBacklogSize
func (s *Server) SetListenBacklogSize(n int) {
	s.mu.Lock()
	s.backlog = n
	s.mu.Unlock()
}

// Proxy returns what SetProxy set.
//
// Qt: QTcpServer::proxy
func (s *Server) Proxy() proxy.Proxy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proxy
}

// SetProxy sets the proxy through which Listen listens: see ListenContext. The default, the zero Proxy, is the application proxy if the
// program has set one, and none else. A loopback address is never listened on through a proxy: it means this host, and the proxy's own
// would be meant. It counts from the next Listen.
//
// Qt: QTcpServer::setProxy
func (s *Server) SetProxy(p proxy.Proxy) {
	s.mu.Lock()
	s.proxy = p
	s.mu.Unlock()
}

// SetProxyRebind sets whether a server that listens through a proxy binds anew when a peer has come, which is the default. If not, one peer
// comes, and then Accept fails with an error that Is net.ErrClosed, and the server listens no more. It counts from the next Listen.
func (s *Server) SetProxyRebind(rebind bool) {
	s.mu.Lock()
	s.once = !rebind
	s.mu.Unlock()
}

// SetAdmit sets the function that decides by a peer's address who may come in, before a connection is pending. An error refuses: the
// connection is closed, and OnAcceptError is told, with an error that Is SocketAccessError and the one that f returned. Nil, the default,
// lets everybody in. It counts from the next Listen. F runs in order with the callbacks, and must not wait long: nobody is accepted
// meanwhile.
func (s *Server) SetAdmit(f func(netip.AddrPort) error) {
	s.mu.Lock()
	s.admit = f
	s.mu.Unlock()
}

// WaitForNewConnection waits until a connection is pending, or until an override of IncomingConnection has been given one, for at most
// timeout; a negative one stands for ever, and 0 for a look. It returns nil at once if a connection is pending. One that a callback or
// another goroutine takes first does not end the wait. It fails with SocketTimeoutError when the time has passed, which also becomes the
// last error, and with an error that Is net.ErrClosed if the server does not listen, or is closed meanwhile.
//
// Unlike Qt, which waits for a further connection if one is pending, and may say true with none pending.
//
// Qt: QTcpServer::waitForNewConnection
func (s *Server) WaitForNewConnection(timeout time.Duration) error {
	return s.c().WaitNew(timeout, network)
}

// ServerError returns the code of the last error: NoError if there was none since the last successful Listen, and after Close.
//
// Qt: QTcpServer::serverError
func (s *Server) ServerError() sock.SocketError { return sock.CodeOf(s.Err()) }

// ErrorString returns the last error in words, or "".
//
// Qt: QTcpServer::errorString
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
// Qt: QTcpServer::newConnection, pendingConnectionAvailable
func (s *Server) OnNewConnection(f func()) (stop func()) { return s.c().OnNewConnection(f) }

// OnAcceptError registers f to be told of what goes wrong with accepting. Out of descriptors or memory the error Is SocketResourceError,
// and is told once; the server accepts again by itself, after 5 ms and then after twice as long each time, up to a second, until it can.
// A connection that SetAdmit's function refused is told each time, with SocketAccessError. The function that it returns ends that.
//
// Qt: QTcpServer::acceptError
func (s *Server) OnAcceptError(f func(error)) (stop func()) { return s.c().OnAcceptError(f) }

// Accept waits for a connection and takes it. The connection is a *Socket. It fails with an error that Is net.ErrClosed when the server is
// closed or does not listen, and with one that Is os.ErrDeadlineExceeded when the deadline passes; and, if it listens through a proxy,
// with what keeps it from listening there any longer. Nothing else ends it.
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

// Addr returns the address on which the server listens or listened last, a *net.TCPAddr. It is never nil.
func (s *Server) Addr() net.Addr {
	if l := s.c().Last(); l != nil {
		return l.Addr()
	}
	return new(net.TCPAddr)
}

// SetDeadline sets when Accept, AcceptContext and Connections fail, those that wait now included; the zero time stands for never. It lasts
// until Close.
func (s *Server) SetDeadline(t time.Time) error { return s.c().SetDeadline(network, t) }

// SyscallConn returns a raw connection of the listening socket. Accepting from it takes connections away from the server. A server that
// listens through a proxy has none.
func (s *Server) SyscallConn() (syscall.RawConn, error) { return s.c().SyscallConn(network) }

// File returns a duplicate of the listening socket, for another process to go on with. The caller closes it. Both accept from one queue,
// and closing one does not affect the other. A server that listens through a proxy has none.
func (s *Server) File() (f *os.File, err error) {
	err = s.c().Control("file", network, func(l core.Listener[Socket]) error {
		if f, err = l.(listener).Dup(); err != nil {
			return opError("file", l.Addr(), err)
		}
		return nil
	})
	return f, err
}

// SocketDescriptor lends the descriptor of the listening socket. It is not valid if the server does not listen, or listens through a proxy.
//
// Qt: QTcpServer::socketDescriptor
func (s *Server) SocketDescriptor() (d sock.Descriptor) {
	s.c().Control("socketDescriptor", network, func(l core.Listener[Socket]) error {
		d = l.(listener).Lend()
		return nil
	})
	return d
}
