package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Progress tells people how far the benchmark is: on a terminal in one line that changes, elsewhere once for each round and measure.
type progress struct {
	w        io.Writer
	terminal bool
	start    time.Time
	last     string
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, start: time.Now()}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			p.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return p
}

// done is told of each run, the i-th of n from 0.
func (p *progress) done(i, n int, r Run) {
	if r.Error != "" {
		p.clear()
		fmt.Fprintf(p.w, "failed: %s, round %d: %s\n", r.label(), r.Round, r.Error)
	}
	spent := time.Since(p.start)
	left := (spent / time.Duration(i+1) * time.Duration(n-i-1)).Round(time.Second)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%d/%d  round %d  %s  %v left", i+1, n, r.Round, r.label(), left)
		return
	}
	if now := fmt.Sprintf("round %d: %s", r.Round, r.Measure); now != p.last {
		p.last = now
		fmt.Fprintf(p.w, "%s (%d/%d, %v left)\n", now, i+1, n, left)
	}
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) end() {
	p.clear()
	fmt.Fprintf(p.w, "measured for %v\n", time.Since(p.start).Round(time.Second))
}
