package local

import (
	"context"
	"net"
	"syscall"
	"time"

	"anteroom/internal/core"
	"anteroom/sock"
)

// A Socket is a connection to a local server, or one that a server has accepted. It is a net.Conn, and has the members of Qt's socket
// beside that: states, buffers, waits and signals.
//
// The zero value is an unconnected socket. After a connection has ended the same Socket can be connected again. A Socket must not be
// copied after its first use, and is closed by whoever has made or taken it.
//
// Read and Write are a net.Conn's: they wait. ReadAvailable, Peek, ReadLine, Skip and WriteBuffered never do; they are Qt's read and write.
// Nothing is read from the system before somebody asks for it: reads, or asks what there is.
//
// An end of the peer's that only Read and Write meet is a half-close, as in Go: Read returns io.EOF, and Write goes on until Close. When a
// callback, a wait or a never-waiting member meets it, it is the connection's end, as in Qt: the error is PeerClosedError, the state
// becomes Unconnected, and what had arrived stays readable.
//
// In UnconnectedState the descriptor is closed, whatever the reason, so that a socket that was only disconnected leaks nothing.
//
// Qt: QLocalSocket
type Socket struct {
	core  core.Socket
	setup *socketSetup
}

// A socketSetup is what the next connection is told, guarded by the core's lock; most sockets are accepted and have none.
type socketSetup struct {
	name    string
	options SocketOptions
}

var (
	_ net.Conn     = (*Socket)(nil)
	_ syscall.Conn = (*Socket)(nil)
)

// Dial connects to the server of a name, and waits for it up to sock.DefaultWait if its queue is full. It is DialContext without a context.
//
// Qt: QLocalSocket::connectToServer and waitForConnected
func Dial(name string) (*Socket, error) {
	return dialSocket(context.Background(), name, time.Now().Add(sock.DefaultWait))
}

// DialContext connects to the server of a name. If the server's queue is full, it tries again, with a growing delay, until ctx ends. It
// fails as ConnectToServer does; when ctx ends with SocketTimeoutError and the context's error.
func DialContext(ctx context.Context, name string) (*Socket, error) {
	return dialSocket(ctx, name, time.Time{})
}

func dialSocket(ctx context.Context, name string, limit time.Time) (*Socket, error) {
	s := new(Socket)
	end, dial := target(name, NoOptions)
	if err := s.core.ConnectContext(ctx, end, sock.ReadWrite, limit, dial); err != nil {
		return nil, err
	}
	return s, nil
}

// target returns where a name leads, and what connects to it.
func target(name string, options SocketOptions) (*endpoint, func() (core.Transport, error)) {
	p, err := resolve(name, options)
	end := &endpoint{server: name, full: p.full, addr: p.addr()}
	if err != nil {
		end.addr = p.wanted()
		return end, func() (core.Transport, error) { return nil, err }
	}
	return end, func() (core.Transport, error) { return dial(p) }
}

// ConnectToServer begins to connect to the server of a name. "" stands for the name that SetServerName was given, and mode 0 for ReadWrite.
// It does not wait: it returns nil if the connection is made or under way, which WaitForConnected or OnConnected's callbacks tell. While
// the server's queue is full it is under way; it is tried again with a growing delay, until sock.DefaultWait has passed, and then fails
// with SocketTimeoutError.
//
// It fails with ServerNotFoundError if there is no such name, or the name is no possible one; with ConnectionRefusedError if nobody listens
// there; with SocketAccessError if the rights are missing; with SocketResourceError out of descriptors; and with OperationError, which
// leaves the connection as it is, unless the socket is unconnected. Errors are in Err, too, and told to OnErrorOccurred's callbacks while
// the state is still Connecting (on a loop it may have moved on by then); then it becomes Unconnected.
//
// Qt: QLocalSocket::connectToServer, open
func (s *Socket) ConnectToServer(name string, mode sock.OpenMode) error {
	end, dial, mode := s.prepare(name, mode)
	return s.core.Connect(end, mode, time.Now().Add(sock.DefaultWait), dial)
}

// ConnectContext connects to the server of a name, and waits until that is done or ctx ends. It is ConnectToServer's counterpart for those
// who wait, with the same errors; while the server's queue is full it is tried again until ctx ends. Then the error Is
// SocketTimeoutError, and the context's.
func (s *Socket) ConnectContext(ctx context.Context, name string) error {
	end, dial, mode := s.prepare(name, 0)
	return s.core.ConnectContext(ctx, end, mode, time.Time{}, dial)
}

// prepare resolves what is to be connected to, and forgets SetServerName's name, which counts once.
func (s *Socket) prepare(name string, mode sock.OpenMode) (*endpoint, func() (core.Transport, error), sock.OpenMode) {
	var options SocketOptions
	s.core.Locked(func(st sock.State) {
		if s.setup == nil {
			return
		}
		options = s.setup.options
		if name == "" {
			name = s.setup.name
		}
		if st == sock.UnconnectedState {
			s.setup.name = ""
		}
	})
	if mode == 0 {
		mode = sock.ReadWrite
	}
	end, dial := target(name, options)
	if mode > sock.ReadWrite {
		err := core.Because("there is no "+mode.String(), sock.UnsupportedSocketOperationError)
		dial = func() (core.Transport, error) { return nil, err }
	}
	return end, dial, mode
}

// DisconnectFromServer closes the connection. While WriteBuffered's bytes are unsent the state is Closing, and they go on being sent, in the
// background; then it becomes Unconnected, and OnDisconnected's callbacks are told. What has arrived stays readable. An attempt to
// connect is given up. It does not wait: WaitForDisconnected does.
//
// Unlike Qt, which goes on connecting and then closes, an attempt under way ends here.
//
// Qt: QLocalSocket::disconnectFromServer
func (s *Socket) DisconnectFromServer() { s.core.Disconnect() }

// Abort closes the connection at once. What WriteBuffered holds, and what is unread, is dropped.
//
// Qt: QLocalSocket::abort
func (s *Socket) Abort() { s.core.Abort() }

// Close ends the use of the socket: what is unread is dropped, and Read, Write and waits end with an error that Is net.ErrClosed. Like
// DisconnectFromServer it sends what WriteBuffered holds first, and does not wait for that: the state is Closing until all is sent, the
// write deadline passes, an error occurs or Abort drops it. A second Close does nothing. It always returns nil. The Socket can be
// connected again.
//
// Qt: QLocalSocket::close
func (s *Socket) Close() error { return s.core.Close() }

// SetServerName sets the name that ConnectToServer("", mode) connects to, once. It fails with OperationError unless the socket is unconnected.
//
// Qt: QLocalSocket::setServerName
func (s *Socket) SetServerName(name string) error {
	return s.set("set server name", func(setup *socketSetup) { setup.name = name })
}

func (s *Socket) set(op string, f func(*socketSetup)) (err error) {
	s.core.Locked(func(st sock.State) {
		if st != sock.UnconnectedState {
			err = &sock.Error{Op: op, Net: network, Code: sock.OperationError, Err: syscall.EISCONN}
			return
		}
		if s.setup == nil {
			s.setup = new(socketSetup)
		}
		f(s.setup)
	})
	return err
}

// ServerName returns the name of the server that the socket is connected to, or being connected to, as ConnectToServer was given it. A
// socket that a server has accepted calls it by the last component of its path. An unconnected socket returns SetServerName's name, and ""
// after a connection has ended or failed.
//
// Qt: QLocalSocket::serverName
func (s *Socket) ServerName() (name string) {
	end := s.endpoint()
	s.core.Locked(func(st sock.State) {
		switch {
		case st != sock.UnconnectedState && end != nil:
			name = end.server
		case s.setup != nil:
			name = s.setup.name
		}
	})
	return name
}

// FullServerName returns the path, or the abstract name, that the socket is connected to or being connected to; "" if it is unconnected.
//
// Qt: QLocalSocket::fullServerName
func (s *Socket) FullServerName() string {
	if end := s.endpoint(); end != nil && s.core.State() != sock.UnconnectedState {
		return end.full
	}
	return ""
}

func (s *Socket) endpoint() *endpoint {
	end, _ := s.core.Endpoint().(*endpoint)
	return end
}

// SetSocketOptions sets the options of the next connection: AbstractNamespaceOption makes its name an abstract one, LongPathOption lets its
// path be long. The others are a server's, and mean nothing here. It fails with OperationError unless the socket is unconnected.
//
// Qt: QLocalSocket::setSocketOptions
func (s *Socket) SetSocketOptions(o SocketOptions) error {
	return s.set("set socket options", func(setup *socketSetup) { setup.options = o })
}

// SocketOptions returns what SetSocketOptions set; the default is NoOptions.
//
// Qt: QLocalSocket::socketOptions
func (s *Socket) SocketOptions() (o SocketOptions) {
	s.core.Locked(func(sock.State) {
		if s.setup != nil {
			o = s.setup.options
		}
	})
	return o
}

// State returns how far the connection has come.
//
// Qt: QLocalSocket::state
func (s *Socket) State() sock.State { return s.core.State() }

// IsValid reports whether the socket has a connection: in ConnectedState and in ClosingState.
//
// Qt: QLocalSocket::isValid
func (s *Socket) IsValid() bool { return s.core.IsValid() }

// SocketError returns the code of the last error: NoError if there was none since the connection was begun. A wait that timed out counts.
//
// Qt: QLocalSocket::error
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
// Qt: QLocalSocket::waitForConnected
func (s *Socket) WaitForConnected(timeout time.Duration) error { return s.core.WaitConnected(timeout) }

// WaitForReadyRead waits until bytes have arrived that no wait has told of yet, for at most timeout; a negative one stands for ever, and 0
// for a look. Bytes that are still unread from before do not count, and are buffered meanwhile. While connecting it waits for that, too.
//
// It fails with SocketTimeoutError when the time has passed, and with PeerClosedError when the peer has ended the connection, though what
// has arrived may be unread still; both become the last error, and are told to OnErrorOccurred's callbacks. It fails with the error of the
// attempt if there was no connection but an attempt that failed, and with OperationError if there is no connection else.
//
// Qt: QLocalSocket::waitForReadyRead
func (s *Socket) WaitForReadyRead(timeout time.Duration) error { return s.core.WaitReadyRead(timeout) }

// WaitForBytesWritten sends what WriteBuffered holds, and waits until some of that is sent, for at most timeout; a negative one stands for
// ever, and 0 for a look. It returns nil, too, if bytes were sent in the background since the last were queued. It fails with
// SocketTimeoutError when the time has passed, with PeerClosedError if the connection has ended, which both become the last error; and
// with OperationError if nothing was queued, or the socket is unconnected.
//
// Qt: QLocalSocket::waitForBytesWritten
func (s *Socket) WaitForBytesWritten(timeout time.Duration) error {
	return s.core.WaitBytesWritten(timeout)
}

// WaitForDisconnected waits until the connection has ended, for at most timeout; a negative one stands for ever, and 0 for a look. What
// arrives meanwhile is buffered, and can be read afterwards; SetReadBufferSize bounds that, and a peer who has sent more than that has
// not ended the connection before the rest is read. It fails with SocketTimeoutError when the time has passed, which becomes the last
// error; with the error of the attempt, if it is connecting and that fails; and, if the socket is unconnected, with what WaitForReadyRead
// says of that: PeerClosedError after the peer's end, else OperationError.
//
// Qt: QLocalSocket::waitForDisconnected
func (s *Socket) WaitForDisconnected(timeout time.Duration) error {
	return s.core.WaitDisconnected(timeout)
}

// BytesAvailable returns how many bytes ReadAvailable would find: those that have arrived, but at most ReadBufferSize of them. It buffers
// them, so that the peer can go on sending to who waits for more than the system's own buffer holds. It does not meet the peer's end, which a
// callback, a wait, and whatever reads do.
//
// Qt: QLocalSocket::bytesAvailable
func (s *Socket) BytesAvailable() int64 { return s.core.BytesAvailable() }

// BytesToWrite returns how many of the bytes that WriteBuffered was given were not sent yet.
//
// Qt: QLocalSocket::bytesToWrite
func (s *Socket) BytesToWrite() int64 { return s.core.BytesToWrite() }

// CanReadLine reports whether a whole line, with its newline, has arrived.
//
// Qt: QLocalSocket::canReadLine
func (s *Socket) CanReadLine() bool { return s.core.CanReadLine() }

// Flush sends as much as it can, without waiting, of what WriteBuffered holds, and reports whether that was anything.
//
// Qt: QLocalSocket::flush
func (s *Socket) Flush() bool { return s.core.Flush() }

// ReadBufferSize returns the limit that SetReadBufferSize set.
//
// Qt: QLocalSocket::readBufferSize
func (s *Socket) ReadBufferSize() int64 { return s.core.ReadBufferSize() }

// SetReadBufferSize sets how many bytes may be unread before the peer has to wait; 0, the default, is no limit but the system's. It bounds
// BytesAvailable, what is buffered, and what one signal or wait tells of. The connection ends only when what follows has been read.
//
// Qt: QLocalSocket::setReadBufferSize
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
// opened ReadOnly, and with PeerClosedError if the peer has ended the connection.
//
// Qt: QIODevice::write
func (s *Socket) WriteBuffered(p []byte) (int, error) { return s.core.WriteBuffered(p) }

// SetSocketDescriptor makes the socket use a connection that exists: a connected Unix-domain stream socket. St must be ConnectedState; mode 0
// stands for ReadWrite. The socket owns d once this returned nil; after an error d is still the caller's, and the socket is as it was. The
// names are those of the address that one of the two ends has.
//
// It fails with UnsupportedSocketOperationError if d is not valid, lent, closed, or no connected Unix-domain stream socket, and with
// OperationError unless the socket is unconnected, and if d is of another Socket (sock.FromConn) that holds bytes: buffered ones that were
// not read, or not sent.
//
// Qt: QLocalSocket::setSocketDescriptor
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
	t, end, copied, err := take(d)
	if err != nil {
		return &sock.Error{Op: op, Net: network, Code: sock.CodeOf(err), Err: err}
	}
	if copied {
		return s.core.AdoptCopy(op, end, t, mode, d)
	}
	return s.core.Adopt(op, end, t, mode)
}

// SocketDescriptor lends the connection's descriptor. It is not valid if there is no connection.
//
// Qt: QLocalSocket::socketDescriptor
func (s *Socket) SocketDescriptor() sock.Descriptor { return s.core.SocketDescriptor() }

// OnConnected registers f to be called when a connection that ConnectToServer has begun is made. The function that it returns ends that.
//
// Qt: QLocalSocket::connected
func (s *Socket) OnConnected(f func()) (stop func()) { return s.core.OnConnected(f) }

// OnDisconnected registers f to be called when a connection has ended, whoever ended it; then the state is Unconnected, and it is the last
// that is told of that connection. It is not called for an attempt that failed. If the peer has ended the connection already, and no
// callback was told, f is called at once. The function that it returns ends that.
//
// Qt: QLocalSocket::disconnected
func (s *Socket) OnDisconnected(f func()) (stop func()) { return s.core.OnDisconnected(f) }

// OnReadyRead registers f to be called once for each time that new bytes have arrived, and at once if bytes are unread. If callbacks have read
// a part of what there is, it is called for the rest, too; if they have read nothing, when more arrives. It may find that somebody else
// has read the bytes. The function that it returns ends that.
//
// Qt: QIODevice::readyRead
func (s *Socket) OnReadyRead(f func()) (stop func()) { return s.core.OnReadyRead(f) }

// OnStateChanged registers f to be told of each new state. The function that it returns ends that.
//
// Qt: QLocalSocket::stateChanged
func (s *Socket) OnStateChanged(f func(sock.State)) (stop func()) { return s.core.OnStateChanged(f) }

// OnErrorOccurred registers f to be told of each error, before the state changes because of it; if another callback was running just then,
// in another goroutine, or if a loop has had to get to it first, the state may have moved on by now. Waits that timed out count.
// The function that it returns ends that.
//
// Qt: QLocalSocket::errorOccurred
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
// deadline, and with PeerClosedError when the peer reads no more; the count says how much was sent.
func (s *Socket) Write(p []byte) (int, error) { return s.core.Write(p) }

// CloseRead ends reading: what arrives from now on is refused. The connection stays, for writing, until the peer closes it. A pipe ends in both directions at once: on Windows it fails with
// UnsupportedSocketOperationError.
func (s *Socket) CloseRead() error { return s.core.CloseRead() }

// CloseWrite ends writing, after what WriteBuffered holds: the peer reads the end, and can go on writing. On Windows it fails, as
// CloseRead does.
func (s *Socket) CloseWrite() error { return s.core.CloseWrite() }

// LocalAddr returns the address of this end, a *net.UnixAddr or on Windows a PipeAddr, also after the connection has ended. It has no name unless it was bound: a
// socket that a server has accepted has the server's.
func (s *Socket) LocalAddr() net.Addr { return s.address(false) }

// RemoteAddr returns the address of the peer, a *net.UnixAddr or on Windows a PipeAddr, also after the connection has ended. It has no name unless it was bound: a
// client's is the server's.
func (s *Socket) RemoteAddr() net.Addr { return s.address(true) }

func (s *Socket) address(peer bool) net.Addr {
	end := s.endpoint()
	if end != nil && end.accepted != peer {
		return end.addr
	}
	unnamed := newAddr("")
	s.core.Control("address", func(fd uintptr) error {
		if a, err := addressOf(fd, peer); err == nil {
			unnamed = a
		}
		return nil
	})
	return unnamed
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
