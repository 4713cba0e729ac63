package core

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// A Device is a connection that tells when something is done, and not when something can be done, as Windows does. Its calls are made one at
// a time, and none waits.
type Device interface {
	// Recv reads what has arrived: 0 and nil if nothing has, io.EOF at the end.
	Recv(p []byte) (int, error)
	// Arm has ready called, in another goroutine, once Recv may find something: bytes, the end, an error. If that is so already, it
	// returns true instead. It is not called again before that.
	Arm(ready func()) (now bool, err error)
	// Send starts to send p. If that takes time, it returns pending, p is the device's meanwhile, and done is called later, in another
	// goroutine. It is not called again before that.
	Send(p []byte, done func(n int, err error)) (n int, pending bool, err error)
	CloseRead() error
	CloseWrite() error
	// Close ends what is under way. What was sent is not lost.
	Close() error
	Fd() uintptr
}

// maxHeld is how many bytes a completionTransport holds that have arrived and that nobody has read; chunkSize is how many it moves at a time.
const (
	maxHeld   = 64 << 10
	chunkSize = 16 << 10
)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// A completionTransport is the Transport of a Device.
//
// Receiving: its waits are told of each arrival once, as a poller of edges tells. For that, what has arrived and is not wanted yet moves to
// held, and the device is armed for what comes after; when held is full, the peer has to wait. A plain Read takes bytes from the device
// itself.
//
// Sending: bytes count as sent when the device is done with them. Until then Write returns ErrAgain, and must come back with the same bytes,
// unless they are pledged.
type completionTransport struct {
	in, out *Waker

	mu     sync.Mutex
	dev    Device
	closed bool
	gone   bool // the device is closed, too
	users  int  // of its handle, without mu: it is closed when they are done

	held   buffer
	end    error  // why nothing comes after held
	ending bool   // the end is there, and waits for what is being sent
	news   uint64 // counts what was found at the device
	armed  bool

	chunk   *[chunkSize]byte // being sent
	size    int              // of that
	sending bool
	pledged bool  // it was counted
	kept    bool  // and Close waits for it
	sentNow int   // how much was sent and not counted yet
	failed  error // why no more can be sent
}

// NewCompletionTransport returns the transport of a connection, which it owns.
func NewCompletionTransport(dev Device) Transport {
	return &completionTransport{in: NewWaker(), out: NewWaker(), dev: dev}
}

// recv asks the device, and notes the end. mu held.
func (t *completionTransport) recv(p []byte) (int, error) {
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case t.end != nil:
		return 0, t.end
	}
	n, err := t.dev.Recv(p)
	if n > 0 {
		return n, nil
	}
	if err != nil && t.sending && t.Whole() != nil {
		// That ends at once, too. The peer may have read it all: whoever sent it is to know that before the end.
		t.ending = true
		return 0, ErrAgain
	}
	if err != nil {
		t.end = err
		t.news++
		return 0, err
	}
	return 0, ErrAgain
}

// hold moves what has arrived to held, as much as there is room for. mu held.
func (t *completionTransport) hold() {
	if t.closed || t.end != nil {
		return
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	for t.held.len() < maxHeld {
		n, err := t.recv(chunk[:min(chunkSize, maxHeld-t.held.len())])
		if err != nil {
			return
		}
		t.held.write(chunk[:n])
		t.news++
	}
}

// Read implements Transport.
func (t *completionTransport) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, net.ErrClosed
	}
	if t.held.len() == 0 {
		return t.recv(p)
	}
	if t.held.len() == maxHeld {
		t.in.Tell() // there is room again
	}
	n := copy(p, t.held.bytes())
	t.held.skip(n)
	return n, nil
}

// Query implements Transport.
func (t *completionTransport) Query() (unread int, ended bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, false, net.ErrClosed
	}
	seen := t.news
	if t.hold(); t.news != seen {
		t.in.Tell() // who waits might not hear of it from the device any more
	}
	if unread = t.held.len(); unread == 0 && t.end != io.EOF {
		err = t.end
	}
	return unread, t.end != nil, err
}

// Write implements Transport.
func (t *completionTransport) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case t.sending:
		return 0, ErrAgain
	case t.sentNow > 0:
		n := t.sentNow
		t.sentNow = 0
		return n, nil
	case t.failed != nil:
		return 0, t.failed
	case len(p) == 0:
		return 0, nil
	}
	t.chunk = chunks.Get().(*[chunkSize]byte)
	t.size = copy(t.chunk[:], p)
	n, pending, err := t.dev.Send(t.chunk[:t.size], t.sent)
	if pending {
		t.sending, t.pledged, t.kept = true, false, false
		return 0, ErrAgain
	}
	t.release()
	return n, err
}

// Pledge implements pledger: the bytes are not to be written again.
func (t *completionTransport) Pledge(keep bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sending && !t.pledged {
		if t.pledged, t.kept = true, keep; keep {
			return t.size
		}
	}
	n := t.sentNow
	t.sentNow = 0
	return n
}

// Recant implements pledger.
func (t *completionTransport) Recant() {
	t.mu.Lock()
	t.kept = false
	t.mu.Unlock()
}

// sent is told when the device is done with the chunk.
func (t *completionTransport) sent(n int, err error) {
	t.mu.Lock()
	t.sending, t.failed = false, err
	if !t.pledged {
		t.sentNow = n
	}
	t.release()
	ending := t.ending
	if t.closed {
		t.closeUnused()
	}
	t.mu.Unlock()
	t.out.Tell()
	if ending {
		t.in.Tell()
	}
}

// release gives the chunk back. mu held.
func (t *completionTransport) release() {
	chunks.Put(t.chunk)
	t.chunk = nil
}

// arm has the device tell of what comes, unless it has news for whoever has seen seen. It reports whether there are none. mu held.
func (t *completionTransport) arm(seen uint64) bool {
	for {
		t.hold()
		if t.news != seen {
			return false
		}
		if t.closed || t.armed || t.ending && t.sending || t.end != nil || t.held.len() == maxHeld {
			return true
		}
		now, err := t.dev.Arm(t.ready)
		switch {
		case err != nil:
			t.end = err
			t.news++
		case !now:
			t.armed = true
		}
	}
}

// ready is told by the device when there may be something.
func (t *completionTransport) ready() {
	t.mu.Lock()
	t.armed = false
	t.mu.Unlock()
	t.in.Tell()
}

// Pollers implements Transport.
func (t *completionTransport) Pollers() (Poller, Poller) { return (*completionReader)(t), t.out }

// A completionReader is where one waits for bytes.
type completionReader completionTransport

func (r *completionReader) Wait(ready func(uintptr) bool) error {
	t := (*completionTransport)(r)
	return t.in.Wait(func(fd uintptr) bool {
		for {
			t.mu.Lock()
			seen := t.news
			t.mu.Unlock()
			if ready(fd) {
				return true
			}
			t.mu.Lock()
			quiet := t.arm(seen)
			t.mu.Unlock()
			if quiet {
				return false
			}
		}
	})
}

func (r *completionReader) SetLimit(limit time.Time) error { return r.in.SetLimit(limit) }

// Whole implements wholeTransport.
func (t *completionTransport) Whole() error {
	if w, ok := t.dev.(wholeTransport); ok {
		return w.Whole()
	}
	return nil
}

// CloseRead implements Transport.
func (t *completionTransport) CloseRead() error { return t.control(Device.CloseRead) }

// CloseWrite implements Transport.
func (t *completionTransport) CloseWrite() error { return t.control(Device.CloseWrite) }

func (t *completionTransport) control(f func(Device) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return net.ErrClosed
	}
	return f(t.dev)
}

// Close implements Transport.
func (t *completionTransport) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return net.ErrClosed
	}
	t.closed = true
	t.in.Shut()
	t.out.Shut()
	t.held.reset()
	return t.closeUnused()
}

// closeUnused closes the device, unless it is still needed; then whoever needs it calls this again. mu held.
func (t *completionTransport) closeUnused() error {
	if t.users > 0 || t.sending && t.kept || t.gone {
		return nil
	}
	t.gone = true
	return t.dev.Close()
}

// Fd implements Transport.
func (t *completionTransport) Fd() uintptr { return t.dev.Fd() }

// SyscallConn implements Transport.
func (t *completionTransport) SyscallConn() (syscall.RawConn, error) { return (*completionRaw)(t), nil }

// A completionRaw is the syscall.RawConn of a completionTransport.
type completionRaw completionTransport

// Control implements syscall.RawConn.
func (r *completionRaw) Control(f func(fd uintptr)) error {
	t := (*completionTransport)(r)
	if err := t.control(func(Device) error { t.users++; return nil }); err != nil {
		return err
	}
	defer func() { // also if f panics
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.users--; t.closed {
			t.closeUnused()
		}
	}()
	f(t.dev.Fd()) // without mu: it may call the socket, whose calls come here with the socket's
	return nil
}

// Read implements syscall.RawConn.
func (r *completionRaw) Read(f func(fd uintptr) bool) error {
	return (*completionReader)(r).Wait(func(uintptr) bool { return f(r.dev.Fd()) })
}

// Write implements syscall.RawConn.
func (r *completionRaw) Write(f func(fd uintptr) bool) error {
	return r.out.Wait(func(uintptr) bool { return f(r.dev.Fd()) })
}
