package local_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
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
