package local_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

var (
	randomFor     = flag.Duration("random.for", 0, "how long random programs run; 0: each once")
	randomSockets = flag.Int("random.sockets", 60, "how many sockets run random programs at once")
	randomSeed    = flag.Uint64("random.seed", 0, "the seed of random programs; 0: a new one")
)

// TestSocketRandomProgramsLoseNothing has many sockets run random programs of 200 calls each against an echo server. What comes back must
// be what was sent, byte for byte and in order, states must follow each other legally, and nothing may hang or be left behind. The long
// form is
//
//	go test -race ./local -run RandomPrograms -random.for 60s -random.sockets 1000
func TestSocketRandomProgramsLoseNothing(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-random.seed %d", seed)

	srv, err := local.Listen(sockettest.Name(t))
	if err != nil {
		t.Fatal(err)
	}
	var echoes sync.WaitGroup
	echoes.Go(func() {
		for {
			c, err := srv.Accept()
			if err != nil {
				return
			}
			echoes.Go(func() { sockettest.Answer(c) })
		}
	})

	end := time.Now().Add(*randomFor)
	var programs sync.WaitGroup
	for i := range *randomSockets {
		programs.Go(func() {
			p := &program{t: t, name: srv.FullServerName(), id: fmt.Sprintf("socket %d", i)}
			p.rng = rand.New(rand.NewPCG(seed, uint64(i)))
			p.watch()
			for round := 0; round == 0 || time.Now().Before(end) && !t.Failed(); round++ {
				p.run(200)
			}
			p.s.Abort()
		})
	}
	programs.Wait()
	srv.Close()
	echoes.Wait()
}

// A program is one socket, what it does, and what must come of it.
type program struct {
	t    *testing.T
	id   string
	name string
	rng  *rand.Rand
	s    local.Socket

	sent, received int64  // of this connection; byte n of a connection is pattern(salt, n)
	salt           uint64 // another one for each connection

	mu       sync.Mutex
	state    sock.State // as the callbacks have told
	terminal bool       // disconnected was told and nothing may follow before the next connection
}

func pattern(salt uint64, n int64) byte { return byte((uint64(n)*2654435761 + salt) >> 7) }

// watch has callbacks check the order of what they are told.
func (p *program) watch() {
	p.s.OnStateChanged(func(to sock.State) {
		p.mu.Lock()
		defer p.mu.Unlock()
		next := map[sock.State][]sock.State{
			sock.UnconnectedState: {sock.ConnectingState},
			sock.ConnectingState:  {sock.ConnectedState, sock.UnconnectedState},
			sock.ConnectedState:   {sock.ClosingState, sock.UnconnectedState},
			sock.ClosingState:     {sock.UnconnectedState},
		}
		if !slices.Contains(next[p.state], to) {
			p.t.Errorf("%s: %v after %v", p.id, to, p.state)
		}
		p.state, p.terminal = to, false
	})
	p.s.OnDisconnected(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.terminal || p.state != sock.UnconnectedState {
			p.t.Errorf("%s: disconnected in %v, again: %v", p.id, p.state, p.terminal)
		}
		p.terminal = true
	})
	quiet := func(what string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.terminal {
			p.t.Errorf("%s: %s after disconnected", p.id, what)
		}
	}
	p.s.OnReadyRead(func() { quiet("readyRead") })
	p.s.OnBytesWritten(func(int64) { quiet("bytesWritten") })
}

// run does n random things, and then ends the connection in good order, so that every byte must come back.
func (p *program) run(n int) {
	for range n {
		p.step()
	}
	p.s.Abort()
	p.connect()
	for range 5 {
		p.write(p.rng.IntN(20000))
		p.writeBuffered(p.rng.IntN(20000))
	}
	p.drain()
}

func (p *program) connect() {
	if p.s.State() != sock.UnconnectedState {
		return
	}
	p.sent, p.received, p.salt = 0, 0, p.rng.Uint64()
	if err := p.s.ConnectToServer(p.name, 0); err != nil {
		p.t.Errorf("%s: connect: %v", p.id, err)
		return
	}
	if err := p.s.WaitForConnected(30 * time.Second); err != nil && p.s.State() == sock.ConnectingState {
		p.t.Errorf("%s: wait for connected: %v", p.id, err)
	}
}

// bytes returns the next n bytes to send.
func (p *program) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = pattern(p.salt, p.sent+int64(i))
	}
	return b
}

func (p *program) write(n int) {
	p.s.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
	wrote, err := p.s.Write(p.bytes(n))
	p.sent += int64(wrote)
	if err == nil && wrote != n {
		p.t.Errorf("%s: wrote %d of %d without an error", p.id, wrote, n)
	}
}

func (p *program) writeBuffered(n int) {
	wrote, err := p.s.WriteBuffered(p.bytes(n))
	p.sent += int64(wrote)
	if err == nil && wrote != n {
		p.t.Errorf("%s: buffered %d of %d without an error", p.id, wrote, n)
	}
}

// got checks bytes that were read, or skipped if b is nil.
func (p *program) got(call string, n int64, b []byte) {
	for i := range b {
		if want := pattern(p.salt, p.received+int64(i)); b[i] != want {
			p.t.Errorf("%s: %s: byte %d is %d, want %d", p.id, call, p.received+int64(i), b[i], want)
			break
		}
	}
	p.received += n
	if p.received > p.sent {
		p.t.Errorf("%s: %s: %d bytes came back of %d", p.id, call, p.received, p.sent)
	}
}

func (p *program) step() {
	short := time.Duration(p.rng.IntN(3)) * time.Millisecond
	switch p.rng.IntN(24) {
	case 0, 1, 2:
		p.connect()
	case 3, 4:
		p.write(p.rng.IntN(3000))
	case 5, 6, 7:
		p.writeBuffered(p.rng.IntN(3000))
	case 8:
		p.s.Flush()
	case 9, 10:
		b := make([]byte, p.rng.IntN(4000))
		p.s.SetReadDeadline(time.Now().Add(short))
		n, _ := p.s.Read(b)
		p.got("Read", int64(n), b[:n])
	case 11, 12:
		b := make([]byte, p.rng.IntN(4000))
		n, _ := p.s.ReadAvailable(b)
		p.got("ReadAvailable", int64(n), b[:n])
	case 13:
		line, _ := p.s.ReadLine(p.rng.IntN(500))
		p.got("ReadLine", int64(len(line)), line)
	case 14:
		b, _ := p.s.Peek(p.rng.IntN(500))
		p.got("Peek", 0, b)
	case 15:
		n, _ := p.s.Skip(int64(p.rng.IntN(2000)))
		p.got("Skip", n, nil)
	case 16:
		p.s.WaitForReadyRead(short)
	case 17:
		p.s.WaitForBytesWritten(short)
	case 18:
		p.s.SetReadBufferSize(int64(p.rng.IntN(3) * p.rng.IntN(5000)))
	case 19:
		p.s.CanReadLine()
		p.s.BytesAvailable()
		p.s.BytesToWrite()
	case 20:
		p.s.WaitForDisconnected(short)
	case 21:
		if p.rng.IntN(3) == 0 {
			p.s.DisconnectFromServer()
		}
	case 22:
		if p.rng.IntN(3) == 0 {
			p.s.Abort()
		}
	case 23:
		if p.rng.IntN(3) == 0 {
			p.s.Close()
		}
	}
}

// drain reads until all that was sent has come back.
func (p *program) drain() {
	if p.s.State() != sock.ConnectedState {
		return
	}
	p.s.SetDeadline(time.Time{})
	b := make([]byte, 8000)
	limit := time.Now().Add(sockettest.Long())
	for p.received < p.sent {
		// The writing of what is buffered goes on in the background, and stalls unless somebody reads.
		p.s.SetReadDeadline(limit)
		n, err := p.s.Read(b)
		p.got("Read at the end", int64(n), b[:n])
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errors.New("hangs")
			}
			p.t.Errorf("%s: %d of %d bytes came back: %v", p.id, p.received, p.sent, err)
			return
		}
	}
	p.s.DisconnectFromServer()
	if err := p.s.WaitForDisconnected(sockettest.Long()); err != nil && p.s.State() != sock.UnconnectedState {
		p.t.Errorf("%s: at the end: %v", p.id, err)
	}
}
