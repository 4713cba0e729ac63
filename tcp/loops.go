package tcp

import (
	"unsafe"

	"anteroom/internal/core"
	"anteroom/loop"
	"anteroom/sock"
)

// A Handler is what all of a server's sockets do that live on its loops: one value for all of them, where callbacks would be some for each.
// A function that is nil is not called. They run as callbacks do: on the socket's loop, after the socket's own callbacks of the same signal.
type Handler struct {
	ReadyRead     func(*Socket)                   // as OnReadyRead's
	Disconnected  func(*Socket)                   // as OnDisconnected's
	BytesWritten  func(*Socket, int64)            // as OnBytesWritten's
	ErrorOccurred func(*Socket, sock.SocketError) // as OnErrorOccurred's
}

// core returns the handler as the core calls it.
func (h Handler) core() *core.Handler {
	return core.HandlerOf(h.ReadyRead, h.Disconnected, h.BytesWritten, h.ErrorOccurred)
}

// HandlerOf takes it for granted that a socket begins with its core.
var _ [0]struct{} = [unsafe.Offsetof(Socket{}.core)]struct{}{}

// SetLoops has the server work on the loops of a group: one of them accepts, and runs the server's callbacks, and the sockets that
// NextPendingConnection returns live on all of them in turn: they have no goroutine, and their callbacks run on their loop and nowhere
// else. Accept, AcceptContext and Connections return sockets that live on none. Nil, the default, is no loop. It counts from the next
// Listen, which fails with UnsupportedSocketOperationError where loops take no descriptors. The group is the caller's, who runs it.
//
// Blocking calls and waits, too, may be used with loops, in any goroutine: on a loop's own, which then stands still, and while no loop runs,
// they look at the descriptor themselves.
func (s *Server) SetLoops(g *loop.Group) { s.c().SetLoops(g) }

// SetHandler sets what the sockets do that NextPendingConnection brings to the server's loops. It counts from the next Listen, and means
// nothing without SetLoops.
func (s *Server) SetHandler(h Handler) { s.c().SetHandler(h.core()) }

// SetLoop has the socket live on a loop from its next connection on: it has no goroutine, and its callbacks run on that loop and nowhere
// else; those of something that another goroutine has brought about run when the loop gets to it. Nil, the default, is no loop. It fails with
// OperationError unless the socket is unconnected; connecting fails with UnsupportedSocketOperationError where loops take no descriptors.
//
// What WriteBuffered is given in a callback of the socket's own is sent in one piece when the callback has returned, what it is given
// elsewhere when the loop gets to it. OnReadyRead's callbacks are called at each edge, and again if they have read all that their buffer
// had room for, or a part of what is buffered.
//
// Qt: QObject::moveToThread
func (s *Socket) SetLoop(l *loop.Loop) error {
	if l == nil {
		return s.core.SetHome("set loop", nil)
	}
	return s.core.SetHome("set loop", core.NewHome(l, false, nil))
}
