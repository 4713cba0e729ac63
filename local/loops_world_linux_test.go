package local_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// A stream is one direction of a connection, byte n of which is pattern(salt, n). What one end counts the other one checks.
type stream struct {
	salt    uint64
	sent    atomic.Int64 // what the sender's calls have taken; set before the receiver can have it
	done    atomic.Bool  // the sender has ended in good order: all of sent will come, unless the receiver ends first
	dropped atomic.Bool  // the receiver has ended it
	got     int64        // what has come; guarded by the receiver's mutex
}

// check checks bytes that have come, or were skipped if b is nil.
func (s *stream) check(t *testing.T, who, call string, n int64, b []byte) {
	for i := range b {
		if want := pattern(s.salt, s.got+int64(i)); b[i] != want {
			t.Errorf("%s: %s: byte %d is %d, want %d", who, call, s.got+int64(i), b[i], want)
			break
		}
	}
	if s.got += n; s.got > s.sent.Load() {
		t.Errorf("%s: %s: %d bytes came of %d", who, call, s.got, s.sent.Load())
	}
}

// A link is what both ends of a connection know.
type link struct {
	up, down stream // to the server, from the server
	kind     byte   // whether the server may end it
}

// A loopWorld is what all programs share.
type loopWorld struct {
	t           *testing.T
	g           *loop.Group
	loops       []*loop.Loop
	links       sync.Map // by number, to *link
	numbers     atomic.Uint64
	sides       sync.Map // *local.Socket to *loopSide, of all servers' sockets that there have been
	alive       sync.Map // those of them that have not ended
	live        atomic.Int64
	connections atomic.Int64
}

// headerSize is that of what a client sends first: the link's number.
const headerSize = 8

// An end is a socket, its mutexes, and how it reads and writes in random ways.
type end struct {
	t    *testing.T
	id   string
	c    *local.Socket
	l    atomic.Pointer[loop.Loop] // where its callbacks run; nil: nobody knows
	rmu  sync.Mutex                // held while the socket reads and what it has read is checked
	in   *stream
	wmu  sync.Mutex // held while the socket writes and that is counted
	out  *stream
	over bool // nothing is to be written any more
}

// onLoop fails the test unless this is the socket's loop.
func (e *end) onLoop(what string) {
	if l := e.l.Load(); l != nil && !l.OnLoop() {
		e.t.Errorf("%s: %s is told on another goroutine than the loop's", e.id, what)
	}
}

// read reads in a random way, at most some thousand bytes, but one if there is one, and checks that. rmu held.
func (e *end) read(rng *rand.Rand) {
	buf := make([]byte, 1+rng.IntN(1+rng.IntN(4000)))
	switch rng.IntN(8) {
	case 0:
		line, _ := e.c.ReadLine(len(buf))
		e.got("ReadLine", int64(len(line)), line)
		return
	case 1:
		n, _ := e.c.Skip(int64(len(buf)))
		e.got("Skip", n, nil)
		return
	case 2:
		b, _ := e.c.Peek(len(buf))
		e.got("Peek", 0, b)
	case 3:
		e.c.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(1000)) * time.Microsecond))
		if n, _ := e.c.Read(buf); n > 0 {
			e.got("Read", int64(n), buf[:n])
			return
		}
	case 4:
		e.c.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(1000)) * time.Microsecond))
		n, ds, _ := e.c.ReceiveDescriptors(buf)
		for _, d := range ds {
			wantPipe(e.t, d)
		}
		if n > 0 {
			e.got("ReceiveDescriptors", int64(n), buf[:n])
			return
		}
		// The time has passed, or something is buffered.
	case 5:
		e.c.CanReadLine()
		e.c.BytesAvailable()
	case 6:
		e.c.SetReadBufferSize(int64(rng.IntN(3) * rng.IntN(5000)))
	}
	m, _ := e.c.ReadAvailable(buf)
	e.got("ReadAvailable", int64(m), buf[:m])
}

func (e *end) got(call string, n int64, b []byte) { e.in.check(e.t, e.id, call, n, b) }

// wantPipe fails the test unless d is what send has passed. It closes it.
func wantPipe(t *testing.T, d sock.Descriptor) {
	defer d.Close()
	b := make([]byte, 100)
	fd, _ := d.Fd()
	if n, err := unix.Read(int(fd), b); string(b[:max(n, 0)]) != "pipe 0" {
		t.Errorf("a descriptor that was passed gives %q, %v", b[:max(n, 0)], err)
	}
}

// send writes the next n bytes in a random way. wmu held.
func (e *end) send(rng *rand.Rand, n int) {
	if n == 0 || e.over {
		return
	}
	b := make([]byte, n)
	sent := e.out.sent.Load()
	for i := range b {
		b[i] = pattern(e.out.salt, sent+int64(i))
	}
	e.out.sent.Add(int64(n)) // the peer may have it before the call returns
	took := 0
	defer func() { e.out.sent.Add(int64(took - n)) }()
	switch rng.IntN(6) {
	case 0:
		e.c.SetWriteDeadline(time.Now().Add(time.Duration(rng.IntN(2000)) * time.Microsecond))
		took, _ = e.c.Write(b)
	case 1:
		ds, _ := pipes(e.t, 1)
		e.c.SetWriteDeadline(time.Now().Add(time.Duration(rng.IntN(2000)) * time.Microsecond))
		if err := e.c.SendDescriptors(b, ds...); err != nil {
			// How much was sent nobody knows: the connection is of no use any more.
			ds[0].Close()
			e.abort()
			took = n
			return
		}
		took = n
	default:
		for len(b) > 0 { // in pieces, which are to go together
			k := 1 + rng.IntN(len(b))
			m, err := e.c.WriteBuffered(b[:k])
			took += m
			if err != nil {
				return
			}
			b = b[k:]
		}
		if rng.IntN(4) == 0 {
			e.c.Flush()
		}
	}
}

// abort ends the connection at once. wmu held.
func (e *end) abort() {
	e.out.done.Store(false)
	e.in.dropped.Store(true)
	e.over = true
	e.c.Abort()
}

// finish ends the connection in a random way, good order or not.
func (e *end) finish(rng *rand.Rand) {
	e.wmu.Lock()
	defer e.wmu.Unlock()
	if e.over {
		return
	}
	if rng.IntN(3) == 0 {
		e.abort()
		return
	}
	e.c.SetWriteDeadline(time.Time{})
	e.in.dropped.Store(true)
	e.over = true
	if e.c.State() == sock.ConnectedState {
		e.out.done.Store(true)
	}
	if rng.IntN(2) == 0 {
		e.c.Close()
	} else {
		e.c.DisconnectFromServer()
	}
}

// ended checks, when the connection has, that all has come that had to. Nobody reads at the same time.
func (e *end) ended(rng *rand.Rand) {
	e.rmu.Lock()
	defer e.rmu.Unlock()
	if e.in == nil {
		return
	}
	for {
		buf := make([]byte, 1+rng.IntN(5000))
		n, err := e.c.ReadAvailable(buf)
		e.got("ReadAvailable after the end", int64(n), buf[:n])
		if n == 0 || err != nil {
			break
		}
	}
	if e.in.done.Load() && !e.in.dropped.Load() && e.in.got != e.in.sent.Load() {
		e.t.Errorf("%s: %d bytes have come of %d", e.id, e.in.got, e.in.sent.Load())
	}
}

// A loopSide is a server's end.
type loopSide struct {
	end
	w      *loopWorld
	rng    *rand.Rand // guarded by rmu
	header []byte
	link   *link
	ends   atomic.Int64
}

// side returns what belongs to a server's socket.
func (w *loopWorld) side(c *local.Socket) *loopSide {
	v, ok := w.sides.Load(c)
	if !ok {
		s := &loopSide{w: w, rng: rand.New(rand.NewPCG(rand.Uint64(), 0))}
		s.t, s.c, s.id = w.t, c, "a server's socket"
		if v, ok = w.sides.LoadOrStore(c, s); !ok {
			w.alive.Store(c, s)
			w.live.Add(1)
			w.connections.Add(1)
		}
	}
	return v.(*loopSide)
}

// readyRead reads, and answers.
func (s *loopSide) readyRead() {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if s.in == nil {
		b := make([]byte, headerSize-len(s.header))
		n, _ := s.c.ReadAvailable(b)
		if s.header = append(s.header, b[:n]...); len(s.header) < headerSize {
			return
		}
		v, ok := s.w.links.Load(binary.BigEndian.Uint64(s.header))
		if !ok {
			s.t.Errorf("a header that nobody has sent: %x", s.header)
			s.c.Abort()
			return
		}
		s.link = v.(*link)
		s.wmu.Lock()
		s.in, s.out = &s.link.up, &s.link.down
		s.wmu.Unlock()
		s.id = fmt.Sprintf("the server's end of link %x", s.header)
	}
	s.read(s.rng)
	s.answer()
	if s.link.kind == 0 && s.rng.IntN(50) == 0 {
		go s.finish(rand.New(rand.NewPCG(s.rng.Uint64(), 0)))
	}
}

// answer writes as many bytes as have come. rmu held.
func (s *loopSide) answer() {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.over {
		return
	}
	owed := int(s.in.got - s.out.sent.Load())
	if s.link.kind == 0 {
		s.send(s.rng, owed)
		return
	}
	defer s.c.SetWriteDeadline(time.Time{}) // or what is buffered waits for somebody who sends it
	for owed > 0 {                          // not in a way that may end it
		b := make([]byte, 1+s.rng.IntN(owed))
		sent := s.out.sent.Load()
		for i := range b {
			b[i] = pattern(s.out.salt, sent+int64(i))
		}
		s.out.sent.Add(int64(len(b)))
		if s.rng.IntN(4) == 0 {
			s.c.SetWriteDeadline(time.Now().Add(time.Duration(s.rng.IntN(2000)) * time.Microsecond))
			n, _ := s.c.Write(b)
			s.out.sent.Add(int64(n - len(b)))
			b = b[:n]
			if n == 0 {
				s.c.SetWriteDeadline(time.Time{})
			}
		} else if n, err := s.c.WriteBuffered(b); err != nil {
			s.out.sent.Add(int64(n - len(b)))
			return
		}
		if s.c.State() != sock.ConnectedState {
			return
		}
		owed -= len(b)
	}
}

func (s *loopSide) disconnected() {
	if s.ends.Add(1) == 1 {
		s.ended(rand.New(rand.NewPCG(rand.Uint64(), 0)))
		s.w.alive.Delete(s.c)
		s.w.live.Add(-1)
	}
}

func (w *loopWorld) serveByCallbacks(srv *local.Server) {
	srv.OnNewConnection(func() {
		c := srv.NextPendingConnection()
		if c == nil {
			return
		}
		s := w.side(c)
		c.OnReadyRead(func() { s.findLoop(w.loops); s.onLoop("readyRead"); s.readyRead() })
		c.OnBytesWritten(func(n int64) {
			if s.findLoop(w.loops); n <= 0 {
				w.t.Errorf("%s: bytesWritten %d", s.id, n)
			}
		})
		c.OnDisconnected(func() { s.findLoop(w.loops); s.onLoop("disconnected"); s.disconnected() })
	})
	listenWith(w.t, srv)
}

// findLoop notes the first loop that tells of something: all that follows must be told there.
func (e *end) findLoop(loops []*loop.Loop) {
	if e.l.Load() != nil {
		return
	}
	for _, l := range loops {
		if l.OnLoop() {
			e.l.CompareAndSwap(nil, l)
			return
		}
	}
	e.t.Errorf("%s: a callback is told on none of the loops", e.id)
}

func (w *loopWorld) serveByHandler(srv *local.Server) {
	srv.SetHandler(local.Handler{
		ReadyRead:    func(c *local.Socket) { s := w.side(c); s.findLoop(w.loops); s.onLoop("readyRead"); s.readyRead() },
		Disconnected: func(c *local.Socket) { s := w.side(c); s.findLoop(w.loops); s.onLoop("disconnected"); s.disconnected() },
	})
	srv.OnNewConnection(func() {
		if c := srv.NextPendingConnection(); c != nil {
			w.side(c)
		}
	})
	listenWith(w.t, srv)
}

// serveByGoroutines has sockets that live on no loop, so that their peers' loops meet a plain end.
func (w *loopWorld) serveByGoroutines(srv *local.Server) {
	listenWith(w.t, srv)
	go func() {
		for c, err := range srv.Connections(context.Background()) {
			if err != nil {
				return
			}
			s := w.side(c)
			go func() {
				for c.State() == sock.ConnectedState {
					for c.BytesAvailable() > 0 && c.State() == sock.ConnectedState {
						s.readyRead()
					}
					c.WaitForReadyRead(5 * time.Millisecond) // another one may be told in its place
				}
				c.WaitForDisconnected(sock.Forever)
				s.disconnected()
			}()
		}
	}()
}

// meddle uses servers' sockets from a goroutine that is nobody's.
func (w *loopWorld) meddle(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		w.alive.Range(func(_, v any) bool {
			s := v.(*loopSide)
			if s.ends.Load() > 0 || rng.IntN(10) > 0 {
				return true
			}
			short := time.Duration(rng.IntN(500)) * time.Microsecond
			switch rng.IntN(7) {
			case 0:
				s.c.Flush()
			case 1:
				s.c.BytesToWrite()
				s.c.BytesAvailable()
			case 2:
				s.c.WaitForReadyRead(short)
			case 3:
				s.c.WaitForBytesWritten(short)
			case 4:
				s.c.WaitForDisconnected(short)
			case 5:
				s.c.SetReadBufferSize(int64(rng.IntN(3) * rng.IntN(5000)))
			case 6:
				s.rmu.Lock()
				if s.in != nil {
					s.read(rng)
					s.answer()
				}
				s.rmu.Unlock()
			}
			return ctx.Err() == nil
		})
		time.Sleep(time.Millisecond)
	}
}

// describe says how the server's end of a connection stands whose answers do not come.
func (w *loopWorld) describe(up *stream) {
	w.alive.Range(func(_, v any) bool {
		s := v.(*loopSide)
		reads, writes := !s.rmu.TryLock(), !s.wmu.TryLock()
		if !reads {
			defer s.rmu.Unlock()
		}
		if !writes {
			defer s.wmu.Unlock()
		}
		if s.link == nil || &s.link.up != up {
			return true
		}
		raw, err := s.c.SyscallConn()
		unread, unsent := -1, -1
		if err == nil {
			raw.Control(func(fd uintptr) {
				unread, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
				unsent, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
			})
		}
		w.t.Errorf("%s, on a loop: %v: in %v, somebody reads: %v, writes: %v; it has %d of %d bytes and has answered %d; the system has %d unread and %d unsent, the socket %d unsent and room for %d unread; told %d times of its end, over: %v",
			s.id, s.l.Load() != nil, s.c.State(), reads, writes, s.in.got, s.in.sent.Load(), s.out.sent.Load(), unread, unsent, s.c.BytesToWrite(), s.c.ReadBufferSize(), s.ends.Load(), s.over)
		w.t.Errorf("then it has %d unread", s.c.BytesAvailable())
		return false
	})
}
