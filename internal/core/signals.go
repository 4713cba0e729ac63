package core

import (
	"unsafe"

	"anteroom/sock"
)

// post notes an event if anybody is told of it, and reports that. mu held.
func (s *Socket) post(ev event) bool {
	if !s.hears(ev.sig) {
		return false
	}
	s.cb.note(ev)
	return true
}

// hears reports whether anybody is told of sig. mu held.
func (s *Socket) hears(sig signal) bool {
	return s.home != nil && s.home.heard&(1<<sig) != 0 || s.cb.first != nil && s.cb.hears(sig)
}

// listened reports whether anybody is told of anything. mu held.
func (s *Socket) listened() bool { return s.cb.any() || s.home != nil && s.home.all != nil }

// tellAll tells the functions that all sockets of a home have in common.
func (s *Socket) tellAll(sig signal, arg int64) {
	if s.home == nil || s.home.all == nil {
		return
	}
	all := s.home.all
	s.mu.Unlock() // and not locked again if one of them does not return
	switch {
	case sig == sigReadyRead && all.ReadyRead != nil:
		all.ReadyRead(s)
	case sig == sigDisconnected && all.Disconnected != nil:
		all.Disconnected(s)
	case sig == sigBytesWritten && all.BytesWritten != nil:
		all.BytesWritten(s, arg)
	case sig == sigErrorOccurred && all.ErrorOccurred != nil:
		all.ErrorOccurred(s, sock.SocketError(arg))
	}
	s.mu.Lock()
}

// A Handler is what all sockets of a home tell, beside the callbacks of each. Its functions may be nil.
type Handler struct {
	ReadyRead     func(*Socket)
	Disconnected  func(*Socket)
	BytesWritten  func(*Socket, int64)
	ErrorOccurred func(*Socket, sock.SocketError)
}

// HandlerOf returns the handler of functions that take an S, which has a Socket as its first field. So a pointer to the one is a pointer to the
// other, a function of the one can be called with the other, and nothing has to stand between them.
func HandlerOf[S any](readyRead, disconnected func(*S), bytesWritten func(*S, int64), errorOccurred func(*S, sock.SocketError)) *Handler {
	return &Handler{
		ReadyRead:     *(*func(*Socket))(unsafe.Pointer(&readyRead)),
		Disconnected:  *(*func(*Socket))(unsafe.Pointer(&disconnected)),
		BytesWritten:  *(*func(*Socket, int64))(unsafe.Pointer(&bytesWritten)),
		ErrorOccurred: *(*func(*Socket, sock.SocketError))(unsafe.Pointer(&errorOccurred)),
	}
}

// heard returns the signals that h is told of, as a set of bits.
func (h *Handler) heard() (set uint8) {
	if h == nil {
		return 0
	}
	for sig, hears := range map[signal]bool{
		sigReadyRead:     h.ReadyRead != nil,
		sigDisconnected:  h.Disconnected != nil,
		sigBytesWritten:  h.BytesWritten != nil,
		sigErrorOccurred: h.ErrorOccurred != nil,
	} {
		if hears {
			set |= 1 << sig
		}
	}
	return set
}

// A registered is a callback that a socket has been given.
type registered struct {
	s  *Socket
	cb *callback
}

// on registers a callback.
func (s *Socket) on(sig signal, f func()) registered {
	s.mu.Lock()
	first := !s.hears(sig)
	cb := s.cb.add(sig, f)
	switch {
	case sig == sigReadyRead && s.mode != sock.WriteOnly && (s.home == nil || !first || s.flow != nil):
		available := int64(s.flows().rbuf.len())
		if s.t != nil && s.state == sock.ConnectedState {
			available, _ = s.inspect()
		}
		if available > 0 && !s.announce(available) { // the others know of these bytes
			s.cb.post(event{sig: sig, only: cb})
		}
	case sig == sigDisconnected && s.untold:
		s.untold = false
		s.cb.post(event{sig: sig, only: cb})
	}
	s.startWatching()
	s.unlock()
	return registered{s, cb}
}

// end has the callback hear no more.
func (r registered) end() {
	s := r.s
	s.mu.Lock()
	s.cb.remove(r.cb)
	if r.cb.sig == sigReadyRead && s.home != nil && !s.hears(sigReadyRead) {
		s.unheard = true // what it has left, perhaps
	}
	if !s.listened() && s.flow != nil {
		s.flow.in.poke() // the watcher goes
	}
	s.mu.Unlock()
}

// What follows is so small that the compiler puts it where it is called: the function that ends a callback then costs nothing unless it is
// kept.

// OnConnected registers f.
func (s *Socket) OnConnected(f func()) func() { return s.on(sigConnected, f).end }

// OnDisconnected registers f.
func (s *Socket) OnDisconnected(f func()) func() { return s.on(sigDisconnected, f).end }

// OnReadyRead registers f.
func (s *Socket) OnReadyRead(f func()) func() { return s.on(sigReadyRead, f).end }

// OnStateChanged registers f.
func (s *Socket) OnStateChanged(f func(sock.State)) func() {
	return s.on(sigStateChanged, s.cb.withEvent(func(ev *event) { f(sock.State(ev.arg)) })).end
}

// OnErrorOccurred registers f.
func (s *Socket) OnErrorOccurred(f func(sock.SocketError)) func() {
	return s.on(sigErrorOccurred, s.cb.withEvent(func(ev *event) { f(sock.SocketError(ev.arg)) })).end
}

// OnBytesWritten registers f.
func (s *Socket) OnBytesWritten(f func(n int64)) func() {
	return s.on(sigBytesWritten, s.cb.withEvent(func(ev *event) { f(ev.arg) })).end
}
