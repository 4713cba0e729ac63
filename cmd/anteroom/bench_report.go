package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"anteroom/cmd/anteroom/internal/load"
)

// A measured is what was measured, and how.
type measured struct {
	address string
	kind    selfKind // of the server, with --self
	cfg     load.Config
	res     *load.Result
}

// what says what was done.
func (m *measured) what() string {
	size := fmt.Sprintf("%d bytes", m.cfg.Size)
	if m.cfg.Size == 1 {
		size = "1 byte"
	}
	switch m.cfg.Mode {
	case load.Connect:
		return "connect and close"
	case load.Request:
		return "connect, echo of " + size + ", close,"
	case load.Stream:
		return "stream in writes of " + size
	}
	return "echo of " + size
}

// print prints a measurement for people.
func (m *measured) print(out io.Writer) error {
	r := m.res
	cut := ""
	if r.Interrupted {
		cut = ", interrupted"
	}
	conns := fmt.Sprintf("%d connections", m.cfg.Connections)
	if m.cfg.Connections == 1 {
		conns = "1 connection"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s, %s%s, %v%s\n\n", m.what(), m.address, conns, rateText(m.cfg.Rate), roundly(r.Elapsed), cut)

	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	noun := map[load.Mode]string{load.Connect: "connections", load.Stream: "writes"}[m.cfg.Mode]
	if noun == "" {
		noun = "requests"
	}
	one := strings.TrimSuffix(noun, "s")
	fmt.Fprintf(&b, "%-11s %d, %s a second", noun, r.Done, brief(r.PerSecond(r.Done)))
	if m.cfg.Rate > 0 {
		fmt.Fprintf(&b, "; %d were due, %d late, %d unsent", r.Due, r.Late, r.Unsent)
	}
	b.WriteString("\n")
	switch {
	case m.cfg.Mode == load.Stream:
		fmt.Fprintf(&b, "bytes       %s taken, %s came back\n", byteRate(r.PerSecond(r.Sent)), byteRate(r.PerSecond(r.Received)))
	case m.cfg.Mode.Asks():
		fmt.Fprintf(&b, "bytes       %s each way\n", byteRate(r.PerSecond(r.Sent)))
	}
	if m.timed() {
		fmt.Fprintln(t, "          \tP50\tP90\tP99\tP99.9\tMAX\tMEAN")
		l := r.Latency
		fmt.Fprintln(t, strings.Join([]string{"latency", short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max), short(l.Mean)}, "\t"))
		t.Flush()
	}
	if r.KnowsClient && r.Done > 0 && r.Elapsed > 0 {
		fmt.Fprintf(&b, "client CPU  %s a %s, %s cores\n", short(r.ClientCPU/time.Duration(r.Done)), one, brief(r.ClientCPU.Seconds()/r.Elapsed.Seconds()))
	}
	if r.Failed() == 0 {
		b.WriteString("errors      none\n")
	}
	for i, e := range r.Errors {
		label := ""
		if i == 0 {
			label = "errors"
		}
		fmt.Fprintf(&b, "%-10s  %d %s\n", label, e.Count, e.Kind)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// rateText says a rate, if there is one.
func rateText(rate float64) string {
	if rate == 0 {
		return ""
	}
	return ", " + strconv.FormatFloat(rate, 'f', -1, 64) + " requests a second"
}

// timed reports whether there are latencies.
func (m *measured) timed() bool { return m.cfg.Mode != load.Stream && m.res.Done > 0 }

// brief writes three digits of a number, and all that stand before its point.
func brief(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 1:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

func byteRate(f float64) string {
	unit := 0
	for units := "kMG"; f >= 1000 && unit < len(units); unit++ {
		f /= 1000
	}
	return brief(f) + " " + []string{"B/s", "kB/s", "MB/s", "GB/s"}[unit]
}

// short rounds a duration to three digits.
func short(d time.Duration) string {
	step := time.Duration(1)
	for d/step >= 1000 {
		step *= 10
	}
	return d.Round(step).String()
}

// benchObject is a measurement for programs. Its keys are a contract, which the help states.
type benchObject struct {
	Address     *string `json:"address"`
	Transport   *string `json:"transport,omitempty"`
	Server      *string `json:"server,omitempty"`
	Mode        string  `json:"mode"`
	Loop        string  `json:"loop"`
	Connections int     `json:"connections"`
	Size        *int    `json:"size_bytes"`
	Warmup      float64 `json:"warmup_s"`
	Duration    float64 `json:"duration_s"`
	Interrupted bool    `json:"interrupted"`

	Requests          int64   `json:"requests"`
	RequestsPerSecond float64 `json:"requests_per_s"`
	Sent              int64   `json:"sent_bytes"`
	Received          int64   `json:"received_bytes"`
	SentPerSecond     float64 `json:"sent_bytes_per_s"`
	ReceivedPerSecond float64 `json:"received_bytes_per_s"`

	P50  *float64 `json:"latency_p50_us"`
	P90  *float64 `json:"latency_p90_us"`
	P99  *float64 `json:"latency_p99_us"`
	P999 *float64 `json:"latency_p99_9_us"`
	Max  *float64 `json:"latency_max_us"`
	Mean *float64 `json:"latency_mean_us"`

	Rate   *float64 `json:"rate_per_s"`
	Due    *int64   `json:"due"`
	Late   *int64   `json:"late"`
	Unsent *int64   `json:"unsent"`

	ClientCPU        *float64 `json:"client_cpu_s"`
	ClientPerRequest *float64 `json:"client_cpu_us_per_request"`
	*serverCPU

	Errors int64               `json:"errors"`
	ByKind map[load.Kind]int64 `json:"errors_by_kind"`
}

// serverCPU is what only --self knows.
type serverCPU struct {
	ServerCPU        *float64 `json:"server_cpu_s"`
	ServerPerRequest *float64 `json:"server_cpu_us_per_request"`
}

func (m *measured) object() benchObject {
	r, timed, open := m.res, m.timed(), m.cfg.Rate > 0
	us := func(d time.Duration) *float64 { return known(round3(float64(d)/1e3), timed) }
	each := func(d time.Duration, is bool) *float64 {
		return known(round3(float64(d)/1e3/float64(max(r.Done, 1))), is && r.Done > 0)
	}
	o := benchObject{
		Address: known(m.address, m.kind == selfKind{}), Mode: string(m.cfg.Mode), Loop: "closed", Connections: m.cfg.Connections,
		Size: known(m.cfg.Size, m.cfg.Mode != load.Connect), Warmup: m.cfg.Warmup.Seconds(), Duration: r.Elapsed.Seconds(), Interrupted: r.Interrupted,
		Requests: r.Done, RequestsPerSecond: round3(r.PerSecond(r.Done)), Sent: r.Sent, Received: r.Received,
		SentPerSecond: round3(r.PerSecond(r.Sent)), ReceivedPerSecond: round3(r.PerSecond(r.Received)),
		P50: us(r.Latency.P50), P90: us(r.Latency.P90), P99: us(r.Latency.P99), P999: us(r.Latency.P999), Max: us(r.Latency.Max), Mean: us(r.Latency.Mean),
		Rate: known(m.cfg.Rate, open), Due: known(r.Due, open), Late: known(r.Late, open), Unsent: known(r.Unsent, open),
		ClientCPU: known(r.ClientCPU.Seconds(), r.KnowsClient), ClientPerRequest: each(r.ClientCPU, r.KnowsClient),
		Errors: r.Failed(), ByKind: make(map[load.Kind]int64),
	}
	if open {
		o.Loop = "open"
	}
	for _, e := range r.Errors {
		o.ByKind[e.Kind] = e.Count
	}
	if (m.kind != selfKind{}) {
		o.Transport, o.Server = &m.kind.transport, &m.kind.style
		o.serverCPU = &serverCPU{known(r.ServerCPU.Seconds(), r.KnowsServer), each(r.ServerCPU, r.KnowsServer)}
	}
	return o
}

// writeJSON writes one JSON value.
func writeJSON(out io.Writer, value any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// A bar shows on a terminal how much of the time has passed. One goroutine uses it.
type bar struct {
	out   io.Writer // nil: nowhere
	index int       // of how many measurements this is
	of    int
	label string
	shown bool
}

const barWidth = 30

// newBar makes a bar on stderr, if that is a terminal and words are wanted.
func newBar(w *world, v *voice) *bar {
	b := &bar{of: 1}
	if f, ok := w.stderr.(*os.File); ok && !v.quiet && os.Getenv("TERM") != "dumb" && isTyped(f) {
		b.out = w.stderr
	}
	return b
}

func (b *bar) show(part float64, done int64) {
	if b.out == nil {
		return
	}
	b.shown = true
	fmt.Fprintf(b.out, "\r%s", b.text(part, done))
}

// text returns the bar's line, of a width that does not change.
func (b *bar) text(part float64, done int64) string {
	full := int((float64(b.index) + part) / float64(b.of) * barWidth)
	line := fmt.Sprintf("[%-*s] %3.0f%%  %d  %s", barWidth, strings.Repeat("=", full), (float64(b.index)+part)/float64(b.of)*100, done, b.label)
	return fmt.Sprintf("%-70.70s", line)
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.shown {
		fmt.Fprintf(b.out, "\r%70s\r", "")
		b.shown = false
	}
}
