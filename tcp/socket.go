package tcp

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"anteroom/internal/core"
	"anteroom/internal/sysfd"
	"anteroom/proxy"
	"anteroom/sock"
)

// A Socket is a connection to a TCP server, or one that a server has accepted. It is a net.Conn, and has the members of Qt's socket
// beside that: states, buffers, waits and signals.
//
// The zero value is an unconnected socket. After a connection has ended the same Socket can be connected again. A Socket must not be
// copied after its first use, and is closed by whoever has made or taken it.
//
// Read and Write are a net.Conn's: they wait. ReadAvailable, Peek, ReadLine, Skip and WriteBuffered never do; they are Qt's read and write.
// Nothing is read from the system before somebody asks for it: reads, or asks what there is.
//
// An end of the peer's that only Read and Write meet is a half-close, as in Go: Read returns io.EOF, and Write goes on until Close. When a
// callback, a wait or a never-waiting member meets it, it is the connection's end, as in Qt: the error is RemoteHostClosedError, the state
// becomes Unconnected, and what had arrived stays readable.
//
// In UnconnectedState the descriptor is closed, whatever the reason, so that a socket that was only disconnected leaks nothing.
//
// Qt: QTcpSocket
type Socket struct {
	core  core.Socket
	setup *dialling // guarded by the core's lock; most sockets are accepted and have none
	peer  peer4     // of an accepted connection, unless it is one of IPv6
}

var (
	_ net.Conn     = (*Socket)(nil)
	_ syscall.Conn = (*Socket)(nil)
)

// Dial connects to "host:port", within sock.DefaultWait. It is DialContext without a context.
//
// Qt: QAbstractSocket::connectToHost and waitForConnected
func Dial(hostport string) (*Socket, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sock.DefaultWait)
	defer cancel()
	return DialContext(ctx, hostport)
}

// DialContext connects to "host:port"; the port may be a service's name. If the host has several addresses, IPv6 and IPv4 are tried as
// net.Dialer does. It goes through the application proxy if the program has set one. It fails as ConnectToHost does; when ctx ends with
// SocketTimeoutError and the context's error.
func DialContext(ctx context.Context, hostport string) (*Socket, error) {
	s := new(Socket)
	if err := s.ConnectContext(ctx, hostport); err != nil {
		return nil, err
	}
	return s, nil
}

// ConnectToHost begins to connect to a host, by name or address, and a port. Mode 0 stands for ReadWrite. It does not wait: it returns nil if
// the connection is under way, which takes at most sock.DefaultWait, and which WaitForConnected or OnConnected's callbacks tell. The state
// is HostLookup until the host's addresses are known, then Connecting. If there are several addresses, IPv6 and IPv4 are tried as
// net.Dialer does. With SetProxy the proxy connects, and looks the host up.
//
// It fails at once with OperationError, which leaves the connection as it is, unless the socket is unconnected, and with
// UnsupportedSocketOperationError if there is no such mode. The attempt fails with HostNotFoundError if there is no such host; with
// ConnectionRefusedError if nobody listens on the port; with NetworkError if no way leads there; with SocketResourceError out of
// descriptors; with SocketTimeoutError when the time has passed; and with the errors of a proxy: ProxyNotFoundError,
// ProxyConnectionRefusedError, ProxyConnectionClosedError, ProxyConnectionTimeoutError, ProxyAuthenticationRequiredError and
// ProxyProtocolError. That is in Err then, and told to OnErrorOccurred's callbacks while the state is still HostLookup or Connecting;
// then it becomes Unconnected.
//
// Qt: QAbstractSocket::connectToHost
func (s *Socket) ConnectToHost(host string, port uint16, mode sock.OpenMode) error {
	end := &endpoint{host: host, port: port, by: s}
	switch {
	case mode == 0:
		mode = sock.ReadWrite
	case mode > sock.ReadWrite:
		err := core.Because("there is no "+mode.String(), sock.UnsupportedSocketOperationError)
		return s.core.Connect(end, sock.ReadWrite, time.Time{}, func() (core.Transport, error) { return nil, err })
	}
	return s.core.ConnectBackground(end, mode, sock.DefaultWait, end.dialer(s.Proxy()))
}

// ConnectContext connects to "host:port", and waits until that is done or ctx ends. It is ConnectToHost's counterpart for those who wait, with
// the same errors. When ctx ends the error Is SocketTimeoutError, and the context's.
func (s *Socket) ConnectContext(ctx context.Context, hostport string) error {
	host, port, err := splitHostPort(ctx, hostport)
	end := &endpoint{host: host, port: port, by: s}
	dial := end.dialer(s.Proxy())
	if err != nil {
		end.unread = hostport
		dial = func(context.Context, func()) (core.Transport, error) { return nil, err }
	}
	return s.core.ConnectDialing(ctx, end, sock.ReadWrite, dial)
}

// DisconnectFromHost closes the connection. While WriteBuffered's bytes are unsent the state is Closing, and they go on being sent, in the
// background; then it becomes Unconnected, and OnDisconnected's callbacks are told. What has arrived stays readable. An attempt to
// connect is given up. It does not wait: WaitForDisconnected does.
//
// Unlike Qt, which goes on connecting and then closes, an attempt under way ends here.
//
// Qt: QAbstractSocket::disconnectFromHost
func (s *Socket) DisconnectFromHost() { s.core.Disconnect() }

// Abort closes the connection at once. What WriteBuffered holds, and what is unread, is dropped.
//
// Qt: QAbstractSocket::abort
func (s *Socket) Abort() { s.core.Abort() }

// Close ends the use of the socket: what is unread is dropped, and Read, Write and waits end with an error that Is net.ErrClosed. Like
// DisconnectFromHost it sends what WriteBuffered holds first, and does not wait for that: the state is Closing until all is sent, the
// write deadline passes, an error occurs or Abort drops it. A second Close does nothing. It always returns nil. The Socket can be
// connected again.
//
// Qt: QAbstractSocket::close
func (s *Socket) Close() error { return s.core.Close() }

// PeerAddress returns the peer's address: an IPv4 address is never mapped into IPv6. It is the zero Addr while the socket is not connected,
// and if only a proxy knows it.
//
// Qt: QAbstractSocket::peerAddress
func (s *Socket) PeerAddress() netip.Addr { return s.whileConnected(s.RemoteAddr).Addr() }

// PeerPort returns the peer's port, or 0 while the socket is not connected.
//
// Qt: QAbstractSocket::peerPort
func (s *Socket) PeerPort() uint16 { return s.whileConnected(s.RemoteAddr).Port() }

// PeerName returns the host that the socket is connected to, or being connected to, as ConnectToHost was given it; "" if it is
// unconnected, or was not connected so.
//
// Qt: QAbstractSocket::peerName
func (s *Socket) PeerName() string {
	if end, ok := s.core.Endpoint().(*endpoint); ok && s.core.State() != sock.UnconnectedState {
		return end.host
	}
	return ""
}

// LocalAddress returns the address of this end, or the zero Addr while the socket is not connected. Through a proxy it is the one by which
// the peer knows us, if the proxy says that.
//
// Qt: QAbstractSocket::localAddress
func (s *Socket) LocalAddress() netip.Addr { return s.whileConnected(s.LocalAddr).Addr() }

// LocalPort returns the port of this end, or 0 while the socket is not connected.
//
// Qt: QAbstractSocket::localPort
func (s *Socket) LocalPort() uint16 { return s.whileConnected(s.LocalAddr).Port() }

func (s *Socket) whileConnected(addr func() net.Addr) netip.AddrPort {
	switch s.core.State() {
	case sock.ConnectedState, sock.ClosingState:
		a := addr()
		if a, ok := a.(proxy.Addr); ok { // the proxy knows the rest
			return netip.AddrPortFrom(netip.Addr{}, a.Port)
		}
		return addrPort(a)
	}
	return netip.AddrPort{}
}

// Proxy returns what SetProxy set.
//
// Qt: QAbstractSocket::proxy
func (s *Socket) Proxy() (p proxy.Proxy) {
	s.core.Locked(func(sock.State) {
		if s.setup != nil {
			p = s.setup.proxy
		}
	})
	return p
}

// SetProxy sets the proxy through which the next connection goes, whatever host that is to. The default, the zero Proxy, is the application
// proxy if the program has set one, and none else.
//
// Qt: QAbstractSocket::setProxy
func (s *Socket) SetProxy(p proxy.Proxy) {
	s.core.Locked(func(sock.State) { s.next().proxy = p })
}

// next returns what the next connection is told. The core's lock held.
func (s *Socket) next() *dialling {
	if s.setup == nil {
		s.setup = new(dialling)
	}
	return s.setup
}

// SetSocketOption sets an option, 0 or 1, of the connection there is, or else of the connections that the socket is going to make, one that it
// is making now included. Through a proxy it is the connection to the proxy. It fails with UnsupportedSocketOperationError if there is no such
// option or value.
//
// Qt: QAbstractSocket::setSocketOption
func (s *Socket) SetSocketOption(o SocketOption, v int) error {
	const op = "set socket option"
	if err := o.check(v); err != nil {
		return opError(op, nil, err)
	}
	later := false
	s.core.Locked(func(st sock.State) {
		if later = st != sock.ConnectedState && st != sock.ClosingState; later {
			s.next().options[o] = int8(v) + 1
		}
	})
	if later {
		return nil
	}
	return s.core.Control(op, func(fd uintptr) error {
		if err := setOption(int(fd), o, v); err != nil {
			return opError(op, nil, err)
		}
		return nil
	})
}

// SocketOption returns an option of the connection there is. It fails with OperationError if there is none, and with
// UnsupportedSocketOperationError if there is no such option.
//
// Qt: QAbstractSocket::socketOption
func (s *Socket) SocketOption(o SocketOption) (v int, err error) {
	const op = "get socket option"
	if err := o.check(0); err != nil {
		return 0, opError(op, nil, err)
	}
	err = s.core.Control(op, func(fd uintptr) error {
		if v, err = option(int(fd), o); err != nil {
			return opError(op, nil, err)
		}
		return nil
	})
	return v, err
}

// State returns how far the connection has come.
//
// Qt: QAbstractSocket::state
func (s *Socket) State() sock.State { return s.core.State() }

// IsValid reports whether the socket has a connection: in ConnectedState and in ClosingState.
//
// Qt: QAbstractSocket::isValid
func (s *Socket) IsValid() bool { return s.core.IsValid() }

// SocketError returns the code of the last error: NoError if there was none since the connection was begun. A wait that timed out counts.
//
// Qt: QAbstractSocket::error
func (s *Socket) SocketError() sock.SocketError { return sock.CodeOf(s.Err()) }

// ErrorString returns the last error in words, or "".
//
// Qt: QIODevice::errorString
func (s *Socket) ErrorString() string {
	if err := s.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// Err returns the last error, or nil if there was none since the connection was begun. What Read and Write return is not among them.
func (s *Socket) Err() error { return s.core.Err() }

// WaitForConnected waits until the connection is made, for at most timeout; a negative one stands for ever, and 0 for a look. It returns
// nil at once if it is made, and once if the peer has ended it since. It fails with the error that ended the attempt; with SocketTimeoutError when the time has passed, which
// leaves the attempt under way, becomes the last error and is told to OnErrorOccurred's callbacks; and with OperationError if there is no
// attempt.
//
// Qt: QAbstractSocket::waitForConnected
func (s *Socket) WaitForConnected(timeout time.Duration) error { return s.core.WaitConnected(timeout) }

// WaitForReadyRead waits until bytes have arrived that no wait has told of yet, for at most timeout; a negative one stands for ever, and 0
// for a look. Bytes that are still unread from before do not count, and are buffered meanwhile. While connecting it waits for that, too.
//
// It fails with SocketTimeoutError when the time has passed, and with RemoteHostClosedError when the peer has ended the connection, though what
// has arrived may be unread still; both become the last error, and are told to OnErrorOccurred's callbacks. It fails with the error of the
// attempt if there was no connection but an attempt that failed, and with OperationError if there is no connection else.
//
// Qt: QAbstractSocket::waitForReadyRead
func (s *Socket) WaitForReadyRead(timeout time.Duration) error { return s.core.WaitReadyRead(timeout) }

// WaitForBytesWritten sends what WriteBuffered holds, and waits until some of that is sent, for at most timeout; a negative one stands for
// ever, and 0 for a look. It returns nil, too, if bytes were sent in the background since the last were queued. It fails with
// SocketTimeoutError when the time has passed, with RemoteHostClosedError if the connection has ended, which both become the last error; and
// with OperationError if nothing was queued, or the socket is unconnected.
//
// Qt: QAbstractSocket::waitForBytesWritten
func (s *Socket) WaitForBytesWritten(timeout time.Duration) error {
	return s.core.WaitBytesWritten(timeout)
}

// WaitForDisconnected waits until the connection has ended, for at most timeout; a negative one stands for ever, and 0 for a look. What
// arrives meanwhile is buffered, and can be read afterwards; SetReadBufferSize bounds that, and a peer who has sent more than that has
// not ended the connection before the rest is read. It fails with SocketTimeoutError when the time has passed, which becomes the last
// error; with the error of the attempt, if it is connecting and that fails; and, if the socket is unconnected, with what WaitForReadyRead
// says of that: RemoteHostClosedError after the peer's end, else OperationError.
//
// Qt: QAbstractSocket::waitForDisconnected
func (s *Socket) WaitForDisconnected(timeout time.Duration) error {
	return s.core.WaitDisconnected(timeout)
}

// BytesAvailable returns how many bytes ReadAvailable would find: those that have arrived, but at most ReadBufferSize of them. It buffers
// them, so that the peer can go on sending to who waits for more than the system's own buffer holds. It does not meet the peer's end, which a
// callback, a wait, and whatever reads do.
//
// Qt: QAbstractSocket::bytesAvailable
func (s *Socket) BytesAvailable() int64 { return s.core.BytesAvailable() }

// BytesToWrite returns how many of the bytes that WriteBuffered was given were not sent yet.
//
// Qt: QAbstractSocket::bytesToWrite
func (s *Socket) BytesToWrite() int64 { return s.core.BytesToWrite() }

// CanReadLine reports whether a whole line, with its newline, has arrived.
//
// Qt: QAbstractSocket::canReadLine
func (s *Socket) CanReadLine() bool { return s.core.CanReadLine() }

// Flush sends as much as it can, without waiting, of what WriteBuffered holds, and reports whether that was anything.
//
// Qt: QAbstractSocket::flush
func (s *Socket) Flush() bool { return s.core.Flush() }

// ReadBufferSize returns the limit that SetReadBufferSize set.
//
// Qt: QAbstractSocket::readBufferSize
func (s *Socket) ReadBufferSize() int64 { return s.core.ReadBufferSize() }

// SetReadBufferSize sets how many bytes may be unread before the peer has to wait; 0, the default, is no limit but the system's. It bounds
// BytesAvailable, what is buffered, and what one signal or wait tells of. The connection ends only when what follows has been read.
//
// Qt: QAbstractSocket::setReadBufferSize
func (s *Socket) SetReadBufferSize(n int64) { s.core.SetReadBufferSize(n) }

// ReadAvailable reads what has arrived, at most len(p) bytes. It does not wait: with nothing there it returns 0 and nil, and after the
// connection's end, when all is read, io.EOF.
//
// Qt: QIODevice::read
func (s *Socket) ReadAvailable(p []byte) (int, error) { return s.core.ReadAvailable(p) }

// Peek returns what ReadAvailable would read of n bytes, and leaves it unread.
//
// Qt: QIODevice::peek
func (s *Socket) Peek(n int) ([]byte, error) { return s.core.Peek(n) }

// ReadLine returns what has arrived of a line: the bytes up to and with the first newline, or all that there are if there is none, but at
// most max; 0 or less stands for no limit. Ask CanReadLine for whether a whole line is there. It does not wait: with nothing there it
// returns nothing and nil, and after the connection's end, when all is read, io.EOF.
//
// Qt: QIODevice::readLine
func (s *Socket) ReadLine(max int) ([]byte, error) { return s.core.ReadLine(max) }

// Skip throws away what has arrived of the next n bytes, and returns how many that were. It does not wait; after the connection's end,
// when all is read, it returns io.EOF.
//
// Qt: QIODevice::skip
func (s *Socket) Skip(n int64) (int64, error) { return s.core.Skip(n) }

// WriteBuffered queues p, of which it keeps a copy, and returns len(p). It does not wait, however much is queued: BytesToWrite says how much
// that is. The bytes are sent by Flush, by a wait, before a Write, when the callback that wrote them has returned, and otherwise, in the
// background, a millisecond later, so that small writes go together. It fails with OperationError if the socket is not connected or was
// opened ReadOnly, and with RemoteHostClosedError if the peer has ended the connection.
//
// Qt: QIODevice::write
func (s *Socket) WriteBuffered(p []byte) (int, error) { return s.core.WriteBuffered(p) }

// SetSocketDescriptor makes the socket use a connection that exists: a connected TCP socket, or a connection that has come through a proxy.
// St must be ConnectedState; mode 0 stands for ReadWrite. The socket owns d once this returned nil; after an error d is still the
// caller's, and the socket is as it was.
//
// It fails with UnsupportedSocketOperationError if d is not valid, lent, closed, or no connected TCP socket, and with OperationError unless
// the socket is unconnected, and if d is of another Socket (sock.FromConn) that holds bytes: buffered ones that were not read, or not sent.
//
// Qt: QAbstractSocket::setSocketDescriptor
func (s *Socket) SetSocketDescriptor(d sock.Descriptor, st sock.State, mode sock.OpenMode) error {
	const op = "set socket descriptor"
	if mode == 0 {
		mode = sock.ReadWrite
	}
	if st != sock.ConnectedState || mode > sock.ReadWrite {
		return opError(op, nil, core.Because("a socket cannot be given a connection in "+st.String()+", "+mode.String(), sock.UnsupportedSocketOperationError))
	}
	if s.core.State() != sock.UnconnectedState {
		return opError(op, nil, core.Because("the socket has a connection: disconnect or abort it first", sock.OperationError, syscall.EISCONN))
	}
	t, known, copied, err := take(d)
	if err != nil {
		return opError(op, nil, err)
	}
	end := new(endpoint)
	end.ends.Store(known)
	if copied {
		return s.core.AdoptCopy(op, end, t, mode, d)
	}
	return s.core.Adopt(op, end, t, mode)
}

// SocketDescriptor lends the connection's descriptor. It is not valid if there is no connection, nor if that goes through a proxy: the
// native handle leads to the proxy, and not to the peer.
//
// Qt: QAbstractSocket::socketDescriptor
func (s *Socket) SocketDescriptor() sock.Descriptor {
	if s.proxied() {
		return sock.Descriptor{}
	}
	return s.core.SocketDescriptor()
}

func (s *Socket) proxied() bool {
	if end, ok := s.core.Endpoint().(*endpoint); ok {
		known := end.ends.Load()
		return known != nil && known.proxied
	}
	return false
}

// handOver says where the connection leads, for another socket that is to go on with it.
func (s *Socket) handOver() (*ends, error) {
	switch {
	case !s.core.IsValid():
		return nil, core.Because("the socket has no connection", sock.UnsupportedSocketOperationError, net.ErrClosed)
	case s.core.Holds():
		return nil, core.ErrHolds
	}
	return &ends{local: s.LocalAddr(), remote: s.RemoteAddr(), proxied: s.proxied()}, nil
}

// OnConnected registers f to be called when a connection that ConnectToHost has begun is made. The function that it returns ends that.
//
// Qt: QAbstractSocket::connected
func (s *Socket) OnConnected(f func()) (stop func()) { return s.core.OnConnected(f) }

// OnDisconnected registers f to be called when a connection has ended, whoever ended it; then the state is Unconnected, and it is the last
// that is told of that connection. It is not called for an attempt that failed. If the peer has ended the connection already, and no
// callback was told, f is called at once. The function that it returns ends that.
//
// Qt: QAbstractSocket::disconnected
func (s *Socket) OnDisconnected(f func()) (stop func()) { return s.core.OnDisconnected(f) }

// OnReadyRead registers f to be called once for each time that new bytes have arrived, and at once if bytes are unread. If callbacks have read
// a part of what there is, it is called for the rest, too; if they have read nothing, when more arrives. It may find that somebody else
// has read the bytes. The function that it returns ends that.
//
// Qt: QIODevice::readyRead
func (s *Socket) OnReadyRead(f func()) (stop func()) { return s.core.OnReadyRead(f) }

// OnStateChanged registers f to be told of each new state. The function that it returns ends that.
//
// Qt: QAbstractSocket::stateChanged
func (s *Socket) OnStateChanged(f func(sock.State)) (stop func()) { return s.core.OnStateChanged(f) }

// OnErrorOccurred registers f to be told of each error, before the state changes because of it; if another callback was running just then,
// in another goroutine, or if a loop has had to get to it first, the state may have moved on by now. Waits that timed out count.
// The function that it returns ends that.
//
// Qt: QAbstractSocket::errorOccurred
func (s *Socket) OnErrorOccurred(f func(sock.SocketError)) (stop func()) {
	return s.core.OnErrorOccurred(f)
}

// OnBytesWritten registers f to be told how many of the bytes that WriteBuffered was given were sent since it was told last. The function
// that it returns ends that.
//
// Qt: QIODevice::bytesWritten
func (s *Socket) OnBytesWritten(f func(n int64)) (stop func()) { return s.core.OnBytesWritten(f) }

// Read waits until bytes have arrived, and reads them, at most len(p). At the peer's end it returns io.EOF as it is. It fails with an error
// that Is os.ErrDeadlineExceeded when the read deadline passes, and with one that Is net.ErrClosed when the socket is closed meanwhile.
func (s *Socket) Read(p []byte) (int, error) { return s.core.Read(p) }

// Write waits until all of p is sent, after what WriteBuffered holds. Bytes of two Writes do not mix. It fails as Read does, with the write
// deadline, and with RemoteHostClosedError when the peer reads no more; the count says how much was sent.
func (s *Socket) Write(p []byte) (int, error) { return s.core.Write(p) }

// CloseRead ends reading, once what has arrived is read; the connection stays, for writing. What arrives later may be refused or, as on Linux,
// still be read: TCP has no way to tell the peer. That the peer ends the connection is told on Linux only from then on; elsewhere a write meets it.
func (s *Socket) CloseRead() error { return s.core.CloseRead() }

// CloseWrite ends writing, after what WriteBuffered holds: the peer reads the end, and can go on writing.
func (s *Socket) CloseWrite() error { return s.core.CloseWrite() }

// LocalAddr returns the address of this end, a *net.TCPAddr, which is never nil. A socket that was accepted does not know it any more when
// the connection has ended. Through a proxy it is the one by which the peer knows us, if the proxy says that.
func (s *Socket) LocalAddr() net.Addr {
	if end, ok := s.core.Endpoint().(*endpoint); ok {
		if known := end.ends.Load(); known != nil {
			return known.local
		}
	}
	local := new(net.TCPAddr)
	s.core.Control("address", func(fd uintptr) error {
		if a, err := nameOf(fd, false); err == nil {
			local = net.TCPAddrFromAddrPort(a.AddrPort())
		}
		return nil
	})
	return local
}

// RemoteAddr returns the address of the peer, a *net.TCPAddr, also after the connection has ended; it is never nil. If only a proxy knows the
// address, it is another kind of net.Addr, with the host's name.
func (s *Socket) RemoteAddr() net.Addr {
	switch end := s.core.Endpoint().(type) {
	case *endpoint:
		if known := end.ends.Load(); known != nil {
			return known.remote
		}
	case *accepted4, *accepted6:
		return end.Addr()
	}
	return new(net.TCPAddr)
}

// SetDeadline sets the read and the write deadline.
func (s *Socket) SetDeadline(t time.Time) error {
	if err := s.core.SetReadDeadline(t); err != nil {
		return err
	}
	return s.core.SetWriteDeadline(t)
}

// SetReadDeadline sets when Read fails, one that waits now included; the zero time stands for never. Waits are not affected. It lasts until
// the connection has ended, and fails if there is none.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.core.SetReadDeadline(t) }

// SetWriteDeadline sets when Write fails, one that waits now included, and when a socket that is closing drops what WriteBuffered holds;
// the zero time stands for never. It lasts until the connection has ended, and fails if there is none.
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.core.SetWriteDeadline(t) }

// SyscallConn returns a raw connection. What it reads and writes goes past the socket's buffers.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return s.core.SyscallConn() }

// newAccepted makes a socket of a connection that nobody has taken yet, and that is at a poller already.
func newAccepted(c net.Conn) (*Socket, error) {
	t, known, err := attach(c)
	if err != nil {
		return nil, err
	}
	end := &endpoint{conn: c}
	end.ends.Store(known)
	s := new(Socket)
	return s, s.core.Adopt("accept", end, t, sock.ReadWrite)
}

// hold makes a new socket of a connection that nobody has taken yet.
func (s *Socket) hold(fd int, peer sysfd.Inet) {
	ip := netip.AddrFrom16(peer.IP)
	if !ip.Is4In6() {
		end := accepted6(peer)
		s.core.Hold(&end, fd)
		return
	}
	s.peer = peer4{ip.As4(), peer.Port}
	s.core.Hold((*accepted4)(s), fd)
}

// release gives up a socket that nobody has taken for its descriptor.
func (s *Socket) release() sock.Descriptor {
	if end, ok := s.core.Endpoint().(*endpoint); ok {
		return sock.FromConn(end.conn)
	}
	return s.core.Release()
}
