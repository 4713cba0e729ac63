package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
)

// rewriteReadmes puts tables and plots into this directory's README.md, and a few figures and a plot into the one above if that has the marks.
func (r *Results) rewriteReadmes(dir string, log io.Writer) error {
	plots := r.plots()
	plotDir := filepath.Join(dir, "plots")
	if err := os.MkdirAll(plotDir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(plotDir, "*.svg"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if plots[filepath.Base(file)] == "" {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	for name, svg := range plots {
		if err := os.WriteFile(filepath.Join(plotDir, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	if err := rewrite(filepath.Join(dir, "README.md"), r.details(plots)); err != nil {
		return err
	}
	err = rewrite(filepath.Join(dir, "..", "README.md"), r.summary(plots))
	if errors.Is(err, errNoMarks) || errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(log, "left alone: the README above: %v\n", err)
		return nil
	}
	return err
}

var errNoMarks = errors.New("it has no lines " + beginMark + " and " + endMark)

// rewrite replaces what stands between the marks of a file.
func rewrite(file, text string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	now, err := between(string(data), text)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return os.WriteFile(file, []byte(now), 0o644)
}

// between returns a document with text between its marks, which stand on lines of their own.
func between(document, text string) (string, error) {
	head, rest, ok := strings.Cut(document, beginMark+"\n")
	if !ok {
		return "", errNoMarks
	}
	_, foot, ok := strings.Cut(rest, endMark)
	if !ok {
		return "", errNoMarks
	}
	return head + beginMark + "\n\n" + strings.TrimSpace(text) + "\n\n" + endMark + foot, nil
}

// details is what this directory's README.md shows.
func (r *Results) details(plots map[string]string) string {
	var b strings.Builder
	for _, line := range r.about() {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	fmt.Fprintln(&b)
	captions := []struct{ name, alt string }{
		{"echo-unix.svg", "Server CPU per echo against the number of connections, Unix sockets"},
		{"echo-tcp.svg", "Server CPU per echo against the number of connections, TCP"},
		{"cpu-unix.svg", "Server CPU per operation, Unix sockets"},
		{"cpu-tcp.svg", "Server CPU per operation, TCP"},
		{"memory.svg", "Memory of an idle connection"},
	}
	for _, c := range captions {
		if plots[c.name] != "" {
			fmt.Fprintf(&b, "![%s](plots/%s)\n\n", c.alt, c.name)
		}
	}
	for _, t := range r.tables() {
		t.writeMarkdown(&b, "###")
	}
	return b.String()
}

// summary is what the project's README.md shows: for each server but loop-callbacks, what an echo, a connection and an idle connection cost.
func (r *Results) summary(plots map[string]string) string {
	var b strings.Builder
	shown := []string{"echo100", "echo1000", "conn"}
	t := table{head: []string{"server CPU, µs"}}
	for _, tr := range r.transports() {
		for _, m := range shown {
			t.head = append(t.head, tr+" "+m)
		}
		t.head = append(t.head, tr+" idle, bytes")
	}
	for _, s := range r.Servers {
		if s.Name == "loop-callbacks" {
			continue
		}
		row := []string{s.Name}
		for _, tr := range r.transports() {
			for _, m := range shown {
				row = append(row, cell(r.figure(tr, m, s.Name, cpu), 1e3))
			}
			row = append(row, whole(r.figure(tr, "idle", s.Name, rss)))
		}
		if slices.ContainsFunc(row[1:], func(c string) bool { return c != missing }) {
			t.rows = append(t.rows, row)
		}
	}
	t.writeRows(&b)
	if plots["echo-unix.svg"] != "" {
		fmt.Fprint(&b, "![Server CPU per echo against the number of connections, Unix sockets](bench/plots/echo-unix.svg)\n\n")
	}
	if lines := r.about(); len(lines) > 0 {
		fmt.Fprintf(&b, "%s. All figures, and what they mean: [bench/README.md](bench/README.md).\n", lines[0])
	}
	return b.String()
}
