package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/internal/sockettest"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

// The requests of a rate are due at fixed times, whatever happens.
func TestSchedule(t *testing.T) {
	for _, test := range []struct {
		rate   float64
		k      int64
		at     time.Duration
		until  time.Duration
		before int64
	}{
		{10, 0, 0, 0, 0},
		{10, 1, 100 * time.Millisecond, 1, 1},
		{10, 20, 2 * time.Second, 2 * time.Second, 20},
		{10, 20, 2 * time.Second, 2*time.Second + 1, 21},
		{3, 3e9, 1e9 * time.Second, time.Second, 3}, // a third of a second, three thousand million times, and no error added up
		{0.1, 2, 20 * time.Second, 25 * time.Second, 3},
		{1e9, 1, 1, time.Second, 1e9},
		{1e-9, 100, 1<<63 - 1, time.Hour, 1}, // later than a Duration holds
	} {
		s := scheduleOf(test.rate)
		if got := s.at(test.k); got != test.at {
			t.Errorf("%v a second: request %d is due at %v, want %v", test.rate, test.k, got, test.at)
		}
		if got := s.before(test.until); got != test.before {
			t.Errorf("%v a second: %d are due before %v, want %d", test.rate, got, test.until, test.before)
		}
	}
}

func TestScheduleAgreesWithItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scheduleOf(rapid.Float64Range(0.001, 1e7).Draw(t, "rate"))
		k := rapid.Int64Range(0, 1e6).Draw(t, "k")
		if at := s.at(k); s.before(at) > k || s.before(at+1) < k+1 || s.at(k+1) < at {
			t.Fatalf("request %d is due at %v; before it are %d, and %d with it", k, at, s.before(at), s.before(at+1))
		}
	})
}

// pipes returns a Dial whose connections are served by a function, each in a goroutine, which the test waits for.
func pipes(t *testing.T, serve func(net.Conn)) func(context.Context) (net.Conn, error) {
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	return func(context.Context) (net.Conn, error) {
		time.Sleep(time.Millisecond) // else a bubble's time would stand still for who does nothing but connect
		here, there := net.Pipe()
		all.Go(func() {
			defer there.Close()
			serve(there)
		})
		return here, nil
	}
}

// answering serves with an answer to each message; err ends it.
func answering(size int, answer func(i int, message []byte) ([]byte, error)) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, size)
		for i := 0; ; i++ {
			if _, err := io.ReadFull(c, buf); err != nil {
				return
			}
			b, err := answer(i, buf)
			if _, err := c.Write(b); err != nil {
				return
			}
			if err != nil {
				return
			}
		}
	}
}

// measure runs in a bubble with a clock of its own, and returns how long it took.
func measure(t *testing.T, ctx context.Context, cfg Config) (*Result, time.Duration) {
	t.Helper()
	cfg.sleep = time.Sleep
	began := time.Now()
	res, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return res, time.Since(began).Round(10 * time.Millisecond)
}

// A server that stands still for a second keeps those waiting that are due meanwhile, and all of that is latency.
func TestOpenLoopLeavesNoWaitOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, _ := measure(t, t.Context(), Config{
			Dial: pipes(t, answering(64, func(i int, b []byte) ([]byte, error) {
				if i == 5 {
					time.Sleep(time.Second)
				}
				return b, nil
			})),
			Mode: Echo, Connections: 1, Size: 64, Duration: 2 * time.Second, Timeout: time.Second, Rate: 10,
		})
		if res.Done != 20 || res.Due != 20 || res.Unsent != 0 || res.Failed() != 0 {
			t.Errorf("%d done of %d due, %d not sent, %d errors; want 20, 20, 0, 0", res.Done, res.Due, res.Unsent, res.Failed())
		}
		if res.Late != 9 { // those between the one that had to wait and the one that was due when it was over
			t.Errorf("%d late, want 9", res.Late)
		}
		if l := res.Latency; l.Max != time.Second || l.Mean != 275*time.Millisecond || l.P90.Round(time.Millisecond) != 800*time.Millisecond || l.P50 > time.Millisecond {
			t.Errorf("latencies %+v; want a second at most, 275 ms on average", l)
		}
	})
}

// What was due and could not be sent until the end is said.
func TestOpenLoopSaysWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, took := measure(t, t.Context(), Config{
			Dial: pipes(t, answering(64, func(i int, b []byte) ([]byte, error) {
				if i >= 5 {
					time.Sleep(4 * time.Second)
				}
				return b, nil
			})),
			Mode: Echo, Connections: 2, Size: 64, Duration: 2 * time.Second, Timeout: 10 * time.Second, Rate: 10,
		})
		if res.Done != 12 || res.Due != 20 || res.Unsent != 8 || res.Failed() != 0 {
			t.Errorf("%d done of %d due, %d not sent, %d errors; want 12, 20, 8, 0", res.Done, res.Due, res.Unsent, res.Failed())
		}
		if res.Elapsed != 2*time.Second || took > 6*time.Second {
			t.Errorf("%v were measured, in %v", res.Elapsed, took)
		}
	})
}

// What the warm-up has left undone is not measured in place of what is due in the measured time.
func TestOverloadBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, _ := measure(t, t.Context(), Config{
			Dial: pipes(t, answering(64, func(_ int, b []byte) ([]byte, error) {
				time.Sleep(100 * time.Millisecond) // ten a second
				return b, nil
			})),
			Mode: Echo, Connections: 1, Size: 64, Warmup: 2 * time.Second, Duration: time.Second, Timeout: time.Second, Rate: 1000,
		})
		if res.Due != 1000 || res.Done < 9 || res.Done > 11 || res.Unsent != res.Due-res.Done || res.Failed() != 0 {
			t.Errorf("%d done of %d due, %d not sent, %d errors; want ten of 1000, and no error", res.Done, res.Due, res.Unsent, res.Failed())
		}
		if m := res.Latency.Max; m < 900*time.Millisecond || m > 1200*time.Millisecond {
			t.Errorf("the slowest took %v, want about a second", m)
		}
	})
}

// A connection that waits for one answer in all of the measured time is told of, though the request began in the warm-up.
func TestStarvedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, _ := measure(t, t.Context(), Config{
			Dial: pipes(t, answering(64, func(_ int, b []byte) ([]byte, error) {
				time.Sleep(3 * time.Second)
				return b, nil
			})),
			Mode: Echo, Connections: 2, Size: 64, Warmup: time.Second, Duration: time.Second, Timeout: 5 * time.Second,
		})
		if len(res.Errors) != 1 || res.Errors[0].Kind != Stalled || res.Errors[0].Count != 2 || res.Done != 0 {
			t.Errorf("%d done, errors %v; want none, and two that stalled", res.Done, res.Errors)
		}
	})
}

// The warm-up is not measured, in either kind of loop.
func TestWarmup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cpu := time.Duration(0)
		cfg := Config{
			Dial: pipes(t, answering(8, func(i int, b []byte) ([]byte, error) {
				time.Sleep(100 * time.Millisecond)
				return b, nil
			})),
			Mode: Echo, Connections: 1, Size: 8, Warmup: time.Second, Duration: time.Second, Timeout: time.Second,
			ServerCPU: func() (time.Duration, error) { cpu += time.Second; return cpu, nil },
		}
		res, _ := measure(t, t.Context(), cfg)
		if res.Done != 10 || res.Sent != 80 || res.Received != 80 || res.Latency.P50.Round(time.Millisecond) != 100*time.Millisecond {
			t.Errorf("closed loop: %+v", res)
		}
		if !res.KnowsServer || res.ServerCPU != time.Second {
			t.Errorf("the server's CPU: %v, %t", res.ServerCPU, res.KnowsServer)
		}
		cfg.Rate = 5
		if res, _ = measure(t, t.Context(), cfg); res.Done != 5 || res.Due != 5 || res.Late != 0 {
			t.Errorf("open loop: %+v", res)
		}
	})
}

// That the server takes its time to say how long it has computed is not taken for measured time.
func TestServerCPUTakesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{
			Dial: pipes(t, answering(8, func(i int, b []byte) ([]byte, error) {
				time.Sleep(100 * time.Millisecond)
				return nil, nil
			})),
			Mode: Stream, Connections: 1, Size: 8, Duration: time.Second, Timeout: time.Second,
			ServerCPU: func() (time.Duration, error) { time.Sleep(800 * time.Millisecond); return 0, nil },
		}
		res, _ := measure(t, t.Context(), cfg)
		if res.Elapsed != time.Second || res.Done < 9 || res.Done > 11 {
			t.Errorf("%d messages in %v; want 10 in a second", res.Done, res.Elapsed)
		}
	})
}

// Servers that are no echo servers are found out, in a bounded time.
func TestHostileServers(t *testing.T) {
	const size = 100
	nothing := errors.New("no more")
	for _, test := range []struct {
		name   string
		serve  func(net.Conn)
		modes  []Mode
		kind   Kind
		says   string
		within time.Duration
	}{
		{"silent", func(c net.Conn) { io.Copy(io.Discard, c) }, []Mode{Echo, Request}, NoAnswer, "0 of 100 bytes had come back: ", 3 * time.Second},
		{"never reads", func(c net.Conn) { time.Sleep(time.Hour) }, []Mode{Echo, Request}, NoAnswer, "0 of 100 bytes", 3 * time.Second},
		{"takes no stream", func(c net.Conn) { time.Sleep(time.Hour) }, []Mode{Stream}, Stalled, "took nothing", 3 * time.Second},
		{"closes", func(c net.Conn) {}, []Mode{Echo, Request, Stream}, Closed, "", 3 * time.Second},
		{"closes after a part", answering(size, func(_ int, b []byte) ([]byte, error) { return b[:40], nothing }),
			[]Mode{Echo, Request}, Closed, "closed after 40 of 100 bytes had come back", 0},
		{"sends less", answering(size, func(_ int, b []byte) ([]byte, error) { return b[:40], nil }),
			[]Mode{Echo, Request}, NoAnswer, "40 of 100 bytes had come back: ", 3 * time.Second},
		{"sends more", answering(size, func(_ int, b []byte) ([]byte, error) { return append(b[:size:size], 1), nil }),
			[]Mode{Echo, Request}, Excess, "more has come than the 100 bytes that were sent", 0},
		{"sends garbage", func(c net.Conn) { c.Read(make([]byte, size)); fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			[]Mode{Echo, Request}, Mismatch, `byte 0 of an answer was 0x48 in place of 0x01; what came begins with "HTTP/1.1 400 Bad Request"`, 0},
		{"alters a byte", answering(size, func(_ int, b []byte) ([]byte, error) { b[77]++; return b, nil }),
			[]Mode{Echo, Request}, Mismatch, "byte 77 of an answer was ", 0},
		{"says the first again", func() func(net.Conn) {
			var first []byte
			return answering(size, func(i int, b []byte) ([]byte, error) {
				if i == 0 {
					first = append(first, b...)
				}
				return first, nil
			})
		}(), []Mode{Echo}, Mismatch, "byte 0 of an answer was 0x01 in place of 0x02", 0},
	} {
		for _, mode := range test.modes {
			t.Run(test.name+"/"+string(mode), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					res, took := measure(t, t.Context(), Config{
						Dial: pipes(t, test.serve),
						Mode: mode, Connections: 1, Size: size, Duration: time.Second, Timeout: 2 * time.Second,
					})
					if len(res.Errors) != 1 || res.Errors[0].Kind != test.kind {
						t.Fatalf("errors %v, want %s", res.Errors, test.kind)
					}
					if text := res.Errors[0].First.Error(); !strings.Contains(text, test.says) {
						t.Errorf("the error says %q, want %q", text, test.says)
					}
					if took > test.within && mode == Echo || took > 5*time.Second {
						t.Errorf("it took %v, want at most %v", took, test.within)
					}
				})
			})
		}
	}
}

// An interruption ends at once what is under way, and what was measured so far counts.
func TestInterrupt(t *testing.T) {
	for _, mode := range []Mode{Echo, Connect, Request, Stream} {
		for _, rate := range []float64{0, 1} {
			if mode == Stream && rate > 0 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(2500*time.Millisecond, cancel)
				res, took := measure(t, ctx, Config{
					Dial: pipes(t, func(c net.Conn) {
						buf := make([]byte, 64)
						for {
							n, err := c.Read(buf)
							if err != nil {
								return
							}
							time.Sleep(time.Second) // the second is under way when it ends
							c.Write(buf[:n])
						}
					}),
					Mode: mode, Connections: 1, Size: 64, Duration: time.Minute, Timeout: time.Minute, Rate: rate,
				})
				if !res.Interrupted || took != 2500*time.Millisecond || res.Elapsed.Round(10*time.Millisecond) != took || res.Failed() != 0 || res.Done == 0 {
					t.Errorf("%s, %v a second: after %v: %+v", mode, rate, took, res)
				}
			})
		}
	}
}

// A dial that fails beforehand is the run's error, and says which one it was.
func TestConnectionThatIsNotMade(t *testing.T) {
	refused := errors.New("refused")
	_, err := Run(t.Context(), Config{
		Dial: func(context.Context) (net.Conn, error) { return nil, refused },
		Mode: Echo, Connections: 3, Size: 1, Duration: time.Second, Timeout: time.Second,
	})
	if !errors.Is(err, refused) || !strings.Contains(err.Error(), " of 3: refused") {
		t.Errorf("the error is %v", err)
	}
}

// Everything is done that there is to do, over real sockets, with messages of all sizes.
func TestRealSockets(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		if network == "unix" && !sockettest.HasFiles {
			continue
		}
		at := "127.0.0.1:0"
		if network == "unix" {
			at = sockettest.Name(t)
		}
		l, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() { defer c.Close(); io.Copy(c, c) })
			}
		})
		dial := func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		}
		for _, mode := range []Mode{Echo, Request, Connect, Stream} {
			for _, size := range []int{1, 7, 8, 64, atOnce, atOnce + 1, piece + 1, 1<<20 + 3} {
				for _, rate := range []float64{0, 2000} {
					if mode == Connect && size != 64 || mode == Stream && rate > 0 {
						continue
					}
					if network == "tcp" && !mode.Lasts() && rate == 0 {
						continue // each connection keeps a port for a while, which other tests might want
					}
					res, err := Run(t.Context(), Config{
						Dial: dial, Mode: mode, Connections: 3, Size: size, Rate: rate,
						Warmup: time.Millisecond, Duration: 20 * time.Millisecond, Timeout: sockettest.Long(),
					})
					if err != nil {
						t.Fatal(err)
					}
					if res.Failed() > 0 && res.Errors[0].Kind != Stalled { // a slow machine may schedule the server too late
						t.Errorf("%s, %s of %d bytes at %v: %v", network, mode, size, rate, res.Errors)
					}
				}
			}
		}
		l.Close()
		all.Wait()
	}
}

// What is recorded is right to three digits, costs no memory, and the extremes are exact.
func TestRecorder(t *testing.T) {
	r := newRecorder(3)
	for i := 1; i <= 1000; i++ {
		r.shard(i).record(time.Duration(i) * time.Millisecond)
	}
	res := new(Result)
	r.sum(res)
	l := res.Latency
	for _, p := range []struct {
		name      string
		got, want time.Duration
	}{{"p50", l.P50, 500}, {"p90", l.P90, 900}, {"p99", l.P99, 990}, {"p99.9", l.P999, 999}} {
		if want := p.want * time.Millisecond; p.got < want || p.got > want+want/1000 {
			t.Errorf("%s is %v, want %v and at most a thousandth more", p.name, p.got, want)
		}
	}
	if l.Max != time.Second || l.Mean != 500500*time.Microsecond || res.Done != 1000 {
		t.Errorf("max %v, mean %v of %d", l.Max, l.Mean, res.Done)
	}

	s := r.shard(0)
	if n := testing.AllocsPerRun(1000, func() { s.record(time.Millisecond); s.record(-1); s.record(48 * time.Hour); s.recordLate() }); n > 0 {
		t.Errorf("recording allocates %v times", n)
	}
	res = new(Result)
	if r.sum(res); res.Latency.Max != 48*time.Hour {
		t.Errorf("max %v, want 48 h", res.Latency.Max)
	}

	res = new(Result)
	newRecorder(1).sum(res)
	if res.Latency.Max != 0 || res.Latency.P50 != 0 || res.Latency.Mean != 0 {
		t.Errorf("of nothing: %+v", res.Latency)
	}
}

// An exchange allocates nothing.
func TestExchangeAllocatesNothing(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	ended := sockettest.Go(func() error { _, err := io.Copy(there, there); there.Close(); return err })
	r := &run{Config: Config{Mode: Echo, Size: 64}, pattern: make([]byte, piece), rec: newRecorder(1), began: time.Now()}
	w := newWorker(r, 0)
	if n := testing.AllocsPerRun(100, func() {
		if err := w.exchange(here); err != nil {
			t.Error(err)
		}
		w.did(0)
	}); n > 0 {
		t.Errorf("an exchange allocates %v times", n)
	}
	here.Close()
	sockettest.Done(t, "the server ends", ended)
}

func FuzzCheck(f *testing.F) {
	f.Add(100, 0, []byte("x"))
	f.Add(70000, 65530, []byte("0123456789"))
	f.Fuzz(func(t *testing.T, size, offset int, got []byte) {
		if size < 1 || size > 4*piece || offset < 0 || offset > size || len(got) > size-offset {
			return
		}
		pattern := make([]byte, piece)
		for i := range pattern {
			pattern[i] = byte(i * 7)
		}
		m := newMessage(pattern, size, 1)
		m.next()
		var whole buffer
		m.writeTo(&whole)
		err := m.check(got, offset)
		if same := string(got) == string(whole[offset:offset+len(got)]); same != (err == nil) {
			t.Fatalf("alike: %t, and the error is %v", same, err)
		}
		if err := m.check(whole[offset:], offset); err != nil {
			t.Fatalf("the message itself: %v", err)
		}
	})
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }
