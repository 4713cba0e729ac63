package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// A table is figures for people: the first column are names, the others are figures.
type table struct {
	title string
	note  string // what to know about the figures
	head  []string
	rows  [][]string
}

// writeText writes the table for a terminal.
func (t table) writeText(w io.Writer) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintf(w, "\n%s\n", t.title)
	if t.note != "" {
		fmt.Fprintf(w, "%s\n", t.note)
	}
	for _, row := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// writeMarkdown writes it for a README.
func (t table) writeMarkdown(w io.Writer, heading string) {
	fmt.Fprintf(w, "%s %s\n\n", heading, t.title)
	if t.note != "" {
		fmt.Fprintf(w, "%s\n\n", t.note)
	}
	t.writeRows(w)
}

func (t table) writeRows(w io.Writer) {
	fmt.Fprintf(w, "| %s |\n|---|%s\n", strings.Join(t.head, " | "), strings.Repeat("---:|", len(t.head)-1))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(w)
}

const missing = "–"

// significant writes a figure with three digits.
func significant(v float64) string {
	switch a := math.Abs(v); {
	case a < 0.0005:
		return "0"
	case a < 0.9995:
		return fmt.Sprintf("%.3f", v)
	case a < 9.995:
		return fmt.Sprintf("%.2f", v)
	case a < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return thousands(v)
}

// thousands writes a whole number with separators.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", math.Abs(v))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if v <= -0.5 {
		s = "-" + s
	}
	return s
}

func ratioText(s stat) string {
	if !s.ok() {
		return missing
	}
	if s.n == 1 {
		return fmt.Sprintf("%.2f", s.median)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.min, s.max)
}

// cell writes a median, divided by unit.
func cell(s stat, unit float64) string {
	if !s.ok() {
		return missing
	}
	return significant(s.median / unit)
}

// whole is cell for what has no fractions, such as bytes.
func whole(s stat) string {
	if !s.ok() {
		return missing
	}
	return thousands(s.median)
}

// transportName is what a transport is called in titles.
func transportName(t string) string {
	return map[string]string{"unix": "Unix sockets", "tcp": "TCP"}[t]
}

// names returns the servers that have such a figure, in order.
func (r *Results) names(transport string, k kind) []string {
	var names []string
	for _, s := range r.Servers {
		for _, run := range r.Runs {
			if _, ok := run.value(k); ok && run.Server == s.Name && run.Transport == transport {
				names = append(names, s.Name)
				break
			}
		}
	}
	return names
}

// grid returns a table of measures by servers. Measures without such a figure have no row.
func (r *Results) grid(transport string, k kind, text func(measure, string) string) table {
	t := table{head: append([]string{"measure"}, r.names(transport, k)...)}
	for _, m := range measures {
		row := []string{m.name}
		for _, s := range t.head[1:] {
			row = append(row, text(m, s))
		}
		if slices.ContainsFunc(row[1:], func(s string) bool { return strings.Trim(s, missing+" /") != "" }) {
			t.rows = append(t.rows, row)
		}
	}
	return t
}

func (r *Results) cpuTable(transport string) table {
	t := r.grid(transport, cpu, func(m measure, s string) string { return cell(r.figure(transport, m.name, s, cpu), 1e3) })
	t.title = "Server CPU per operation in µs, " + transportName(transport)
	t.note = "Smaller is better. Medians over the rounds."
	return t
}

func (r *Results) rateTable(transport string) table {
	t := r.grid(transport, rate, func(m measure, s string) string { return cell(r.figure(transport, m.name, s, rate), 1e3) })
	t.title = "Thousands of operations per second, " + transportName(transport)
	t.note = "Larger is better. Medians over the rounds."
	return t
}

func (r *Results) latencyTable(transport string) table {
	t := r.grid(transport, p50, func(m measure, s string) string {
		return cell(r.figure(transport, m.name, s, p50), 1e3) + " / " + cell(r.figure(transport, m.name, s, p99), 1e3)
	})
	t.title = "Latency in µs, p50 / p99, " + transportName(transport)
	t.note = "Smaller is better. With many connections, all of them in flight, it says how long the queue is: connections divided by the rate."
	return t
}

// ratioTable compares anteroom with the limit, with what most programs in C do, and with Go's net.
func (r *Results) ratioTable(transport string) table {
	pairs := [][2]string{{"anteroom-loop", "c-epoll"}, {"anteroom-loop", "c-level"}, {"anteroom-loop", "go-net"}, {"anteroom", "go-net"}}
	t := table{
		title: "Server CPU of anteroom, as a ratio, " + transportName(transport),
		note:  "Below 1, anteroom needs less. Medians (and ranges) of the rounds' ratios, each the median of its turns' ratios.",
		head:  []string{"measure"},
	}
	for _, p := range pairs {
		t.head = append(t.head, p[0]+" / "+p[1])
	}
	for _, m := range measures {
		row := []string{m.name}
		found := false
		for _, p := range pairs {
			s := r.ratio(transport, m.name, p[0], p[1], cpu)
			found = found || s.ok()
			row = append(row, ratioText(s))
		}
		if found {
			t.rows = append(t.rows, row)
		}
	}
	return t
}

// memoryTable has a row for each server.
func (r *Results) memoryTable() table {
	t := table{
		title: "Memory of an idle connection in bytes",
		note: "What the server's process grows by for each, after one echo; the kernel's own memory is not in it. " +
			"“In use” are the heap and the stacks of Go after a collection.",
		head: []string{"server"},
	}
	for _, tr := range r.transports() {
		t.head = append(t.head, tr+", resident", tr+", in use")
	}
	for _, s := range r.Servers {
		row := []string{s.Name}
		found := false
		for _, tr := range r.transports() {
			for _, k := range []kind{rss, inUse} {
				f := r.figure(tr, "idle", s.Name, k)
				found = found || f.ok()
				row = append(row, whole(f))
			}
		}
		if found {
			t.rows = append(t.rows, row)
		}
	}
	return t
}

// barTable holds the results against what is asked for; what was not measured is left out.
func (r *Results) barTable() table {
	t := table{
		title: "What anteroom is held to",
		note:  "The bars that this benchmark can measure; --check fails if one is missed.",
		head:  []string{"figure", "wanted", "found", ""},
	}
	for _, v := range r.judge() {
		if !v.found.ok() {
			continue
		}
		mark := "met"
		if !v.met() {
			mark = "**missed**"
		}
		t.rows = append(t.rows, []string{v.what(), v.want(), v.got(), mark})
	}
	return t
}

// tables returns all tables in order; those without rows are left out.
func (r *Results) tables() []table {
	var all []table
	for _, tr := range r.transports() {
		all = append(all, r.cpuTable(tr), r.ratioTable(tr))
	}
	for _, tr := range r.transports() {
		all = append(all, r.rateTable(tr))
	}
	for _, tr := range r.transports() {
		all = append(all, r.latencyTable(tr))
	}
	all = append(all, r.memoryTable(), r.barTable())
	return slices.DeleteFunc(all, func(t table) bool { return len(t.rows) == 0 })
}

// about returns lines about the run: when, where, of what.
func (r *Results) about() []string {
	m := r.Machine
	commit := m.Commit
	if commit == "" {
		commit = "unknown"
	}
	if m.Dirty {
		commit += " with changes"
	}
	sliced := ""
	if r.SliceMS > 0 {
		sliced = fmt.Sprintf(" in slices of %d ms", r.SliceMS)
	}
	lines := []string{
		fmt.Sprintf("%s, `%s`, commit %s", r.Start.UTC().Format("2006-01-02 15:04 UTC"), r.Command, commit),
		fmt.Sprintf("rounds: %d; at each measure a server has %d turns of %d ms%s, after %d ms of warming up; took %s", r.Rounds, r.Turns, r.RunMS, sliced, r.WarmMS, r.End.Sub(r.Start).Round(1e9)),
		fmt.Sprintf("Linux %s, %s, %d cores (server on %d, client on %d); a system call takes %.0f ns; load average %s before, %s after; %.1f %% stolen by other machines",
			m.Kernel, m.CPU, m.Cores, m.Server, m.Client, m.Syscall, m.LoadStart, m.LoadEnd, m.Steal),
	}
	versions := []string{m.Go}
	for _, s := range r.Servers {
		if s.Version != "" {
			versions = append(versions, s.Version)
		}
	}
	lines = append(lines, strings.Join(versions, "; "))
	for _, s := range r.LeftOut {
		lines = append(lines, fmt.Sprintf("left out: %s: %s", s.Name, s.Why))
	}
	if n, example := r.failures(); n > 0 {
		lines = append(lines, fmt.Sprintf("%d of %d runs failed, such as %s", n, len(r.Runs), example))
	}
	return lines
}

// failures returns how many runs failed, and one of them in words.
func (r *Results) failures() (n int, example string) {
	for _, run := range r.Runs {
		if run.Error != "" {
			n++
			example = run.label() + ": " + run.Error
		}
	}
	return n, example
}

func (r Run) label() string { return fmt.Sprintf("%s %s %s", r.Transport, r.Measure, r.Server) }
