package local_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// TestLoopRandomProgramsLoseNothing has many sockets on several loops run random programs against servers on the same loops, which answer
// each byte with one of their own. Callbacks, other goroutines and the loops themselves read and write the same sockets; these end in every
// way, are connected again at once, and pass descriptors. No byte may be lost, doubled or seen by another socket, each connection ends once,
// callbacks run on their loop alone, and nothing may hang or be left behind. The long form is
//
//	go test -race ./local -run LoopRandomPrograms -random.for 10m -random.sockets 300
func TestLoopRandomProgramsLoseNothing(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-random.seed %d", seed)
	w := &loopWorld{t: t, g: runLoops(t, 3)}
	for range 3 {
		w.loops = append(w.loops, w.g.Next())
	}
	var names []string
	for i, serve := range []func(*local.Server){w.serveByCallbacks, w.serveByHandler, w.serveByGoroutines} {
		srv := new(local.Server)
		if i != 2 {
			srv.SetLoops(w.g)
		}
		srv.SetMaxPendingConnections(1 + i*10)
		serve(srv)
		names = append(names, srv.FullServerName())
	}
	meddling, stopMeddling := context.WithCancel(context.Background())
	var meddlers sync.WaitGroup
	for i := range 3 {
		meddlers.Go(func() { w.meddle(meddling, rand.New(rand.NewPCG(seed, uint64(1000+i)))) })
	}

	end := time.Now().Add(*randomFor)
	var programs sync.WaitGroup
	for i := range *randomSockets {
		programs.Go(func() {
			p := &loopProgram{w: w, names: names, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
			p.id = fmt.Sprintf("socket %d", i)
			p.watch()
			for round := 0; round == 0 || time.Now().Before(end) && !t.Failed(); round++ {
				p.run(60)
			}
			p.s.Abort()
		})
	}
	programs.Wait()
	stopMeddling()
	meddlers.Wait()
	sockettest.Eventually(t, "all servers' sockets have ended", func() bool { return w.live.Load() == 0 })
	w.sides.Range(func(_, v any) bool {
		s := v.(*loopSide)
		if n := s.ends.Load(); n != 1 {
			t.Errorf("disconnected is told %d times", n)
		}
		return true
	})
	t.Logf("%d connections", w.connections.Load())
}

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

// A loopProgram is a client, what it does, and what must come of it.
type loopProgram struct {
	end
	w     *loopWorld
	names []string
	rng   *rand.Rand // the program's
	tell  *rand.Rand // its callbacks'
	holds bool       // a function on the loop reads, and calls callbacks by that; for the loop alone
	again bool       // one of them was told of bytes
	s     local.Socket

	mu    sync.Mutex
	state sock.State // as callbacks have told
	told  bool       // disconnected was told, and nothing may follow before the next connection
	came  chan struct{}
}

func (p *loopProgram) watch() {
	p.t, p.c = p.w.t, &p.s
	p.tell = rand.New(rand.NewPCG(p.rng.Uint64(), 0))
	p.came = make(chan struct{}, 1)
	p.s.OnStateChanged(func(to sock.State) {
		p.onLoop("stateChanged")
		p.mu.Lock()
		defer p.mu.Unlock()
		if !mayFollow(p.state, to) {
			p.t.Errorf("%s: %v after %v", p.id, to, p.state)
		}
		p.state, p.told = to, false
	})
	p.s.OnDisconnected(func() {
		p.onLoop("disconnected")
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.told || p.state != sock.UnconnectedState {
			p.t.Errorf("%s: disconnected in %v, again: %v", p.id, p.state, p.told)
		}
		p.told = true
	})
	p.s.OnReadyRead(func() {
		p.onLoop("readyRead")
		p.mu.Lock()
		if p.told {
			p.t.Errorf("%s: readyRead after disconnected", p.id)
		}
		p.mu.Unlock()
		if p.holds { // in the middle of a read, whose bytes are not checked yet
			p.again = true
			return
		}
		p.rmu.Lock()
		p.read(p.tell)
		p.rmu.Unlock()
		select {
		case p.came <- struct{}{}:
		default:
		}
	})
}

func mayFollow(from, to sock.State) bool {
	switch from {
	case sock.UnconnectedState:
		return to == sock.ConnectingState
	case sock.ConnectingState:
		return to == sock.ConnectedState || to == sock.UnconnectedState
	case sock.ConnectedState:
		return to == sock.ClosingState || to == sock.UnconnectedState
	}
	return to == sock.UnconnectedState
}

// run does n random things with connections that end somehow, and then has one of which every byte must be answered.
func (p *loopProgram) run(n int) {
	p.connect(0)
	for range n {
		p.step()
	}
	p.endIt()
	p.connect(1)
	for range 5 {
		p.wmu.Lock()
		n := p.rng.IntN(20000)
		b := make([]byte, n)
		sent := p.out.sent.Load()
		for i := range b {
			b[i] = pattern(p.out.salt, sent+int64(i))
		}
		p.out.sent.Add(int64(n))
		if _, err := p.s.WriteBuffered(b); err != nil {
			p.t.Errorf("%s: WriteBuffered: %v", p.id, err)
		}
		p.wmu.Unlock()
	}
	p.drain()
	p.endIt()
}

// endIt ends the connection, if it has not ended, checks it, and waits until callbacks have been told of that.
func (p *loopProgram) endIt() {
	if p.s.State() != sock.UnconnectedState {
		p.finish(p.rng)
		if p.rng.IntN(2) == 0 {
			sockettest.Eventually(p.t, "what is buffered is sent, or the peer has gone", func() bool { return p.s.State() == sock.UnconnectedState })
		}
		p.wmu.Lock()
		if p.s.State() != sock.UnconnectedState {
			p.abort()
		}
		p.wmu.Unlock()
	}
	p.ended(p.rng)
	done := make(chan struct{})
	p.l.Load().Post(func() { close(done) })
	sockettest.Done(p.t, "the loop has told of the end", done)
}

func (p *loopProgram) connect(kind byte) {
	if p.s.State() != sock.UnconnectedState {
		return
	}
	p.rmu.Lock()
	p.wmu.Lock()
	defer p.rmu.Unlock()
	defer p.wmu.Unlock()
	number := p.w.numbers.Add(1)
	k := &link{kind: kind}
	k.up.salt, k.down.salt = p.rng.Uint64(), p.rng.Uint64()
	p.w.links.Store(number, k)
	p.in, p.out, p.over = &k.down, &k.up, false
	l := p.w.g.Next()
	if err := p.s.SetLoop(l); err != nil {
		p.t.Errorf("%s: set loop: %v", p.id, err)
	}
	p.l.Store(l)
	if err := p.s.ConnectToServer(p.names[p.rng.IntN(len(p.names))], 0); err != nil {
		p.t.Errorf("%s: connect: %v", p.id, err)
		return
	}
	if err := p.s.WaitForConnected(30 * time.Second); err != nil {
		p.t.Errorf("%s: wait for connected: %v", p.id, err)
	}
	p.s.WriteBuffered(binary.BigEndian.AppendUint64(nil, number))
}

func (p *loopProgram) step() {
	short := time.Duration(p.rng.IntN(1000)) * time.Microsecond
	switch p.rng.IntN(14) {
	case 0, 1, 2, 3:
		p.wmu.Lock()
		p.send(p.rng, p.rng.IntN(5000))
		p.wmu.Unlock()
	case 4:
		// On the loop itself, in nobody's callback.
		rng := rand.New(rand.NewPCG(p.rng.Uint64(), 0))
		done := make(chan struct{})
		p.l.Load().Post(func() {
			defer close(done)
			p.wmu.Lock()
			p.send(rng, rng.IntN(3000))
			p.wmu.Unlock()
			p.rmu.Lock()
			p.holds, p.again = true, true
			for p.again {
				p.again = false
				p.read(rng)
			}
			p.holds = false
			p.rmu.Unlock()
		})
		sockettest.Done(p.t, "the loop runs a function", done)
	case 5, 6:
		p.rmu.Lock()
		p.read(p.rng)
		p.rmu.Unlock()
	case 7:
		p.s.WaitForReadyRead(short)
	case 8:
		p.s.WaitForBytesWritten(short)
	case 9:
		p.s.WaitForDisconnected(short)
	case 10:
		p.s.Flush()
	case 11:
		p.s.BytesToWrite()
	case 12:
		if p.rng.IntN(4) == 0 {
			p.endIt()
			p.connect(0)
		}
	case 13:
		if p.rng.IntN(20) == 0 { // half-close: the peer's callbacks make it an end
			p.wmu.Lock()
			if p.s.State() == sock.ConnectedState && p.s.CloseWrite() == nil {
				p.over = true
				p.s.SetWriteDeadline(time.Time{})
				p.out.done.Store(true)
			}
			p.wmu.Unlock()
		}
	}
	if p.s.State() == sock.UnconnectedState {
		p.endIt()
		p.connect(0)
	}
}

// drain waits until all that was sent is answered, by callbacks alone, or with Read beside them. It fails if nothing comes for long.
func (p *loopProgram) drain() {
	blocking := p.rng.IntN(2) == 0
	buf := make([]byte, 8000)
	limit := time.Now().Add(sockettest.Long())
	for before := int64(-1); ; {
		p.rmu.Lock()
		if blocking {
			p.s.SetReadDeadline(time.Now().Add(time.Millisecond))
			n, err := p.s.Read(buf)
			p.got("Read at the end", int64(n), buf[:n])
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Errorf("%s: Read at the end: %v", p.id, err)
			}
		} else {
			p.s.SetReadBufferSize(0) // whoever has filled it has not made more news
		}
		got := p.in.got
		p.rmu.Unlock()
		switch want := p.out.sent.Load(); {
		case got == want:
			return
		case got > before:
			before, limit = got, time.Now().Add(sockettest.Long())
		case time.Now().After(limit):
			p.t.Errorf("%s: %d of %d bytes were answered, and no more; blocking %v, in %v, %d available, %d to write",
				p.id, got, want, blocking, p.s.State(), p.s.BytesAvailable(), p.s.BytesToWrite())
			p.w.describe(p.out)
			return
		}
		if !blocking {
			select {
			case <-p.came:
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}
