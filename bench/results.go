package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"time"
)

// Results is all that a run of the benchmark found; --json keeps it, and --from reads it.
type Results struct {
	Format  int       `json:"format"`
	Command string    `json:"command"` // what to call for the same figures
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Machine Machine   `json:"machine"`
	Rounds  int       `json:"rounds"`
	Turns   int       `json:"turns"`              // of a server at a measure in a round
	WarmMS  int       `json:"warm_ms"`            // of each turn
	RunMS   int       `json:"run_ms"`             // of each turn
	SliceMS int       `json:"slice_ms,omitempty"` // of most turns' slices; 0: turns had none
	Servers []Peer    `json:"servers"`
	LeftOut []Peer    `json:"left_out"` // servers and measures
	Runs    []Run     `json:"runs"`
}

const resultsFormat = 1

// A Peer is a server as a run knows it, or a measure that it could not take.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Why     string `json:"why,omitempty"` // of one that was left out
}

// A Run is one turn of one server at one measure in one round.
type Run struct {
	Round     int    `json:"round"` // from 1
	Transport string `json:"transport"`
	Measure   string `json:"measure"`
	Server    string `json:"server"`
	Error     string `json:"error,omitempty"`

	Ops       uint64 `json:"ops,omitempty"`
	NS        uint64 `json:"ns,omitempty"`            // how long they took
	CPU       uint64 `json:"cpu_ns,omitempty"`        // the server's processor time for them
	ClientCPU uint64 `json:"client_cpu_ns,omitempty"` // the load's
	P50       uint64 `json:"p50_ns,omitempty"`
	P99       uint64 `json:"p99_ns,omitempty"`

	Conns int   `json:"conns,omitempty"`        // idle: how many connections the following are of
	RSS   int64 `json:"rss_bytes,omitempty"`    // by how much the server's resident memory grew
	InUse int64 `json:"in_use_bytes,omitempty"` // by how much its heap and stacks in use grew, after a collection
	Heap  bool  `json:"in_use_known,omitempty"` // whether the server can say that

	Turn   int     `json:"turn,omitempty"` // in the round, from 1
	Slices []Slice `json:"slices,omitempty"`
}

// A Slice is a part of a turn, that was measured by itself.
type Slice struct {
	Ops uint64 `json:"ops"`
	NS  uint64 `json:"ns"`
	CPU uint64 `json:"cpu_ns"`
}

// A kind is one figure of a run.
type kind int

const (
	cpu   kind = iota // the server's processor time for one operation, in nanoseconds
	rate              // operations in a second
	p50               // nanoseconds
	p99               // nanoseconds
	inUse             // bytes of heap and stacks a connection
	rss               // bytes of resident memory a connection
)

// value returns a figure of the run, and whether it has that.
func (r Run) value(k kind) (float64, bool) {
	switch {
	case r.Error != "":
	case k == cpu && r.Ops > 0:
		return float64(r.CPU) / float64(r.Ops), true
	case k == rate && r.NS > 0:
		return float64(r.Ops) / float64(r.NS) * 1e9, true
	case k == p50 && r.P50 > 0:
		return float64(r.P50), true
	case k == p99 && r.P99 > 0:
		return float64(r.P99), true
	case k == inUse && r.Conns > 0 && r.Heap:
		return float64(r.InUse) / float64(r.Conns), true
	case k == rss && r.Conns > 0:
		return float64(r.RSS) / float64(r.Conns), true
	}
	return 0, false
}

// samples returns all that the run has of a figure: one value for each slice where that can be, else one or none.
func (r Run) samples(k kind) (all []float64) {
	if k == cpu || k == rate {
		for _, s := range r.Slices {
			if v, ok := (Run{Error: r.Error, Ops: s.Ops, NS: s.NS, CPU: s.CPU}).value(k); ok {
				all = append(all, v)
			}
		}
		if len(r.Slices) > 0 {
			return all
		}
	}
	if v, ok := r.value(k); ok {
		all = append(all, v)
	}
	return all
}

// runsOf returns a server's turns at a measure.
func (r *Results) runsOf(transport, measure, server string) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for _, run := range r.Runs {
			if run.Transport == transport && run.Measure == measure && run.Server == server && !yield(run) {
				return
			}
		}
	}
}

// rounds returns a figure of a server at a measure, by round: the median of all that its turns gave there.
func (r *Results) rounds(transport, measure, server string, k kind) map[int]float64 {
	all := make(map[int][]float64)
	for run := range r.runsOf(transport, measure, server) {
		all[run.Round] = append(all[run.Round], run.samples(k)...)
	}
	by := make(map[int]float64)
	for round, v := range all {
		if s := summarize(v); s.ok() {
			by[round] = s.median
		}
	}
	return by
}

// figure sums up a figure over the rounds.
func (r *Results) figure(transport, measure, server string, k kind) stat {
	var v []float64
	for _, x := range r.rounds(transport, measure, server, k) {
		v = append(v, x)
	}
	return summarize(v)
}

// ratio sums up the same-turn ratios of two servers' figures.
func (r *Results) ratio(transport, measure, server, base string, k kind) stat {
	return ratios(r.byTurn(transport, measure, server, k), r.byTurn(transport, measure, base, k))
}

// byTurn returns a figure of a server at a measure, by turn: the median of all that the turn gave.
func (r *Results) byTurn(transport, measure, server string, k kind) map[turn]float64 {
	by := make(map[turn]float64)
	for run := range r.runsOf(transport, measure, server) {
		if s := summarize(run.samples(k)); s.ok() {
			by[turn{run.Round, run.Turn}] = s.median
		}
	}
	return by
}

// transports returns the transports that were measured, in the order of the tables.
func (r *Results) transports() []string {
	var t []string
	for _, name := range transports {
		for _, run := range r.Runs {
			if run.Transport == name {
				t = append(t, name)
				break
			}
		}
	}
	return t
}

func (r *Results) save(file string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

func load(file string) (*Results, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(Results)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s is no result of this benchmark: %w", file, err)
	}
	if r.Format != resultsFormat {
		return nil, fmt.Errorf("%s has format %d, this program reads %d", file, r.Format, resultsFormat)
	}
	r.Turns = max(r.Turns, 1) // before there were turns each server had one
	return r, nil
}
