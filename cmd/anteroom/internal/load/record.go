package load

import (
	"cmp"
	"slices"
	"sync"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"
)

// A recorder counts. Several goroutines may use it. Its memory does not grow with what is recorded, nor with the number of connections.
type recorder struct {
	shards []shard

	mu     sync.Mutex
	errors map[Kind]*ErrorCount
}

// A shard is a part of a recorder for some of the workers, so that not all wait for one lock.
type shard struct {
	mu    sync.Mutex
	hist  *hdrhistogram.Histogram // of latencies, in nanoseconds
	max   time.Duration
	total float64 // of latencies, in nanoseconds
	done  int64
	late  int64
	_     [64]byte // a cache line of its own
}

// longest is the longest latency that is told from longer ones.
const longest = time.Hour

func newRecorder(shards int) *recorder {
	r := &recorder{shards: make([]shard, shards), errors: make(map[Kind]*ErrorCount)}
	for i := range r.shards {
		r.shards[i].hist = newHistogram()
	}
	return r
}

// newHistogram makes a histogram that is right to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(longest), 3) }

// shard returns the one that a worker uses.
func (r *recorder) shard(worker int) *shard { return &r.shards[worker%len(r.shards)] }

// record counts something that was done. It allocates nothing.
func (s *shard) record(latency time.Duration) {
	latency = max(latency, 0)
	s.mu.Lock()
	s.hist.RecordValue(int64(min(latency, longest)))
	s.max = max(s.max, latency)
	s.total += float64(latency)
	s.done++
	s.mu.Unlock()
}

// recordLate counts a request that was sent late.
func (s *shard) recordLate() {
	s.mu.Lock()
	s.late++
	s.mu.Unlock()
}

// fail counts an error.
func (r *recorder) fail(err error) {
	kind := KindOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.errors[kind]; e != nil {
		e.Count++
		return
	}
	r.errors[kind] = &ErrorCount{Kind: kind, Count: 1, First: err}
}

func (r *recorder) done() (n int64) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		n += s.done
		s.mu.Unlock()
	}
	return n
}

// sum fills in what was counted, when nobody counts any more.
func (r *recorder) sum(res *Result) {
	all := newHistogram()
	var total float64
	for i := range r.shards {
		s := &r.shards[i]
		all.Merge(s.hist)
		total += s.total
		res.Latency.Max = max(res.Latency.Max, s.max)
		res.Done += s.done
		res.Late += s.late
	}
	if res.Done > 0 {
		l := &res.Latency
		for _, p := range []struct {
			to      *time.Duration
			percent float64
		}{{&l.P50, 50}, {&l.P90, 90}, {&l.P99, 99}, {&l.P999, 99.9}} {
			*p.to = min(time.Duration(all.ValueAtPercentile(p.percent)), l.Max)
		}
		l.Mean = time.Duration(total / float64(res.Done))
	}
	for _, e := range r.errors {
		res.Errors = append(res.Errors, *e)
	}
	slices.SortFunc(res.Errors, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind))
	})
}
