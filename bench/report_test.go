package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample returns results of every server at every measure, in three rounds: the n-th server needs n µs an operation, and n KB a connection.
func sample() *Results {
	r := &Results{Format: resultsFormat, Command: "go run .", Start: time.Unix(1e9, 0).UTC(), End: time.Unix(1e9+60, 0).UTC(), Rounds: 3, Turns: 1, RunMS: 100, WarmMS: 30,
		Machine: Machine{Kernel: "6.1", CPU: "a <CPU> & more", Cores: 2, Commit: "abc", Go: "go1"},
		LeftOut: []Peer{{Name: "gone", Why: "no compiler"}}}
	for i, s := range servers() {
		n := uint64(i + 1)
		r.Servers = append(r.Servers, Peer{Name: s.name})
		for round := 1; round <= 3; round++ {
			for _, tr := range transports {
				for _, m := range measures {
					run := Run{Round: round, Turn: 1, Transport: tr, Measure: m.name, Server: s.name}
					switch {
					case s.only != "" && s.only != m.name:
						continue
					case m.load == "idle":
						run.Conns, run.RSS, run.Heap, run.InUse = 10, int64(n)*10000, s.heap, int64(n)*9000
					default:
						run.Ops, run.NS, run.CPU, run.P50, run.P99 = 1000, 1e9/n, n*1e6, 5000, 9000
					}
					r.Runs = append(r.Runs, run)
				}
			}
		}
	}
	return r
}

func TestFigures(t *testing.T) {
	r := sample()
	for _, c := range []struct {
		what string
		got  stat
		want float64
	}{
		{"CPU", r.figure("unix", "echo100", "c-level", cpu), 2000},
		{"rate", r.figure("tcp", "echo100", "c-level", rate), 2000},
		{"p99", r.figure("tcp", "pp1", "go-net", p99), 9000},
		{"resident", r.figure("tcp", "idle", "go-net", rss), 3000},
		{"in use", r.figure("tcp", "idle", "go-net", inUse), 2700},
		{"ratio", r.ratio("unix", "conn", "anteroom-loop", "c-level", cpu), 2},
	} {
		if c.got.n != 3 || c.got.median != c.want {
			t.Errorf("%s: %+v, want %v of 3 rounds", c.what, c.got, c.want)
		}
	}
	for _, run := range r.Runs {
		if run.Round == 1 {
			of := func(times uint64) Slice { return Slice{run.Ops, run.NS, times * run.CPU} }
			run.Turn, run.Slices, run.CPU = 2, []Slice{of(3), of(3), of(50)}, 56*run.CPU
			r.Runs = append(r.Runs, run)
		}
	}
	if f := r.figure("unix", "echo100", "c-level", cpu); f.n != 3 || f.max != 6000 {
		t.Errorf("%+v; want a round to be the median of a turn of 2000 and of slices of 6000, 6000 and 100,000", f)
	}
	if f := r.figure("unix", "echo100", "c-level", p99); f.n != 3 || f.max != 9000 {
		t.Errorf("p99 is %+v, want 9000", f)
	}
	if f := r.figure("unix", "idle", "go-net", rss); f.n != 3 {
		t.Errorf("slices have taken the memory: %+v", f)
	}
	if f := r.ratio("unix", "echo100", "c-level", "c-epoll", cpu); f.n != 3 || f.min != 2 || f.max != 2 {
		t.Errorf("the ratio is %+v, want 2", f)
	}
	r = sample()
	if f := r.figure("unix", "idle", "c-epoll", inUse); f.ok() {
		t.Errorf("C says what is in use: %+v", f)
	}
	r.Runs[0].Error = "broken"
	if f := r.figure("unix", "pp1", "c-epoll", cpu); f.n != 2 {
		t.Errorf("a run that failed counts: %+v", f)
	}
}

func TestResultsSurviveTheirFile(t *testing.T) {
	r := sample()
	file := filepath.Join(t.TempDir(), "r.json")
	if err := r.save(file); err != nil {
		t.Fatal(err)
	}
	got, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Error("they were changed")
	}
	os.WriteFile(file, []byte(`{"format": 1, "rounds": 5}`), 0o644)
	if got, err = load(file); err != nil || got.Turns != 1 {
		t.Errorf("of results from before there were turns: %+v, %v; want one turn", got, err)
	}
	os.WriteFile(file, []byte(`{"format": 99}`), 0o644)
	if _, err := load(file); err == nil {
		t.Error("a file of another format was taken")
	}
}

func TestTables(t *testing.T) {
	all := sample().tables()
	if len(all) != 10 {
		t.Errorf("%d tables, want 4 for each transport, memory and bars", len(all))
	}
	for _, tab := range all {
		for _, row := range tab.rows {
			if len(row) != len(tab.head) {
				t.Errorf("%s: a row of %d cells under %d", tab.title, len(row), len(tab.head))
			}
		}
		var text, markdown bytes.Buffer
		tab.writeText(&text)
		tab.writeMarkdown(&markdown, "###")
		if n := strings.Count(text.String(), "\n"); n < len(tab.rows)+3 {
			t.Errorf("%s: %d lines of text", tab.title, n)
		}
		if !strings.Contains(markdown.String(), "|---|---:|") {
			t.Errorf("%s is no Markdown table", tab.title)
		}
	}
	if got := (&Results{}).tables(); len(got) != 0 {
		t.Errorf("there are tables of nothing: %v", got)
	}
}

func TestSignificant(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0123: "0.012", 0.9999: "1.00", 1.234: "1.23", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 1234.5: "1,234", 1234567: "1,234,567", -1500: "-1,500"} {
		if got := significant(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestEveryBarNamesWhatIsMeasured(t *testing.T) {
	known := make(map[string]bool)
	for _, s := range servers() {
		known[s.name] = true
	}
	for _, v := range sample().judge() {
		if _, ok := findMeasure(v.measure); !ok || !known[v.server] || v.base != "" && !known[v.base] || !v.found.ok() {
			t.Errorf("%s: nothing measures that", v.what())
		}
	}
}

func TestBarsAreMetUpToTheirLimit(t *testing.T) {
	at := func(v float64) stat { return stat{v, v, v, 1} }
	most, least := bar{limit: 1.1}, bar{limit: 10, atLeast: true}
	for _, c := range []struct {
		v    verdict
		want bool
	}{
		{verdict{bar: most, found: at(1.1)}, true},
		{verdict{bar: most, found: at(1.11)}, false},
		{verdict{bar: least, found: at(10)}, true},
		{verdict{bar: least, found: at(9.9)}, false},
	} {
		if c.v.met() != c.want {
			t.Errorf("%s wanted, %s found: met is %v", c.v.want(), c.v.got(), c.v.met())
		}
	}
}

func TestCheckNamesWhatWasMissed(t *testing.T) {
	r := sample()
	err := check(r) // the fourth server against the first: 4.00
	if err == nil || !strings.Contains(err.Error(), "unix echo10: CPU of anteroom-loop / c-epoll: ≤ 1.10 wanted, 4.00") {
		t.Errorf("check says %v", err)
	}
	if err := check(&Results{}); err == nil {
		t.Error("nothing was measured, and all is well")
	}
	for i := range r.Runs { // all need the same, and anteroom pushes quicker
		run := &r.Runs[i]
		run.CPU, run.InUse = 1, 1
		if run.Measure == "push64" && run.Server == "anteroom-loop" {
			run.NS = 1e7
		}
		if run.Measure == "push64" && run.Server == "go-net" {
			run.NS = 1e9
		}
		if strings.HasPrefix(run.Server, "anteroom") {
			run.CPU, run.Ops = 1, 10000
		}
	}
	if err := check(r); err != nil {
		t.Error(err)
	}
}

func TestPlotsAreSmallAndWellFormed(t *testing.T) {
	plots := sample().plots()
	for _, name := range []string{"cpu-unix.svg", "cpu-tcp.svg", "echo-unix.svg", "echo-tcp.svg", "memory.svg"} {
		if plots[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	for name, svg := range plots {
		if len(svg) > 20<<10 {
			t.Errorf("%s has %d bytes", name, len(svg))
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%s has coordinates that are no numbers", name)
		}
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
	if got := (&Results{}).plots(); len(got) != 0 {
		t.Errorf("there are plots of nothing: %d", len(got))
	}
}

func TestPlotsEscapeText(t *testing.T) {
	svg := barPlot("a < b & c", "", []panel{{title: "<>", bars: []plotBar{{"x&y", 0, "0"}}}})
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Error(err)
	}
}

func TestSpread(t *testing.T) {
	at := []float64{10, 12, 13, 98, 99}
	spread(at, 10, 100)
	for i := range at {
		if at[i] > 100 || i > 0 && at[i]-at[i-1] < 10 {
			t.Fatalf("they are at %v", at)
		}
	}
}

func TestBetween(t *testing.T) {
	doc := "head\n" + beginMark + "\nold\n" + endMark + "\nfoot\n"
	got, err := between(doc, "new\n\n")
	if want := "head\n" + beginMark + "\n\nnew\n\n" + endMark + "\nfoot\n"; err != nil || got != want {
		t.Errorf("%q %v, want %q", got, err, want)
	}
	if again, err := between(got, "new"); err != nil || again != got {
		t.Errorf("a second time it is %q %v", again, err)
	}
	for _, doc := range []string{"", beginMark + "\n", endMark + "\n" + beginMark + "\n"} {
		if _, err := between(doc, "new"); !errors.Is(err, errNoMarks) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestRewriteReadmes(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "bench")
	os.MkdirAll(filepath.Join(dir, "plots"), 0o755)
	os.WriteFile(filepath.Join(dir, "plots", "old.svg"), nil, 0o644)
	marks := beginMark + "\n" + endMark + "\n"
	for _, file := range []string{filepath.Join(dir, "README.md"), filepath.Join(above, "README.md")} {
		os.WriteFile(file, []byte(marks), 0o644)
	}
	if err := sample().rewriteReadmes(dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "README.md"):           "### Server CPU per operation in µs, TCP",
		filepath.Join(above, "README.md"):         "bench/plots/echo-unix.svg",
		filepath.Join(dir, "plots", "memory.svg"): "<svg",
	} {
		if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, %d bytes, without %q", filepath.Base(file), err, len(data), want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "plots", "old.svg")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a plot of an earlier run is still there")
	}
	os.WriteFile(filepath.Join(above, "README.md"), []byte("no marks\n"), 0o644)
	if err := sample().rewriteReadmes(dir, io.Discard); err != nil {
		t.Errorf("a README above without marks: %v", err)
	}
}
