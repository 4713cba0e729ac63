package core

import "anteroom/sock"

// on registers a callback, and returns the function that ends it.
func (s *Socket) on(sig signal, call func(*event)) func() {
	s.mu.Lock()
	if s.cb == nil {
		s.cb = new(dispatcher)
	}
	cb := s.cb.add(sig, call)
	switch {
	case sig == sigReadyRead && s.mode != sock.WriteOnly:
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
	s.watch()
	s.unlock()
	return func() {
		s.mu.Lock()
		s.cb.remove(cb)
		if !s.cb.any() && s.flow != nil {
			s.flow.in.poke() // the watcher goes
		}
		s.mu.Unlock()
	}
}

// OnConnected registers f.
func (s *Socket) OnConnected(f func()) func() { return s.on(sigConnected, func(*event) { f() }) }

// OnDisconnected registers f.
func (s *Socket) OnDisconnected(f func()) func() { return s.on(sigDisconnected, func(*event) { f() }) }

// OnReadyRead registers f.
func (s *Socket) OnReadyRead(f func()) func() { return s.on(sigReadyRead, func(*event) { f() }) }

// OnStateChanged registers f.
func (s *Socket) OnStateChanged(f func(sock.State)) func() {
	return s.on(sigStateChanged, func(ev *event) { f(sock.State(ev.arg)) })
}

// OnErrorOccurred registers f.
func (s *Socket) OnErrorOccurred(f func(sock.SocketError)) func() {
	return s.on(sigErrorOccurred, func(ev *event) { f(sock.SocketError(ev.arg)) })
}

// OnBytesWritten registers f.
func (s *Socket) OnBytesWritten(f func(n int64)) func() {
	return s.on(sigBytesWritten, func(ev *event) { f(ev.arg) })
}
