package main

import (
	"math"
	"testing"
)

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   stat
	}{
		{"nothing", nil, stat{}},
		{"one", []float64{3}, stat{3, 3, 3, 1}},
		{"odd", []float64{9, 1, 4}, stat{4, 1, 9, 3}},
		{"even: the mean of the middle two", []float64{8, 1, 2, 4}, stat{3, 1, 8, 4}},
		{"what is not finite is left out", []float64{math.NaN(), 2, math.Inf(1)}, stat{2, 2, 2, 1}},
	} {
		if got := summarize(c.values); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestSummarizeLeavesItsArgumentAlone(t *testing.T) {
	v := []float64{3, 1, 2}
	summarize(v)
	if v[0] != 3 || v[1] != 1 {
		t.Errorf("the values are %v now", v)
	}
}

// The ratio is the median of the rounds' ratios, and theirs of their turns', and not a ratio of medians.
func TestRatiosAreOfOneTurn(t *testing.T) {
	of := map[turn]float64{{1, 1}: 10, {2, 1}: 200, {2, 2}: 3, {2, 3}: 50, {3, 1}: 36, {3, 2}: 1, {5, 1}: 1}
	base := map[turn]float64{{1, 1}: 10, {2, 1}: 50, {2, 2}: 3, {2, 3}: 25, {3, 1}: 12, {3, 3}: 1, {4, 1}: 1, {6, 1}: 0}
	if got, want := ratios(of, base), (stat{2, 1, 3, 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := ratios(map[turn]float64{{1, 1}: 5}, map[turn]float64{{1, 1}: 0}); got.ok() {
		t.Errorf("a ratio to nothing is %+v", got)
	}
}
