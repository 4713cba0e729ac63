package main

import (
	"fmt"
	"strings"
)

// A measure is one kind of work. Its name is what tables and flags say.
type measure struct {
	name   string
	about  string // a few words for tables
	mode   string // what the server is asked to do
	load   string // what the load is asked to do
	conns  int    // connections; 0: one, or one after another
	active int    // of these have something in flight; 0: all
	shared bool   // both ends on one core
	quick  bool   // part of --quick
}

var measures = []measure{
	{name: "pp1", about: "64-byte echo, 1 connection, both ends on one core", mode: "echo", load: "ping", shared: true, quick: true},
	{name: "echo10", about: "64-byte echo, 10 connections", mode: "echo", load: "echo", conns: 10},
	{name: "echo100", about: "64-byte echo, 100 connections", mode: "echo", load: "echo", conns: 100, quick: true},
	{name: "echo1000", about: "64-byte echo, 1,000 connections", mode: "echo", load: "echo", conns: 1000, quick: true},
	{name: "echo10000", about: "64-byte echo, 10,000 connections", mode: "echo", load: "echo", conns: 10000},
	{name: "sparse", about: "64-byte echo, 10 busy of 10,000 connections", mode: "echo", load: "echo", conns: 10000, active: 10},
	{name: "stream", about: "64 KiB writes from the client", mode: "sink", load: "stream", quick: true},
	{name: "stream1", about: "the same, both ends on one core", mode: "sink", load: "stream", shared: true},
	{name: "push64", about: "64-byte messages from the server", mode: "push", load: "push", quick: true},
	{name: "conn", about: "connect; the server closes", mode: "close", load: "conn", quick: true},
	{name: "connreq", about: "connect, one echo, close", mode: "echo", load: "connreq", quick: true},
	{name: "idle", about: "memory of an idle connection, after one echo", mode: "echo", load: "idle", quick: true},
}

// echoes are the measures of the same work over more and more connections. One connection alone is measured otherwise.
var echoes = []string{"echo10", "echo100", "echo1000", "echo10000"}

func findMeasure(name string) (measure, bool) {
	for _, m := range measures {
		if m.name == name {
			return m, true
		}
	}
	return measure{}, false
}

// selectNamed returns those of all whose name is in the comma-separated list, in all's order; all of them if the list is empty.
func selectNamed[T any](what, list string, all []T, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := make(map[string]bool)
	for w := range strings.SplitSeq(list, ",") {
		wanted[strings.TrimSpace(w)] = true
	}
	var chosen []T
	var names []string
	for _, t := range all {
		names = append(names, name(t))
		if wanted[name(t)] {
			chosen = append(chosen, t)
			delete(wanted, name(t))
		}
	}
	for w := range wanted {
		return nil, fmt.Errorf("there is no %s %q: it is one of %s", what, w, strings.Join(names, ", "))
	}
	return chosen, nil
}
