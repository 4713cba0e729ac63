package main

import (
	"math"
	"slices"
)

// A stat sums up what several rounds gave. N is how many; with 0 the others mean nothing.
type stat struct {
	median, min, max float64
	n                int
}

func (s stat) ok() bool { return s.n > 0 }

// summarize returns the median of values, the mean of the middle two if their number is even, and their range. What is not finite is left out.
func summarize(values []float64) stat {
	v := make([]float64, 0, len(values))
	for _, x := range values {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			v = append(v, x)
		}
	}
	if len(v) == 0 {
		return stat{}
	}
	slices.Sort(v)
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (v[len(v)/2-1] + m) / 2
	}
	return stat{median: m, min: v[0], max: v[len(v)-1], n: len(v)}
}

// A turn is one of a round's turns.
type turn struct{ round, number int }

// ratios sums up the rounds' ratios, each of which is the median of the quotients of what one of its turns gave for both.
func ratios(of, base map[turn]float64) stat {
	quotients := make(map[int][]float64)
	for t, x := range of {
		if y, ok := base[t]; ok && y > 0 {
			quotients[t.round] = append(quotients[t.round], x/y)
		}
	}
	var medians []float64
	for _, q := range quotients {
		if s := summarize(q); s.ok() {
			medians = append(medians, s.median)
		}
	}
	return summarize(medians)
}
