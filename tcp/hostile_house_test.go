//go:build unix

package tcp_test

// What the tests of hostile peers have in common: programs that serve, clients that behave, and what may be left afterwards.

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/tcp"
)

// What every house allows its guests.
const (
	maxLine   = 256      // bytes of a question
	maxUnsent = 64 << 10 // bytes of answers that a peer has not fetched
)

// A house is a program that serves: it answers each line with the same line in capital letters. A peer that sends no whole line for as long
// as the house is patient, or too long a one, or does not fetch its answers, is thrown out.
type house struct {
	srv      tcp.Server
	patience time.Duration
	workers  int // how many are served at a time by a house that blocks
	before   census
	taken    atomic.Int64
	ended    atomic.Int64
	unsent   atomic.Int64 // the most that was
	open     func()       // begins to take connections
	closed   func()       // waits until that has ended
}

// ways are the ways to write such a program. Each prepares a house that is going to listen.
var ways = []struct {
	name    string
	prepare func(testing.TB, *house)
}{
	{"goroutines", prepareGoroutines},
	{"callbacks", prepareCallbacks},
	{"loops", func(t testing.TB, h *house) {
		h.srv.SetLoops(hostileLoops(t))
		prepareCallbacks(t, h)
	}},
}

// eachHouse runs f with a house of each kind, which listens and has not opened yet.
func eachHouse(t *testing.T, f func(t *testing.T, h *house)) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			h := &house{patience: sockettest.Long(), workers: 1000}
			way.prepare(t, h)
			h.before = count()
			listenWith(t, &h.srv)
			t.Cleanup(func() { h.srv.Close(); h.closed() })
			f(t, h)
		})
	}
}

func prepareGoroutines(_ testing.TB, h *house) {
	var all sync.WaitGroup
	h.open = func() {
		free := make(chan struct{}, h.workers)
		all.Go(func() {
			for c, err := range h.srv.Connections(context.Background()) {
				if err != nil {
					return
				}
				free <- struct{}{}
				h.taken.Add(1)
				all.Go(func() {
					h.serve(c)
					h.ended.Add(1)
					<-free
				})
			}
		})
	}
	h.closed = all.Wait
}

func (h *house) serve(c *tcp.Socket) {
	defer c.Abort()
	in := bufio.NewReaderSize(c, maxLine)
	for c.SetDeadline(time.Now().Add(h.patience)) == nil {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if _, err := c.Write(bytes.ToUpper(line)); err != nil {
			return
		}
	}
}

func prepareCallbacks(_ testing.TB, h *house) {
	h.open = func() {
		h.srv.OnNewConnection(func() {
			if c := h.srv.NextPendingConnection(); c != nil {
				h.taken.Add(1)
				h.watch(c)
			}
		})
	}
	h.closed = func() {}
}

func (h *house) watch(c *tcp.Socket) {
	c.SetReadBufferSize(maxLine)
	late := time.AfterFunc(h.patience, c.Abort)
	c.OnDisconnected(func() { // first: what is unread already may end the connection
		late.Stop()
		h.ended.Add(1)
	})
	c.OnReadyRead(func() {
		for c.CanReadLine() {
			line, err := c.ReadLine(maxLine)
			if err != nil {
				return
			}
			c.WriteBuffered(bytes.ToUpper(line))
			late.Reset(h.patience)
			unsent := c.BytesToWrite()
			h.unsent.Store(max(h.unsent.Load(), unsent)) // two at once may lose one: there will be others
			if unsent > maxUnsent {
				c.Abort()
			}
		}
		if c.BytesAvailable() >= maxLine && !c.CanReadLine() {
			c.Abort()
		}
	})
}

func (h *house) addr() string { return h.srv.Addr().String() }

// wantEmpty waits until every connection has ended.
func (h *house) wantEmpty(t testing.TB) {
	t.Helper()
	sockettest.Eventually(t, "every connection that was taken has ended, once", func() bool { return h.ended.Load() == h.taken.Load() && !h.srv.HasPendingConnections() })
}

// hostileLoops returns loops that run until the test ends.
func hostileLoops(t testing.TB) *loop.Group {
	t.Helper()
	g, err := loop.NewGroup(2)
	must(t, err)
	ended := sockettest.Go(func() error { return g.Run(context.Background()) })
	running := make(chan struct{}, 2)
	for range 2 {
		g.Next().Post(func() { running <- struct{}{} })
	}
	for range 2 {
		sockettest.Done(t, "a loop runs", running)
	}
	t.Cleanup(func() {
		g.Close()
		if err := sockettest.Done(t, "the loops end", ended); err != nil {
			t.Error(err)
		}
	})
	return g
}

// A census is what a process has that hostile peers could make grow.
type census struct {
	goroutines, descriptors int
	heap                    uint64
}

func count() census {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return census{runtime.NumGoroutine(), sockettest.OpenDescriptors(), m.HeapAlloc}
}

// wantAtMost waits until there is no more than there was, but for this. What has ended may take a moment to go.
func (before census) wantAtMost(t testing.TB, goroutines, descriptors int, heap uint64) {
	t.Helper()
	var now census
	for end := time.Now().Add(sockettest.Long()); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		now = count()
		if now.goroutines <= before.goroutines+goroutines && now.descriptors <= before.descriptors+descriptors && now.heap <= before.heap+heap {
			return
		}
	}
	t.Errorf("there were %+v, and are %+v; want at most %d goroutines, %d descriptors and %d bytes more", before, now, goroutines, descriptors, heap)
}

// someHeap is what tests, the runtime and pools may keep.
const someHeap = 1 << 20

// wantAtMost waits until an open house costs no more than that many connections do, and nobody's bytes.
func (h *house) wantAtMost(t testing.TB, connections, descriptors int) {
	t.Helper()
	const own = 2 // goroutines: one accepts or takes, one may be about to
	h.before.wantAtMost(t, own+connections, 1+connections+descriptors, someHeap)
}

// wantBack closes the house, and waits until there is no more than before it listened.
func (h *house) wantBack(t testing.TB) {
	t.Helper()
	must(t, h.srv.Close())
	h.closed()
	h.before.wantAtMost(t, 0, 0, someHeap)
}

// plainDial connects without our library.
func plainDial(addr string) (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", addr, sockettest.Long())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), c.SetDeadline(time.Now().Add(2 * sockettest.Long()))
}

func mustPlainDial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := plainDial(addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// reset ends a connection at once, whatever was sent.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// ask asks one question, and says what is wrong with the answer.
func ask(c net.Conn, question string) error {
	if _, err := io.WriteString(c, question+"\n"); err != nil {
		return err
	}
	want := string(bytes.ToUpper([]byte(question))) + "\n"
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		return fmt.Errorf("the answer to %q is %q, %w", question, got[:n], err)
	}
	return nil
}

// wantServed has well-behaved clients come, several at a time, and fails the test unless each of their questions is answered.
func wantServed(t testing.TB, addr string) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for j := range 4 {
				c, err := plainDial(addr)
				if err != nil {
					t.Errorf("a well-behaved client: %v", err)
					return
				}
				for k := range 4 {
					if err := ask(c, fmt.Sprintf("question %d of visit %d by client %d", k, j, i)); err != nil {
						t.Errorf("a well-behaved client: %v", err)
					}
				}
				c.Close()
			}
		})
	}
	all.Wait()
}

// An attack is something that is done over and over.
type attack struct {
	t     testing.TB
	count atomic.Int64
	stop  context.CancelFunc
	all   sync.WaitGroup
}

// startAttack has n goroutines do f until the attack ends. What f returns is an error of the test's, not of the peer's.
func startAttack(t testing.TB, n int, f func() error) *attack {
	a := &attack{t: t}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	for range n {
		a.all.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil {
					t.Errorf("the attack fails: %v", err)
					return
				}
				a.count.Add(1)
			}
		})
	}
	t.Cleanup(a.end)
	return a
}

// reaches waits until f has been done n times.
func (a *attack) reaches(n int64) {
	a.t.Helper()
	sockettest.Eventually(a.t, "the attack is under way", func() bool { return a.count.Load() >= n || a.t.Failed() })
}

func (a *attack) end() {
	a.stop()
	a.all.Wait()
}
