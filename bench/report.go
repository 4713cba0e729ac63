package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Results are all that a run has measured.
type results struct {
	Machine               string
	LoadBefore, LoadAfter string
	Rounds                int
	Time                  string
	Servers, Missing      []string
	Rows                  []row
}

type row struct {
	Measure string
	Figures map[string][]figures // by server, one for each round
}

// median returns the middle one, or the mean of the two in the middle. It is 0 for none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func each(fs []figures, of func(figures) float64) (v []float64) {
	for _, f := range fs {
		v = append(v, of(f))
	}
	return v
}

// ratio returns the median of the ratios in the same round.
func ratio(a, b []figures, of func(figures) float64) float64 {
	var v []float64
	for i := range min(len(a), len(b)) {
		if d := of(b[i]); d > 0 {
			v = append(v, of(a[i])/d)
		}
	}
	return median(v)
}

func cpuOf(f figures) float64    { return f.CPU }
func memoryOf(f figures) float64 { return f.Memory }

// markdown returns the tables: CPU an operation first, with its ratios to the first two servers, since it is what survives noise.
func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.Machine)
	fmt.Fprintf(&b, "Medians of %d rounds of %s. Load average before %s, after %s.\n", r.Rounds, r.Time, r.LoadBefore, r.LoadAfter)
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "\nLeft out: %s.\n", m)
	}
	r.table(&b, "Server CPU, nanoseconds an operation; in brackets as parts of "+strings.Join(r.Servers[:min(2, len(r.Servers))], "'s and of ")+"'s", cpuOf, true)
	r.table(&b, "Operations a second, in thousands (stream: 64 KiB each)", func(f figures) float64 { return f.Rate / 1000 }, false)
	r.table(&b, "Latency as the client sees it, half of the operations within so many microseconds", func(f figures) float64 { return f.P50 / 1000 }, false)
	r.table(&b, "Latency, 99 of 100 within so many microseconds", func(f figures) float64 { return f.P99 / 1000 }, false)
	r.table(&b, "Resident memory, bytes a connection that is idle after one echo", memoryOf, false)
	return b.String()
}

func (r *results) table(b *strings.Builder, title string, of func(figures) float64, ratios bool) {
	head := false
	for _, row := range r.Rows {
		if slices.Max(append(each(row.Figures[r.Servers[0]], of), 0)) == 0 {
			continue // the measure has no such figure
		}
		if !head {
			head = true
			fmt.Fprintf(b, "\n%s:\n\n| | %s |\n|---|%s\n", title, strings.Join(r.Servers, " | "), strings.Repeat("---:|", len(r.Servers)))
		}
		fmt.Fprintf(b, "| %s |", row.Measure)
		for i, name := range r.Servers {
			fmt.Fprintf(b, " %s", figure(median(each(row.Figures[name], of))))
			if ratios {
				var parts []string
				for _, base := range r.Servers[:min(i, 2)] {
					parts = append(parts, fmt.Sprintf("%.2f", ratio(row.Figures[name], row.Figures[base], of)))
				}
				if len(parts) > 0 {
					fmt.Fprintf(b, " (%s)", strings.Join(parts, ", "))
				}
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
}

func figure(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

const begin, end = "<!-- bench:begin -->\n", "<!-- bench:end -->"

// replaceBetween puts text into a file, in place of what stands between the two marks.
func replaceBetween(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", file, strings.TrimSpace(begin), end)
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+text+"\n"+end+after), 0o644)
}

// describe says what was measured, where and when.
func describe() string {
	var u unix.Utsname
	unix.Uname(&u)
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	commit := "unknown commit"
	if out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		commit = "commit " + strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, %s, Linux %s, %s, %d cores, %s.", time.Now().Format(time.DateOnly), commit, unix.ByteSliceToString(u.Release[:]), model, runtime.NumCPU(), runtime.Version())
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
