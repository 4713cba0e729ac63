package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"anteroom/sock"
)

// A failed binding is tried again after firstDelay, which doubles up to maxDelay, for as long as retryFor.
const (
	firstDelay = 5 * time.Millisecond
	maxDelay   = time.Second
)

var retryFor = sock.DefaultWait // shorter in tests

// A Listener listens at a SOCKS5 proxy, by RFC 1928's BIND: whoever connects to Addr, an address of the proxy's, comes out of Accept. Its
// methods may be called from any goroutine.
//
// A BIND is good for one peer. The first waits in the binding until Accept is called for the first time. From then on, as soon as one has come,
// the Listener binds anew, and asks for the port that it had first; if the proxy refuses that, it asks for any. The proxy may also give another
// port than the one that was asked for (dante does, while a connection that came to that one is open). So Addr may change with each peer, and
// what a single server sees as a queue has gaps here: a peer that comes after another one and before the new binding is refused by the proxy,
// and so is one that comes while two have come and nobody has accepted the first (one connection waits for Accept, another one in the binding,
// and no third is asked for).
//
// Binding anew that fails because the proxy cannot be reached, does not answer or ends the connection is tried again, after 5 ms, doubling to
// a second, for sock.DefaultWait; then Accept fails for good. If the proxy says that it must not or cannot be, or talks nonsense, Accept fails
// at once. A binding that the proxy ends (it may have a limit of time) is followed by a new one. A proxy that has died without a word is noticed
// by TCP's keep-alive, within minutes.
type Listener struct {
	proxy  Proxy
	asked  endpoint // what is asked for: Listen's address, then with the port of the first binding
	closed context.Context
	close  context.CancelFunc
	first  *net.TCPConn  // the control connection of the first binding, for the goroutine to take over
	begin  sync.Once     // starts the goroutine, unless Close comes first
	conns  chan *Conn    // holds one that has come and is not accepted
	ended  chan struct{} // closed when the goroutine has ended, or there will be none
	err    error         // why it ended

	mu   sync.Mutex
	addr *net.TCPAddr
	once bool
}

// Listen listens at addr, "host:port", of the proxy. The host is for the proxy to understand, and "" is 0.0.0.0, any; port 0 is for the
// proxy to choose. Many proxies listen on an address and a port of their own choice, whatever they are asked: see Addr. With a SOCKS5 proxy
// the listener is a *Listener, without one, for NoProxy, what net.Listen makes. HTTP proxies cannot listen: that is an error that Is
// sock.UnsupportedSocketOperationError. Loopback addresses are not treated in a special way, as a tcp.Server does.
//
// The end of ctx ends the connecting, the negotiation and the waiting for the first reply, but not the Listener later. If ctx has no deadline
// they may take sock.DefaultWait together.
//
// Qt: QTcpServer::listen with QTcpServer::setProxy
func (p Proxy) Listen(ctx context.Context, addr string) (net.Listener, error) {
	const op = "listen"
	p = p.Resolve()
	if p.Type == NoProxy {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, directError(op, err)
		}
		return l, nil
	}
	to, err := parseEndpoint(ctx, "tcp", addr)
	if err == nil && p.Type == HttpProxy {
		err = &fault{code: sock.UnsupportedSocketOperationError, err: errors.New("HTTP proxies cannot listen")}
	}
	if err != nil {
		return nil, &sock.Error{Op: op, Net: "tcp", Code: sock.CodeOf(err), Err: err}
	}
	if to.name == "" && !to.ip.IsValid() {
		to.ip = netip.IPv4Unspecified()
	}
	l := &Listener{proxy: p, conns: make(chan *Conn, 1), ended: make(chan struct{})}
	ctx, cancel := bounded(ctx)
	defer cancel()
	control, err := l.bind(ctx, to)
	if err != nil {
		return nil, p.newError(ctx, op, to, err)
	}
	l.asked = to
	l.asked.port = uint16(l.addr.Port)
	l.closed, l.close = context.WithCancel(context.Background())
	l.first = control
	return l, nil
}

// Addr returns the address that the proxy listens on now, an *net.TCPAddr: the host and the port that it said, or with its own address
// where it said 0.0.0.0, :: or a name. While the Listener binds anew, and afterwards if it fails or is closed, it is the last one.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// SetRebind sets whether the Listener binds anew when the next peer has come, which it does from the beginning. Without, Accept returns that
// peer's connection, and then fails with an error that Is net.ErrClosed. Before the first Accept it decides for the first peer, even if that
// has come.
func (l *Listener) SetRebind(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once = !on
}

// Accept waits for a peer and returns its connection, a *Conn, from which nothing has been read. It fails if the Listener was closed, then
// with an error that Is net.ErrClosed, or cannot listen any more.
func (l *Listener) Accept() (net.Conn, error) {
	// Not in Listen: who calls SetRebind next must not be too late for a peer that comes at once.
	l.begin.Do(func() {
		go func() {
			l.err = l.run(l.first)
			close(l.ended)
		}()
	})
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
	}
	if l.closed.Err() != nil {
		return nil, l.newError(sock.OperationError, net.ErrClosed)
	}
	select {
	case c := <-l.conns: // came before the end
		return c, nil
	default:
		return nil, l.err
	}
}

// Close ends listening, makes Accept return, and closes the connections that nobody has accepted. When it returns the Listener's goroutine
// has ended. A second Close does nothing.
func (l *Listener) Close() error {
	l.close()
	l.begin.Do(func() {
		l.first.Close()
		close(l.ended)
	})
	<-l.ended
	select {
	case c := <-l.conns:
		c.Close()
	default:
	}
	return nil
}

func (l *Listener) newError(code sock.SocketError, err error) error {
	return &sock.Error{Op: "accept", Net: "tcp", Addr: l.Addr(), Code: code, Err: err}
}

// run waits for peers, the first of them on a binding that there is, and returns why there can be no more.
func (l *Listener) run(control *net.TCPConn) error {
	delay := firstDelay
	for {
		began := time.Now()
		peer, err := l.awaitPeer(control)
		switch {
		case err == nil:
			c := &Conn{conn: control, local: l.Addr(), remote: peer.netAddr()}
			select {
			case l.conns <- c:
			case <-l.closed.Done():
				c.Close()
				return net.ErrClosed
			}
			if l.isOnce() {
				return l.newError(sock.OperationError, fmt.Errorf("the one connection of this binding has come, and SetRebind is off: %w", net.ErrClosed))
			}
			delay = firstDelay
		case final(err) && !isReply(err): // a reply that says no is about this peer, or this binding
			return l.proxy.newError(l.closed, "accept", l.asked, err)
		default:
			// A proxy that grants bindings only to end them must not keep this goroutine busy.
			if time.Since(began) >= maxDelay {
				delay = firstDelay
			}
			if !pause(l.closed, delay) {
				return net.ErrClosed
			}
			delay = min(2*delay, maxDelay)
		}
		if control, err = l.bindAnew(); err != nil {
			return err
		}
	}
}

func (l *Listener) isOnce() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.once
}

// awaitPeer reads the second reply. If that fails, it closes the control connection.
func (l *Listener) awaitPeer(control *net.TCPConn) (peer endpoint, err error) {
	err = interruptible(l.closed, control, func() (err error) {
		peer, err = readReply(control)
		return err
	})
	if err != nil {
		control.Close()
	}
	return peer, err
}

// bindAnew makes another binding, and tries again for a while if that fails.
func (l *Listener) bindAnew() (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(l.closed, retryFor)
	defer cancel()
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		asked := l.asked
		control, err := l.bind(ctx, asked)
		if err != nil && isReply(err) {
			asked.port = 0
			control, err = l.bind(ctx, asked)
		}
		if err == nil {
			return control, nil
		}
		failed := l.proxy.newError(ctx, "accept", asked, err)
		if final(err) || !pause(ctx, delay) {
			return nil, failed
		}
	}
}

// bind makes a binding, and returns its control connection.
func (l *Listener) bind(ctx context.Context, to endpoint) (*net.TCPConn, error) {
	control, bound, err := l.proxy.request(ctx, socksBind, to)
	if err != nil {
		return nil, err
	}
	if bound.port == 0 {
		control.Close()
		return nil, protocolFault("the proxy says that it listens on port 0")
	}
	addr := &net.TCPAddr{Port: int(bound.port)}
	if bound.usable() {
		addr.IP = bound.ip.AsSlice()
	} else {
		proxy := control.RemoteAddr().(*net.TCPAddr)
		addr.IP, addr.Zone = proxy.IP, proxy.Zone
	}
	l.mu.Lock()
	l.addr = addr
	l.mu.Unlock()
	return control, nil
}

// pause waits for d, and reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// final reports whether binding would fail in the same way when it is tried again.
func final(err error) bool {
	switch sock.CodeOf(err) {
	case sock.ProxyAuthenticationRequiredError, sock.ProxyProtocolError, sock.SocketAccessError, sock.UnsupportedSocketOperationError:
		return true
	}
	return false
}

// isReply reports whether the proxy said no.
func isReply(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.reply
}
