//go:build unix

package loop_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/internal/sysfd"
	"anteroom/loop"

	"golang.org/x/sys/unix"
)

// percentiles reports how late things were.
func percentiles(b *testing.B, late []time.Duration) {
	slices.Sort(late)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(late[(len(late)-1)*p/100])/1e3, fmt.Sprintf("µs-p%d", p))
	}
}

// withProcs runs a benchmark with that many processors for Go.
func withProcs(b *testing.B, n int, bench func(b *testing.B)) {
	b.Run(fmt.Sprintf("procs=%d", n), func(b *testing.B) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
		bench(b)
	})
}

// How long it takes from Post, by a goroutine elsewhere, until that goroutine has the answer.
func BenchmarkPostAnswer(b *testing.B) {
	for _, n := range []int{1, 2} {
		withProcs(b, n, func(b *testing.B) {
			l := newLoop(b)
			start(b, l)
			answer := make(chan struct{})
			f := func() { answer <- struct{}{} }
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				l.Post(f)
				<-answer
				took = append(took, time.Since(begin))
			}
			percentiles(b, took)
		})
	}
}

// The same after the loop has slept in the system for a while.
func BenchmarkPostAnswerAsleep(b *testing.B) {
	for _, n := range []int{1, 2} {
		withProcs(b, n, func(b *testing.B) {
			l := newLoop(b)
			start(b, l)
			answer := make(chan struct{})
			f := func() { answer <- struct{}{} }
			var took []time.Duration
			for b.Loop() {
				time.Sleep(200 * time.Microsecond)
				begin := time.Now()
				l.Post(f)
				<-answer
				took = append(took, time.Since(begin))
			}
			percentiles(b, took)
		})
	}
}

// An echoer reads what it is told of and sends it back.
type echoer struct {
	fd    int
	count *atomic.Int64
}

func (e *echoer) Ready(loop.Events) {
	var p [64]byte
	if n, errno := sysfd.Read(e.fd, p[:]); errno == 0 && n > 0 {
		sysfd.Write(e.fd, p[:n])
		if e.count != nil {
			e.count.Add(1)
		}
	}
}

// socketPair returns two connected sockets, closed when the benchmark ends.
func socketPair(tb testing.TB) [2]int {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		tb.Fatal(err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds
}

// A loop that 250 pairs of sockets, which send each other a message back and forth, keep busy, and a goroutine that sleeps a millisecond:
// how late it wakes.
func BenchmarkSleeperBesideBusyLoop(b *testing.B) {
	for _, n := range []int{1, 2} {
		withProcs(b, n, func(b *testing.B) {
			l := newLoop(b)
			var count atomic.Int64
			for range 250 {
				fds := socketPair(b)
				for _, fd := range fds {
					if _, err := l.Register(uintptr(fd), loop.Readable, &echoer{fd, &count}); err != nil {
						b.Fatal(err)
					}
				}
				sysfd.Write(fds[0], make([]byte, 64))
			}
			stop := start(b, l)
			var late []time.Duration
			begin, before := time.Now(), count.Load()
			for b.Loop() {
				begin := time.Now()
				time.Sleep(time.Millisecond)
				late = append(late, time.Since(begin)-time.Millisecond)
			}
			b.ReportMetric(float64(count.Load()-before)/time.Since(begin).Seconds(), "echoes/s")
			stop()
			percentiles(b, late)
		})
	}
}

// The client of BenchmarkEcho sends 64 bytes on each of some connections, reads them back, and begins anew, until that was done so often
// in all. It is a process of its own, so that it does not share the runtime's processors with the loop; run both on one core, or on two.
var _ = sockettest.Child("echo client", func() {
	conns, _ := strconv.Atoi(os.Args[1])
	count, _ := strconv.Atoi(os.Args[2])
	var p [64]byte
	for i := 0; i < count; i += conns {
		for fd := range conns {
			unix.Write(3+fd, p[:])
		}
		for fd := range conns {
			unix.Read(3+fd, p[:])
		}
	}
})

// 64 bytes to and fro over some connections, all in flight.
func BenchmarkEcho(b *testing.B) {
	for _, conns := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) {
			l := newLoop(b)
			cmd := sockettest.Command(b, "echo client", strconv.Itoa(conns), strconv.Itoa(b.N))
			for range conns {
				fds := socketPair(b)
				if _, err := l.Register(uintptr(fds[0]), loop.Readable, &echoer{fd: fds[0]}); err != nil {
					b.Fatal(err)
				}
				client, err := unix.Dup(fds[1])
				if err != nil {
					b.Fatal(err)
				}
				f := os.NewFile(uintptr(client), "client")
				defer f.Close()
				unix.SetNonblock(client, false)
				cmd.ExtraFiles = append(cmd.ExtraFiles, f)
			}
			start(b, l)
			before, measured := sockettest.CPUTime()
			b.ResetTimer()
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			if after, _ := sockettest.CPUTime(); measured {
				b.ReportMetric(float64(after-before)/float64(b.N), "cpu-ns/op")
			}
		})
	}
}

func BenchmarkTimerStop(b *testing.B) {
	l := newLoop(b)
	for i := range 100_000 {
		l.AfterFunc(time.Hour+time.Duration(i*7919%100_000)*time.Millisecond, func() {})
	}
	for i := 0; b.Loop(); i++ {
		l.AfterFunc(time.Hour+time.Duration(i*7919%100_000)*time.Millisecond, nil).Stop()
	}
}

func BenchmarkOnLoop(b *testing.B) {
	l := newLoop(b)
	start(b, l)
	on(b, l, func() {
		for b.Loop() {
			l.OnLoop()
		}
	})
}

// What it costs to watch a descriptor and to leave it again.
func BenchmarkRegister(b *testing.B) {
	l := newLoop(b)
	fds := socketPair(b)
	h := &echoer{fd: fds[0]}
	for b.Loop() {
		r, err := l.Register(uintptr(fds[0]), loop.Readable, h)
		if err != nil {
			b.Fatal(err)
		}
		l.Unregister(r, uintptr(fds[0]), true)
	}
}
