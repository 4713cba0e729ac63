// Package load measures a server with clients of its own: how often and how fast it answers, how many connections it lets in, and how much
// it takes. It knows nothing of addresses, and prints nothing.
//
// Requests are sent in a closed loop, each when the answer to the one before has come, or, with a rate, in an open one: at times that are
// fixed beforehand, and from which latencies count. So a server that stands still for a second has kept all those waiting that were due
// meanwhile, and the percentiles say so; a closed loop would have seen one slow answer.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Mode says what is done again and again.
type Mode string

const (
	Echo    Mode = "echo"    // send a message, and wait until all of it has come back; the connections last
	Connect Mode = "connect" // connect, and close
	Request Mode = "connreq" // connect, send a message, wait until it has come back, and close
	Stream  Mode = "stream"  // send as much as is taken; what comes back is read and thrown away
)

// Asks reports whether messages must come back.
func (m Mode) Asks() bool { return m == Echo || m == Request }

// Lasts reports whether the connections are made beforehand, and last.
func (m Mode) Lasts() bool { return m == Echo || m == Stream }

// A Config says what is measured, and how. All but ServerCPU and Progress must be set.
type Config struct {
	// Dial makes a connection. It may be called by several goroutines at once, and must return soon after its context has ended.
	Dial func(context.Context) (net.Conn, error)

	Mode        Mode
	Connections int           // how many there are at once, at least 1
	Size        int           // of a message in bytes, at least 1; Connect sends none
	Warmup      time.Duration // is run before, and not counted; may be 0
	Duration    time.Duration // is measured
	Timeout     time.Duration // how long a connection is waited for, an answer of Request, and at the end the answers that are missing
	Rate        float64       // requests a second over all connections, in an open loop; 0: a closed one. Not for Stream.

	// ServerCPU says how long the server has computed so far. It is asked when the measurement begins, and when it ends, on Run's goroutine.
	ServerCPU func() (time.Duration, error)
	// Progress is told ten times a second, on Run's goroutine, which part of the time has passed, the warm-up counted, and what
	// Result.Done will be so far.
	Progress func(part float64, done int64)

	sleep func(time.Duration) // of a test, by which requests are sent in time
}

// A Result is what was measured. A request counts if it began, or in an open loop was due, in the measured time, whenever its answer came;
// errors count from the beginning.
type Result struct {
	Elapsed     time.Duration // the measured time; 0: it has not begun
	Interrupted bool          // the context has ended it early

	Done           int64 // requests that were answered as they should; of Connect connections, of Stream whole messages that were taken
	Sent, Received int64 // the messages' bytes

	// Latency is of what was done; Stream has none. The percentiles are at most 0.1 percent too high, Max and Mean are exact.
	Latency struct{ P50, P90, P99, P999, Max, Mean time.Duration }

	Due    int64 // of an open loop: requests that should have been sent in the measured time
	Late   int64 // of those: sent more than a millisecond too late, since no connection was free, or this process was not scheduled
	Unsent int64 // of those: not sent at all, since no connection was free until the end

	Errors []ErrorCount // by kind, the most frequent one first; after an error of Echo or Stream its connection is closed, and not made again

	ClientCPU, ServerCPU     time.Duration // computed in the measured time by this process, which is the clients, and by the server
	KnowsClient, KnowsServer bool          // whether they are known
}

// Failed returns how many errors there were.
func (r *Result) Failed() (n int64) {
	for _, e := range r.Errors {
		n += e.Count
	}
	return n
}

// PerSecond returns how often something was done, of which there were n.
func (r *Result) PerSecond(n int64) float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(n) / r.Elapsed.Seconds()
}

// tooLate is by how much a request may miss its time before it counts as late.
const tooLate = time.Millisecond

// A run is one measurement. Times are since began.
type run struct {
	Config
	ctx     context.Context // ends when nothing is waited for any more
	pattern []byte
	rec     *recorder
	due     chan time.Duration // of an open loop: when a request is due that nobody has sent yet

	began             time.Time
	begin, end, limit time.Duration // of the measured time, and of all waiting
	stopped           atomic.Bool   // nothing is begun any more
	workers           []*worker
}

// Run measures. It returns an error if a connection that lasts could not be made, or the context has ended before all were there; what goes
// wrong later is in the result. Once those connections are made, each within the timeout, it returns at the latest when the warm-up, the
// duration and the timeout have passed; and in any case soon after the context has ended.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if cfg.sleep == nil {
		cfg.sleep = sleep
	}
	r := &run{Config: cfg, pattern: make([]byte, piece), rec: newRecorder(runtime.GOMAXPROCS(0))}
	seed := rand.New(rand.NewPCG(1, 2))
	for i := range r.pattern {
		r.pattern[i] = byte(seed.Uint32())
	}
	for i := range cfg.Connections {
		r.workers = append(r.workers, newWorker(r, i))
	}
	if cfg.Mode.Lasts() {
		defer r.close()
		if err := r.connect(ctx); err != nil {
			return nil, err
		}
	}
	return r.measure(ctx), nil
}

// connect makes the connections that last.
func (r *run) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(64, len(r.workers)) {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(r.workers) {
					return
				}
				c, err := r.dial(ctx)
				if err != nil {
					if len(r.workers) > 1 {
						err = fmt.Errorf("connection %d of %d: %w", i+1, len(r.workers), err)
					}
					cancel(err)
					return
				}
				r.workers[i].conn = c
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// dial makes a connection in time.
func (r *run) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.Dial(ctx)
}

func (r *run) close() {
	for _, w := range r.workers {
		if w.conn != nil {
			w.conn.Close()
		}
	}
}

// now returns the time since the run began.
func (r *run) now() time.Duration { return time.Since(r.began) }

// measure runs the workers until the end.
func (r *run) measure(ctx context.Context) *Result {
	r.began = time.Now()
	r.begin = r.Warmup
	r.end = r.begin + r.Duration
	r.limit = r.end + r.Timeout
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithDeadline(ctx, r.began.Add(r.limit))
	defer cancel()

	var p *pacer
	var pacing sync.WaitGroup
	paced, stopPacing := context.WithCancel(r.ctx)
	defer stopPacing()
	if r.Rate > 0 {
		r.due = make(chan time.Duration)
		p = &pacer{schedule: scheduleOf(r.Rate), out: r.due, now: r.now, begin: r.begin, end: r.end, stop: paced.Done(), sleep: r.sleep}
	}
	var working sync.WaitGroup
	for _, w := range r.workers {
		working.Go(w.work)
	}
	if p != nil {
		pacing.Go(p.run)
	}
	ended := make(chan struct{})
	go func() {
		working.Wait()
		close(ended)
	}()

	res := new(Result)
	begin, end := time.NewTimer(r.begin-r.now()), time.NewTimer(r.end-r.now())
	tick := time.NewTicker(100 * time.Millisecond)
	defer begin.Stop()
	defer end.Stop()
	defer tick.Stop()
	var from, to mark
	interrupt := ctx.Done()
	for running := true; running; {
		select {
		case <-begin.C:
			if !from.made {
				from = r.mark()
			}
		case <-end.C:
			if !from.made {
				from = r.mark()
			}
			to = r.mark()
			r.stopped.Store(true)
		case <-interrupt:
			interrupt = nil
			r.cut()
			stopPacing()
		case <-tick.C:
			if r.Progress != nil {
				r.Progress(min(1, float64(r.now())/float64(r.end)), r.done())
			}
		case <-ended:
			running = false
		}
	}
	stopPacing()
	pacing.Wait()
	res.Interrupted = ctx.Err() != nil && !to.made
	if r.now() < r.begin { // which can only be when all has ended early
		from = mark{}
	} else if !from.made {
		from = r.mark()
	}
	if from.made && !to.made {
		to = r.mark()
	}
	r.sum(res, from, to, p)
	return res
}

// cut ends the run now: what is under way is not waited for, and no error.
func (r *run) cut() {
	r.stopped.Store(true)
	for _, w := range r.workers {
		w.cut()
	}
}

// A mark is what there was when the measurement began, or ended.
type mark struct {
	made                      bool
	at                        time.Duration
	clientCPU, serverCPU      time.Duration
	knowsClient, knowsServer  bool
	streamedOut, streamedBack int64
}

func (r *run) mark() mark {
	m := mark{made: true, at: r.now()}
	m.clientCPU, m.knowsClient = CPUTime()
	if r.Mode == Stream {
		for _, w := range r.workers {
			out := w.sent.Load()
			if m.at < r.end {
				w.sentBefore.Store(out)
			}
			m.streamedOut += out
			m.streamedBack += w.received.Load()
		}
	}
	if r.ServerCPU != nil { // last: a server that is at work may take its time
		var err error
		m.serverCPU, err = r.ServerCPU()
		m.knowsServer = err == nil
	}
	return m
}

// done returns what Result.Done will be so far.
func (r *run) done() int64 {
	if r.Mode != Stream {
		return r.rec.done()
	}
	var n int64
	for _, w := range r.workers {
		n += w.sent.Load() - w.sentBefore.Load()
	}
	return n / int64(r.Size)
}

// sum fills in what was measured between two marks.
func (r *run) sum(res *Result, from, to mark, p *pacer) {
	r.rec.sum(res)
	if !from.made {
		return
	}
	res.ClientCPU, res.KnowsClient = to.clientCPU-from.clientCPU, from.knowsClient && to.knowsClient
	res.ServerCPU, res.KnowsServer = to.serverCPU-from.serverCPU, from.knowsServer && to.knowsServer
	if r.Mode == Stream {
		res.Elapsed = to.at - from.at
		res.Sent, res.Received = to.streamedOut-from.streamedOut, to.streamedBack-from.streamedBack
		res.Done = res.Sent / int64(r.Size)
		return
	}
	res.Elapsed = min(to.at, r.end) - r.begin
	if r.Mode.Asks() {
		res.Sent = res.Done * int64(r.Size)
		res.Received = res.Sent
	}
	if p != nil {
		res.Due = p.before(min(to.at, r.end)) - p.before(r.begin)
		res.Unsent = max(0, res.Due-p.handed)
	}
}
