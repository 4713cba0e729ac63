//go:build unix

package tcp_test

// Peers that mean harm, or have gone mad. In each test well-behaved clients are served meanwhile, and afterwards the process has what it
// had before.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anteroom/datastream"
	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"

	"golang.org/x/sys/unix"
)

// The child "flood" connects as often as it is told, and keeps that; then, when it is told anything, drops all of it in one way or another,
// and goes on connecting and resetting until its input ends.
var _ = sockettest.Child("flood", func() {
	n, err := strconv.Atoi(os.Args[2])
	mustChild(err)
	conns := make(chan *net.TCPConn, n)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if c, err := plainDial(os.Args[1]); err == nil { // a queue of the system's may be too small for all
				conns <- c
			}
		})
	}
	all.Wait()
	fmt.Println("flooding")
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	close(conns)
	for c := range conns {
		if rand.IntN(2) == 0 {
			c.SetLinger(0)
		}
		c.Close()
	}
	ctx, stop := context.WithCancel(context.Background())
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if c, err := plainDial(os.Args[1]); err == nil {
					reset(c)
				}
			}
		})
	}
	in.Scan()
	stop()
	all.Wait()
})

// Thousands of connections cost a server no more than those that it may have pending; the rest is the system's. When it takes them, who
// behaves is served though others go on connecting.
func TestHostileFloodCostsNoMoreThanTheLimit(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		const limit, children, each = 10, 3, 700
		var news atomic.Int64
		h.srv.OnNewConnection(func() { news.Add(1) })
		h.srv.SetMaxPendingConnections(limit)
		var floods []*sockettest.Process
		for range children {
			floods = append(floods, sockettest.Start(t, "flood", h.addr(), fmt.Sprint(each)))
		}
		for _, p := range floods {
			p.Expect("flooding")
		}
		sockettest.Eventually(t, "as many are pending as may be", func() bool { return news.Load() == limit })
		sockettest.Stays(t, "no more are pending than may be", func() bool { return news.Load() == limit })
		const perChild = 3                        // descriptors, and as many goroutines
		h.wantAtMost(t, perChild*children, limit) // a pending connection has no goroutine
		h.open()
		for _, p := range floods {
			p.Say("drop")
		}
		wantServed(t, h.addr())
		for _, p := range floods {
			if _, err := p.Wait(); err != nil {
				t.Errorf("a child has ended with %v", err)
			}
		}
		h.wantEmpty(t)
		if n := h.taken.Load(); n < each {
			t.Errorf("%d connections were taken; want all, thousands", n)
		}
		h.wantBack(t)
	})
}

// Peers that send a byte now and then hold a place no longer than the server's deadline lets them, though they never pause as long as that.
func TestHostileSlowPeersMeetTheDeadline(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.patience, h.workers = sockettest.Scale(time.Second), 8
		h.open()
		const slow = 24 // more than there are workers
		var all sync.WaitGroup
		for range slow {
			c := mustPlainDial(t, h.addr())
			all.Go(func() {
				defer c.Close()
				for {
					if _, err := c.Write([]byte("x")); err != nil {
						return // the server has thrown it out
					}
					c.SetReadDeadline(time.Now().Add(h.patience / 20)) // also the pace
					if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						return
					}
				}
			})
		}
		wantServed(t, h.addr())
		sockettest.Done(t, "the slow peers are thrown out", sockettest.Go(func() struct{} { all.Wait(); return struct{}{} }))
		h.wantEmpty(t)
		h.wantBack(t)
	})
}

// Peers that ask and never fetch an answer are thrown out, by the write deadline or by how much is unsent, and cost no more than that.
func TestHostilePeersThatNeverReadAreThrownOut(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.patience = sockettest.Scale(2 * time.Second)
		h.open()
		questions := bytes.Repeat([]byte("what is the answer to life, the universe, and everything?\n"), 1000)
		var all sync.WaitGroup
		for range 6 {
			c := mustPlainDial(t, h.addr())
			all.Go(func() {
				for {
					if _, err := c.Write(questions); err != nil {
						if errors.Is(err, os.ErrDeadlineExceeded) {
							t.Error("a peer that never reads is not thrown out")
						}
						reset(c)
						return
					}
				}
			})
		}
		wantServed(t, h.addr())
		all.Wait()
		if n := h.unsent.Load(); n > maxUnsent+maxLine {
			t.Errorf("%d bytes were unsent; want at most %d", n, maxUnsent+maxLine)
		}
		h.wantEmpty(t)
		h.wantAtMost(t, 0, 0)
		h.wantBack(t)
	})
}

// eachTaken runs f with a plain client, and the server's end of its connection, which lives where f is told.
func eachTaken(t *testing.T, f func(t *testing.T, client *net.TCPConn, server *tcp.Socket)) {
	for _, loops := range []bool{false, true} {
		t.Run(map[bool]string{false: "goroutines", true: "loops"}[loops], func(t *testing.T) {
			var srv tcp.Server
			if loops {
				srv.SetLoops(hostileLoops(t))
			}
			listenWith(t, &srv)
			client := mustPlainDial(t, srv.Addr().String())
			f(t, client, next(t, &srv))
		})
	}
}

const tooMuch = 32 << 20 // more than the system queues for a peer that does not read

// Whoever writes to a peer that does not read gets away: by a deadline, by Abort and by Close.
func TestHostilePeerThatNeverReadsHoldsNobody(t *testing.T) {
	eachTaken(t, func(t *testing.T, client *net.TCPConn, server *tcp.Socket) {
		data := make([]byte, tooMuch)
		must(t, server.SetWriteDeadline(time.Now().Add(small)))
		n, err := server.Write(data)
		wantIs(t, "Write until the deadline", err, os.ErrDeadlineExceeded, sock.SocketTimeoutError)
		if n == 0 || n >= tooMuch {
			t.Errorf("Write says that %d bytes were sent", n)
		}
		must(t, server.SetWriteDeadline(time.Time{}))
		written := sockettest.Go(func() error { _, err := server.Write(data); return err })
		if n, err := server.WriteBuffered(make([]byte, 1000)); n != 1000 || err != nil { // does not wait, whoever else does
			t.Errorf("WriteBuffered: %d, %v", n, err)
		}
		server.Abort()
		wantIs(t, "Write until Abort", sockettest.Done(t, "Write returns", written), net.ErrClosed)
		wantState(t, server, sock.UnconnectedState)
		if n := server.BytesToWrite(); n != 0 {
			t.Errorf("%d bytes are to be written after Abort", n)
		}
	})
}

// What a peer does not fetch keeps a closing socket in ClosingState, until the write deadline or Abort.
func TestHostilePeerThatNeverReadsMeetsTheDeadlineOfWhoCloses(t *testing.T) {
	ends := map[string]func(*tcp.Socket){"Close": func(c *tcp.Socket) { c.Close() }, "DisconnectFromHost": (*tcp.Socket).DisconnectFromHost}
	for name, end := range ends {
		for _, abort := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, then Abort: %v", name, abort), func(t *testing.T) {
				eachTaken(t, func(t *testing.T, client *net.TCPConn, server *tcp.Socket) {
					log := watch(server)
					server.WriteBuffered(make([]byte, tooMuch))
					end(server)
					wantState(t, server, sock.ClosingState)
					if server.BytesToWrite() == 0 {
						t.Error("all is sent to a peer that does not read")
					}
					waited := sockettest.Go(func() error { return server.WaitForDisconnected(sockettest.Long()) })
					if abort {
						server.Abort()
						wantState(t, server, sock.UnconnectedState)
						log.comes(t, "ClosingState", "UnconnectedState", "disconnected")
					} else {
						must(t, server.SetWriteDeadline(time.Now().Add(small)))
						log.comes(t, "ClosingState", "SocketTimeoutError", "UnconnectedState", "disconnected")
					}
					sockettest.Done(t, "the wait for the end returns", waited)
					if n := server.BytesToWrite(); n != 0 {
						t.Errorf("%d bytes are to be written after the end", n)
					}
				})
			})
		}
	}
}

// Clients that reset before they are accepted, and while they are pending, are in nobody's way.
func TestHostileResetsBeforeTheyAreTaken(t *testing.T) {
	for _, paused := range []bool{true, false} {
		t.Run(map[bool]string{true: "before accept", false: "while pending"}[paused], func(t *testing.T) {
			eachHouse(t, func(t *testing.T, h *house) {
				const clients = 30
				var news atomic.Int64
				h.srv.OnNewConnection(func() { news.Add(1) })
				if paused {
					h.srv.PauseAccepting()
				}
				var conns []*net.TCPConn
				for range clients {
					conns = append(conns, mustPlainDial(t, h.addr()))
				}
				if !paused {
					sockettest.Eventually(t, "all are pending", func() bool { return news.Load() == clients })
				}
				addrs := make(map[netip.AddrPort]bool)
				for _, c := range conns {
					addrs[c.LocalAddr().(*net.TCPAddr).AddrPort()] = true
					reset(c)
				}
				h.srv.ResumeAccepting()
				must(t, h.srv.WaitForNewConnection(sockettest.Long()))
				for range clients / 2 {
					c := h.srv.NextPendingConnection()
					if c == nil {
						continue // the system has dropped it, or it was found broken
					}
					if at := netip.AddrPortFrom(c.PeerAddress(), c.PeerPort()); c.State() == sock.ConnectedState && !addrs[at] {
						t.Errorf("the peer of a connection that was reset is %v", at)
					}
					if _, err := c.Read(make([]byte, 1)); err == nil {
						t.Error("something was read of a connection that was reset")
					}
					c.Close()
				}
				h.open()
				wantServed(t, h.addr())
				h.wantEmpty(t)
				if h.srv.Err() != nil || !h.srv.IsListening() {
					t.Errorf("listening %v, error %v", h.srv.IsListening(), h.srv.Err())
				}
				h.wantBack(t)
			})
		})
	}
}

// Peers that reset in the midst of everything end their own connections, each of which is told once.
func TestHostileResetsInMidConversation(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.open()
		long := bytes.Repeat([]byte("what?\n"), 2000)
		a := startAttack(t, 8, func() error {
			c, err := plainDial(h.addr())
			if err != nil {
				return err
			}
			defer reset(c)
			switch rand.IntN(6) {
			case 0: // at once
			case 1:
				io.WriteString(c, "half a quest")
			case 2:
				io.WriteString(c, "unheard answer\n")
			case 3:
				io.WriteString(c, "half an answer\n")
				io.ReadFull(c, make([]byte, 5))
			case 4:
				c.Write(long) // while it reads and writes
			case 5:
				c.Write(long)
				c.CloseWrite()
				io.ReadFull(c, make([]byte, 100))
			}
			return nil
		})
		a.reaches(100)
		wantServed(t, h.addr())
		a.end()
		h.wantEmpty(t)
		if h.taken.Load() < 100 {
			t.Errorf("%d connections were taken", h.taken.Load())
		}
		if h.srv.Err() != nil || !h.srv.IsListening() {
			t.Errorf("listening %v, error %v", h.srv.IsListening(), h.srv.Err())
		}
		h.wantBack(t)
	})
}

// Peers that send what is no line, or one without an end, are thrown out when the limit of a line is reached, and cost no more than that.
func TestHostileGarbageIsBounded(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.open()
		a := startAttack(t, 6, func() error {
			c, err := plainDial(h.addr())
			if err != nil {
				return err
			}
			defer reset(c)
			garbage := make([]byte, 64<<10)
			for i := range garbage {
				if garbage[i] = byte(rand.Uint32()); garbage[i] == '\n' {
					garbage[i] = 0
				}
			}
			for {
				if _, err := c.Write(garbage); errors.Is(err, os.ErrDeadlineExceeded) {
					return err
				} else if err != nil {
					return nil // thrown out
				}
			}
		})
		a.reaches(30)
		wantServed(t, h.addr())
		a.end()
		h.wantEmpty(t)
		h.wantAtMost(t, 0, 0)
		h.wantBack(t)
	})
}

// Lengths of QDataStream's that promise gigabytes cost what has come, and no more.
func TestHostileDataStreamPeersAreBounded(t *testing.T) {
	before := count()
	srv := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for c, err := range srv.Connections(context.Background()) {
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Abort()
				in := datastream.NewReader(c)
				in.MaxBytes = 4 << 10
				out := datastream.NewWriter(c)
				for text := in.String(); in.Err() == nil && out.Err() == nil; text = in.String() {
					out.String(text)
					out.Flush()
				}
			})
		}
	})
	well := mustPlainDial(t, srv.Addr().String())
	out, in := datastream.NewWriter(well), datastream.NewReader(well)
	wantAnswer := func() {
		t.Helper()
		out.String("Grüße")
		must(t, out.Flush())
		if got := in.String(); got != "Grüße" || in.Err() != nil {
			t.Errorf("the answer is %q, %v", got, in.Err())
		}
	}
	wantAnswer()
	heads := [][]byte{
		{0xff, 0xff, 0xff, 0xfe}, {0xff, 0xff, 0xff, 0xfd}, {0x7f, 0xff, 0xff, 0xff}, {0x80, 0, 0, 0}, {0, 0, 0x10, 0x01}, {0, 0, 0x10, 0x02}, {0, 0, 0, 1},
		{0xff, 0xff, 0xff, 0xfe, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	a := startAttack(t, 4, func() error {
		c, err := plainDial(srv.Addr().String())
		if err != nil {
			return err
		}
		defer reset(c)
		c.Write(append(bytes.Clone(heads[rand.IntN(len(heads))]), make([]byte, rand.IntN(16<<10))...))
		c.CloseWrite()
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil
	})
	for i := range int64(5) {
		a.reaches(20 * i)
		wantAnswer()
	}
	a.end()
	well.Close()
	srv.Close()
	all.Wait()
	before.wantAtMost(t, 0, 0, someHeap)
}

// An urgent byte (MSG_OOB) neither ends a connection nor keeps back what follows it.
func TestHostileUrgentByteEndsNothing(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.open()
		c := mustPlainDial(t, h.addr())
		must(t, ask(c, "an ordinary question"))
		for i := range 3 {
			raw, err := c.SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }))
			must(t, err)
			question := fmt.Sprintf("after %d urgent bytes", i+1)
			if _, err := io.WriteString(c, question+"\n"); err != nil {
				t.Fatal(err)
			}
			got, err := bufio.NewReader(c).ReadBytes('\n')
			if want := string(bytes.ToUpper([]byte(question))) + "\n"; err != nil || string(bytes.TrimPrefix(got, []byte("!"))) != want { // in line, or left out
				t.Fatalf("the answer is %q, %v; want %q", got, err, want)
			}
		}
		wantServed(t, h.addr())
		c.Close()
		h.wantEmpty(t)
		h.wantBack(t)
	})
}

// The child "poor house" serves with few descriptors, in a way, until its input ends.
var _ = sockettest.Child("poor house", func() {
	t := new(childTB)
	i, err := strconv.Atoi(os.Args[1])
	mustChild(err)
	h := &house{patience: sockettest.Scale(time.Second), workers: 1000}
	ways[i].prepare(t, h)
	h.srv.SetMaxPendingConnections(100) // more than there are descriptors
	var told, other atomic.Int64
	h.srv.OnAcceptError(func(err error) {
		if told.Add(1); !errors.Is(err, sock.SocketResourceError) || !errors.Is(err, syscall.EMFILE) {
			other.Add(1)
		}
	})
	if r, w, err := os.Pipe(); err == nil { // the runtime opens what it needs for its poller
		r.Close()
		w.Close()
	}
	before := count()
	mustChild(h.srv.Listen(loopback, 0))
	mustChild(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}))
	h.open()
	fmt.Println(h.addr())
	io.Copy(io.Discard, os.Stdin)
	h.wantEmpty(t)
	fmt.Println("told:", told.Load() > 0, "of something else:", other.Load(), "listening:", h.srv.IsListening())
	mustChild(h.srv.Close())
	h.closed()
	if after := sockettest.OpenDescriptors(); after > before.descriptors {
		fmt.Printf("%d descriptors before, %d after\n", before.descriptors, after)
	}
})

// A childTB is what helpers of tests need in a child process.
type childTB struct{ testing.TB }

func (*childTB) Helper()                   {}
func (*childTB) Cleanup(func())            {}
func (*childTB) Fatal(args ...any)         { mustChild(errors.New(fmt.Sprint(args...))) }
func (*childTB) Fatalf(f string, a ...any) { mustChild(fmt.Errorf(f, a...)) }

// A flood that leaves a server without descriptors makes others wait, and nothing else: who was there is served meanwhile, who comes is
// served when the silent have been thrown out, and nothing has to be done about it.
func TestHostileFloodWithoutDescriptors(t *testing.T) {
	for i, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			p := sockettest.Start(t, "poor house", fmt.Sprint(i))
			addr := p.Line()
			old := mustPlainDial(t, addr)
			must(t, ask(old, "first"))
			var silent sync.WaitGroup
			for range 200 {
				c := mustPlainDial(t, addr)
				silent.Go(func() {
					if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("a silent client is not thrown out")
					}
				})
			}
			must(t, ask(old, "meanwhile"))
			wantServed(t, addr)
			silent.Wait()
			wantServed(t, addr)
			old.Close()
			if rest, err := p.Wait(); err != nil || len(rest) != 1 || rest[0] != "told: true of something else: 0 listening: true" {
				t.Errorf("the child has ended with %v, and said %q", err, rest)
			}
		})
	}
}
