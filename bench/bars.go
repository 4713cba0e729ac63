package main

import "fmt"

// A bar is something that anteroom must reach, in the median of the rounds. base is the server to compare with in the same round, "" for an
// absolute figure.
type bar struct {
	server, base string
	figure       kind
	transport    string
	measures     []string
	limit        float64
	atLeast      bool // or else at most
}

// The bars that the project holds itself to, as far as this benchmark can measure them. The others (system calls, allocations, other goroutines beside
// a loop) are the business of the packages' own tests and benchmarks.
var bars = []bar{
	// Loops: 64-byte echo at most 1.10 times raw C epoll's processor time, one connection alone 1.35 and 1.15.
	{server: "anteroom-loop", base: "c-epoll", transport: "unix", measures: []string{"echo10", "echo100", "echo1000", "echo10000", "sparse"}, limit: 1.10},
	{server: "anteroom-loop", base: "c-epoll", transport: "tcp", measures: []string{"echo10", "echo100", "echo1000", "echo10000", "sparse"}, limit: 1.10},
	{server: "anteroom-loop", base: "c-epoll", transport: "unix", measures: []string{"pp1"}, limit: 1.35},
	{server: "anteroom-loop", base: "c-epoll", transport: "tcp", measures: []string{"pp1"}, limit: 1.15},
	// Against Go's net.
	{server: "anteroom-loop", base: "go-net", transport: "unix", measures: []string{"echo10"}, limit: 0.72},
	{server: "anteroom-loop", base: "go-net", transport: "unix", measures: []string{"echo100"}, limit: 0.80},
	{server: "anteroom-loop", base: "go-net", transport: "unix", measures: []string{"echo1000"}, limit: 0.58},
	{server: "anteroom-loop", base: "go-net", transport: "unix", measures: []string{"echo10000"}, limit: 0.55},
	{server: "anteroom-loop", base: "go-net", transport: "tcp", measures: []string{"echo10"}, limit: 0.90},
	{server: "anteroom-loop", base: "go-net", transport: "tcp", measures: []string{"echo100"}, limit: 0.92},
	{server: "anteroom-loop", base: "go-net", transport: "tcp", measures: []string{"echo1000"}, limit: 0.77},
	{server: "anteroom-loop", base: "go-net", transport: "tcp", measures: []string{"echo10000"}, limit: 0.82},
	// Connect and close on loops.
	{server: "anteroom-loop", base: "c-epoll", transport: "unix", measures: []string{"conn"}, limit: 1.20},
	{server: "anteroom-loop", base: "c-epoll", transport: "tcp", measures: []string{"conn"}, limit: 1.20},
	{server: "anteroom-loop", base: "go-net", transport: "unix", measures: []string{"conn"}, limit: 0.80},
	{server: "anteroom-loop", base: "go-net", transport: "tcp", measures: []string{"conn"}, limit: 0.68},
	// Blocking use: 0.95 of Go's net on Unix up to 1,000 connections, never above it elsewhere; streams within 3 percent.
	{server: "anteroom", base: "go-net", transport: "unix", measures: []string{"pp1", "echo10", "echo100", "echo1000"}, limit: 0.95},
	{server: "anteroom", base: "go-net", transport: "unix", measures: []string{"echo10000", "sparse", "conn"}, limit: 1},
	{server: "anteroom", base: "go-net", transport: "tcp", measures: []string{"pp1", "echo10", "echo100", "echo1000", "echo10000", "sparse", "conn"}, limit: 1},
	{server: "anteroom", base: "go-net", transport: "unix", measures: []string{"stream", "stream1"}, limit: 1.03},
	{server: "anteroom", base: "go-net", transport: "tcp", measures: []string{"stream", "stream1"}, limit: 1.03},
	// An idle connection on a loop.
	{server: "loop-callbacks", figure: inUse, transport: "unix", measures: []string{"idle"}, limit: 256},
	{server: "loop-callbacks", figure: inUse, transport: "tcp", measures: []string{"idle"}, limit: 256},
	// 64-byte messages through WriteBuffered, against one Write each on plain net.
	{server: "anteroom-loop", base: "go-net", figure: rate, transport: "unix", measures: []string{"push64"}, limit: 10, atLeast: true},
	{server: "anteroom-loop", base: "go-net", figure: rate, transport: "tcp", measures: []string{"push64"}, limit: 10, atLeast: true},
}

// A verdict is what became of a bar at one measure. With found.n of 0 it was not measured.
type verdict struct {
	bar
	measure string
	found   stat
}

func (v verdict) met() bool {
	if v.atLeast {
		return v.found.median >= v.limit
	}
	return v.found.median <= v.limit
}

// what says what was compared.
func (v verdict) what() string {
	unit := map[kind]string{cpu: "CPU", rate: "rate", inUse: "heap and stacks"}[v.figure]
	if v.base == "" {
		return fmt.Sprintf("%s %s: %s of %s", v.transport, v.measure, unit, v.server)
	}
	return fmt.Sprintf("%s %s: %s of %s / %s", v.transport, v.measure, unit, v.server, v.base)
}

// want says what is asked for.
func (v verdict) want() string {
	sign := "≤"
	if v.atLeast {
		sign = "≥"
	}
	if v.base == "" {
		return fmt.Sprintf("%s %.0f bytes", sign, v.limit)
	}
	return fmt.Sprintf("%s %.2f", sign, v.limit)
}

// got says what was found.
func (v verdict) got() string {
	if !v.found.ok() {
		return "–"
	}
	if v.base == "" {
		return fmt.Sprintf("%.0f (%.0f–%.0f)", v.found.median, v.found.min, v.found.max)
	}
	return ratioText(v.found)
}

// judge holds the results against the bars.
func (r *Results) judge() []verdict {
	var all []verdict
	for _, b := range bars {
		for _, m := range b.measures {
			v := verdict{bar: b, measure: m}
			if b.base == "" {
				v.found = r.figure(b.transport, m, b.server, b.figure)
			} else {
				v.found = r.ratio(b.transport, m, b.server, b.base, b.figure)
			}
			all = append(all, v)
		}
	}
	return all
}
