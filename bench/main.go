// Command bench measures this library's servers beside their peers, on the same work, in one run: see README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	runtime.LockOSThread() // the children end with the thread that has started them
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	rounds := flags.Int("rounds", 5, "how often each server is measured; the tables show medians")
	length := flags.Duration("time", 1500*time.Millisecond, "how long one measurement takes, after a warm-up of a quarter of it")
	quick := flags.Bool("quick", false, "two minutes: 3 rounds of 250ms, the most telling measures, C, Go's net and this library")
	servers := flags.String("servers", "", "only these servers, separated by commas; the first two are the bases of the ratios")
	only := flags.String("only", "", "only measures whose names contain one of these words, separated by commas")
	from := flags.String("from", "", "measure nothing: show what an earlier run has written with -json")
	to := flags.String("json", "", "write all figures to this file")
	readme := flags.String("readme", "", "put the tables into this file, between its lines <!-- bench:begin --> and <!-- bench:end -->")
	flags.Parse(args)
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag: bench takes flags only", flags.Arg(0))
	case *rounds < 1 || *length < 10*time.Millisecond:
		return fmt.Errorf("rounds is %d and time %v: at least 1 and 10ms", *rounds, *length)
	}
	var r *results
	if *from != "" {
		r = new(results)
		b, err := os.ReadFile(*from)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, r); err != nil {
			return fmt.Errorf("%s was not written by -json: %w", *from, err)
		}
	} else {
		ms, ss := measures, allServers
		if *quick {
			*rounds, *length = 3, 250*time.Millisecond
			ms = slices.DeleteFunc(slices.Clone(ms), func(m measure) bool { return !m.quick })
			ss = slices.DeleteFunc(slices.Clone(ss), func(s server) bool { return !s.quick })
		}
		var err error
		if ss, err = chooseServers(ss, *servers); err != nil {
			return err
		}
		if ms = chooseMeasures(ms, *only); len(ms) == 0 {
			return fmt.Errorf("no measure's name contains %q", *only)
		}
		if r, err = measureAll(ss, ms, *rounds, *length); err != nil {
			return err
		}
	}
	text := r.markdown()
	fmt.Print(text)
	if *to != "" {
		b, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*to, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if *readme != "" {
		return replaceBetween(*readme, text)
	}
	return nil
}

func chooseServers(all []server, names string) ([]server, error) {
	if names == "" {
		return all, nil
	}
	var chosen []server
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(allServers, func(s server) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no server %q: there are %s", name, serverNames(allServers))
		}
		chosen = append(chosen, allServers[i])
	}
	return chosen, nil
}

func chooseMeasures(all []measure, words string) []measure {
	return slices.DeleteFunc(slices.Clone(all), func(m measure) bool {
		for word := range strings.SplitSeq(words, ",") {
			if strings.Contains(m.name, word) {
				return false
			}
		}
		return true
	})
}

// measureAll measures in rounds: each measure on every server in turn, so that what the machine does meanwhile hits all alike.
func measureAll(ss []server, ms []measure, rounds int, length time.Duration) (*results, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := build(dir, ss); err != nil {
		return nil, err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	r := &results{Machine: describe(), Rounds: rounds, Time: length.String()}
	r.LoadBefore = loadAverage()
	for _, s := range ss {
		if s.missing != "" {
			r.Missing = append(r.Missing, s.name+": "+s.missing)
			fmt.Fprintln(os.Stderr, "left out:", s.name+":", s.missing)
			continue
		}
		r.Servers = append(r.Servers, s.name)
	}
	for i, m := range ms {
		fmt.Fprintf(os.Stderr, "%d of %d: %s\n", i+1, len(ms), m.name)
		row := row{Measure: m.name, Figures: make(map[string][]figures)}
		for range rounds {
			for _, s := range ss {
				if s.missing != "" {
					continue
				}
				select {
				case <-interrupted:
					return nil, fmt.Errorf("interrupted")
				default:
				}
				f, err := m.take(dir, s, length)
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", m.name, s.name, err)
				}
				row.Figures[s.name] = append(row.Figures[s.name], f)
			}
		}
		r.Rows = append(r.Rows, row)
	}
	r.LoadAfter = loadAverage()
	return r, nil
}
