package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedianAndRatio(t *testing.T) {
	for want, v := range map[float64][]float64{0: nil, 3: {3}, 2.5: {4, 1, 3, 2}, 2: {9, 2, 1}} {
		if got := median(slices.Clone(v)); got != want {
			t.Errorf("median(%v) = %v; want %v", v, got, want)
		}
	}
	a, b := []figures{{CPU: 2}, {CPU: 30}, {CPU: 4}}, []figures{{CPU: 1}, {CPU: 10}, {CPU: 4}}
	if got := ratio(a, b, cpuOf); got != 2 { // of 2, 3 and 1: in the same rounds
		t.Errorf("the ratio is %v; want 2", got)
	}
}

func TestParse(t *testing.T) {
	f, err := parse("1000 500000000 150 250", 2e6)
	if want := (figures{CPU: 2000, Rate: 2000, P50: 150, P99: 250}); err != nil || f != want {
		t.Errorf("%+v, %v; want %+v", f, err, want)
	}
	for _, line := range []string{"", "start", "0 1 0 0", "1 0 0 0", "1 2 3"} {
		if _, err := parse(line, 1); err == nil || !strings.Contains(err.Error(), "OPERATIONS") {
			t.Errorf("%q: %v; want an error that says what was expected", line, err)
		}
	}
}

func TestReplaceBetween(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	os.WriteFile(file, []byte("before\n"+begin+"old\n"+end+"\nafter\n"), 0o644)
	for range 2 { // the second time changes nothing
		if err := replaceBetween(file, "new\n"); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(file); string(b) != "before\n"+begin+"\nnew\n\n"+end+"\nafter\n" {
			t.Errorf("the file is %q", b)
		}
	}
	os.WriteFile(file, []byte("no marks\n"), 0o644)
	if err := replaceBetween(file, "new\n"); err == nil {
		t.Error("a file without marks is changed")
	}
}

// Every measure works on every server that this machine can build.
func TestMeasureAll(t *testing.T) {
	var ms []measure
	for _, m := range measures {
		m.connections, m.active = min(m.connections, 20), min(m.active, 10)
		ms = append(ms, m)
	}
	r, err := measureAll(slices.Clone(allServers), ms, 1, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range r.Missing {
		t.Log("left out:", missing)
	}
	if len(r.Rows) != len(measures) || !slices.Contains(r.Servers, "anteroom-loop") || !slices.Contains(r.Servers, "c-epoll") {
		t.Errorf("%d rows, servers %v", len(r.Rows), r.Servers)
	}
	cpu := make(map[string]float64) // of all measures: in one that is so short the system may have counted none
	for _, row := range r.Rows {
		for name, fs := range row.Figures {
			if idle := strings.HasSuffix(row.Measure, "idle"); len(fs) != 1 || !idle && fs[0].Rate <= 0 {
				t.Fatalf("%s on %s: %+v", row.Measure, name, fs)
			}
			cpu[name] += fs[0].CPU
		}
	}
	for _, name := range r.Servers {
		if cpu[name] <= 0 {
			t.Errorf("%s has used no CPU time", name)
		}
	}
	if text := r.markdown(); !strings.Contains(text, "| unix echo 100 |") || !strings.Contains(text, "c-epoll") {
		t.Errorf("the tables are:\n%s", text)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"word"}, {"-rounds", "0"}, {"-time", "1ms"}, {"-servers", "nobody"}, {"-only", "nothing"}, {"-from", "no such file"}} {
		if err := run(args); err == nil {
			t.Errorf("bench %v does not fail", args)
		}
	}
}
