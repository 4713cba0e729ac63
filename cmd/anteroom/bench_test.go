package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"anteroom/cmd/anteroom/internal/load"
)

// someMeasured is a measurement of which everything is known.
func someMeasured(mode load.Mode, rate float64) *measured {
	m := &measured{
		address: "/tmp/echo",
		cfg:     load.Config{Mode: mode, Connections: 4, Size: 64, Warmup: 200 * time.Millisecond, Duration: 5 * time.Second, Rate: rate},
		res: &load.Result{
			Elapsed: 5 * time.Second, Done: 500_000, Sent: 32_000_000, Received: 32_000_000,
			Due: 500_010, Late: 7, Unsent: 10,
			ClientCPU: 2 * time.Second, KnowsClient: true, ServerCPU: time.Second, KnowsServer: true,
		},
	}
	l := &m.res.Latency
	l.P50, l.P90, l.P99, l.P999 = 75_123, 102_400, 250_999, 1_020_400
	l.Max, l.Mean = 12_345_678, 80_300
	return m
}

func TestBenchForPeople(t *testing.T) {
	broken := someMeasured(load.Echo, 0)
	broken.res.Interrupted = true
	broken.res.Errors = []load.ErrorCount{{Kind: load.NoAnswer, Count: 12, First: io.EOF}, {Kind: load.Mismatch, Count: 1, First: io.EOF}}
	nothing := someMeasured(load.Request, 0)
	nothing.res = &load.Result{Errors: []load.ErrorCount{{Kind: load.Refused, Count: 1, First: io.EOF}}, KnowsClient: true}
	for _, test := range []struct {
		m    *measured
		want string
	}{
		{someMeasured(load.Echo, 0.5), `
echo of 64 bytes at /tmp/echo, 4 connections, 0.5 requests a second, 5s

requests    500000, 100000 a second; 500010 were due, 7 late, 10 unsent
bytes       6.40 MB/s each way
            P50     P90    P99    P99.9   MAX     MEAN
latency     75.1µs  102µs  251µs  1.02ms  12.3ms  80.3µs
client CPU  4µs a request, 0.4 cores
errors      none
`},
		{broken, `
echo of 64 bytes at /tmp/echo, 4 connections, 5s, interrupted

requests    500000, 100000 a second
bytes       6.40 MB/s each way
            P50     P90    P99    P99.9   MAX     MEAN
latency     75.1µs  102µs  251µs  1.02ms  12.3ms  80.3µs
client CPU  4µs a request, 0.4 cores
errors      12 no_answer
            1 mismatch
`},
		{someMeasured(load.Connect, 0), `
connect and close at /tmp/echo, 4 connections, 5s

connections 500000, 100000 a second
            P50     P90    P99    P99.9   MAX     MEAN
latency     75.1µs  102µs  251µs  1.02ms  12.3ms  80.3µs
client CPU  4µs a connection, 0.4 cores
errors      none
`},
		{someMeasured(load.Stream, 0), `
stream in writes of 64 bytes at /tmp/echo, 4 connections, 5s

writes      500000, 100000 a second
bytes       6.40 MB/s taken, 6.40 MB/s came back
client CPU  4µs a write, 0.4 cores
errors      none
`},
		{nothing, `
connect, echo of 64 bytes, close, at /tmp/echo, 4 connections, 0s

requests    0, 0 a second
bytes       0 B/s each way
errors      1 refused
`},
	} {
		var out strings.Builder
		if err := test.m.print(&out); err != nil || "\n"+out.String() != test.want {
			t.Errorf("%v\n%s\nwant%s", err, out.String(), test.want)
		}
	}
}

// The keys of --json are those that the help states, each in every object: null if it does not apply.
func TestBenchForPrograms(t *testing.T) {
	keys := func(m *measured) map[string]any {
		var b bytes.Buffer
		if err := writeJSON(&b, m.object()); err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if err := json.Unmarshal(b.Bytes(), &all); err != nil {
			t.Fatal(err)
		}
		for key := range all {
			if !regexp.MustCompile(`\b` + key + `\b`).MatchString(helpBench) {
				t.Errorf("the help does not know the key %s", key)
			}
		}
		return all
	}

	m := someMeasured(load.Echo, 1000)
	m.res.Errors = []load.ErrorCount{{Kind: load.Closed, Count: 2, First: io.EOF}}
	want := map[string]any{
		"address": "/tmp/echo", "mode": "echo", "loop": "open", "connections": 4., "size_bytes": 64., "warmup_s": 0.2, "duration_s": 5., "interrupted": false,
		"requests": 500000., "requests_per_s": 100000., "sent_bytes": 32e6, "received_bytes": 32e6, "sent_bytes_per_s": 6.4e6, "received_bytes_per_s": 6.4e6,
		"latency_p50_us": 75.123, "latency_p90_us": 102.4, "latency_p99_us": 250.999, "latency_p99_9_us": 1020.4, "latency_max_us": 12345.678, "latency_mean_us": 80.3,
		"rate_per_s": 1000., "due": 500010., "late": 7., "unsent": 10.,
		"client_cpu_s": 2., "client_cpu_us_per_request": 4., "errors": 2., "errors_by_kind": map[string]any{"closed": 2.},
	}
	if got := keys(m); !reflect.DeepEqual(got, want) {
		t.Errorf("of an address:\n%v, want\n%v", got, want)
	}

	m.kind = selfKind{"tcp", "loops", false}
	want["address"], want["transport"], want["server"], want["server_cpu_s"], want["server_cpu_us_per_request"] = nil, "tcp", "loops", 1., 2.
	if got := keys(m); !reflect.DeepEqual(got, want) {
		t.Errorf("of --self:\n%v, want\n%v", got, want)
	}

	m = someMeasured(load.Connect, 0)
	m.res = new(load.Result)
	got := keys(m)
	for _, key := range []string{"size_bytes", "latency_p50_us", "latency_max_us", "latency_mean_us", "rate_per_s", "due", "late", "unsent",
		"client_cpu_s", "client_cpu_us_per_request"} {
		if value, is := got[key]; !is || value != nil {
			t.Errorf("%s is %v where it does not apply, want null", key, value)
		}
	}
	for _, kind := range []load.Kind{load.Mismatch, load.Excess, load.Closed, load.NoAnswer, load.Stalled, load.Refused, load.ConnectTimeout,
		load.NoDescriptors, load.NoPorts, load.Other} {
		if !strings.Contains(helpBench, string(kind)) {
			t.Errorf("the help does not know the kind %s", kind)
		}
		if kind != load.Other && adviceOn[kind] == "" {
			t.Errorf("there is no advice on %s", kind)
		}
	}
}

func TestBenchFailure(t *testing.T) {
	m := someMeasured(load.Echo, 0)
	if err := m.failure(); err != nil {
		t.Errorf("without an error: %v", err)
	}
	m.res.Errors = []load.ErrorCount{{Kind: load.NoAnswer, Count: 12, First: errors.New("first")}, {Kind: load.Other, Count: 1, First: errors.New("odd")}}
	f, ok := errors.AsType[*failure](m.failure())
	if !ok || f.status != exitPeer || f.Error() != "/tmp/echo: 13 errors: 12 no_answer, 1 other" ||
		!reflect.DeepEqual(f.hints, []string{"no_answer: first", adviceOn[load.NoAnswer], "other: odd"}) {
		t.Errorf("status %d, %v, %q", f.status, f, f.hints)
	}
}

func TestBenchFigures(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 0.0412: "0.0412", 0.5: "0.5", 1: "1.00", 12.34: "12.3", 123.4: "123", 123456.7: "123457"} {
		if got := brief(f); got != want {
			t.Errorf("brief(%v) is %s, want %s", f, got, want)
		}
	}
	for f, want := range map[float64]string{0: "0 B/s", 999: "999 B/s", 7840000: "7.84 MB/s", 3.2e9: "3.20 GB/s", 4e12: "4000 GB/s"} {
		if got := byteRate(f); got != want {
			t.Errorf("byteRate(%v) is %s, want %s", f, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 7: "7ns", 75_123: "75.1µs", 999_999: "1ms", 1_234_567_890: "1.23s", 90 * time.Second: "1m30s"} {
		if got := short(d); got != want {
			t.Errorf("short(%d) is %s, want %s", d, got, want)
		}
	}
}

// The bar goes over itself, and leaves nothing; where there is no terminal there is none.
func TestBenchBar(t *testing.T) {
	var out strings.Builder
	b := newBar(&world{stderr: &out}, &voice{})
	b.show(0.5, 1)
	b.clear()
	if out.Len() > 0 {
		t.Errorf("where there is no terminal it shows %q", out.String())
	}
	b = &bar{out: &out, of: 4, index: 3, label: strings.Repeat("a long label", 10)}
	for _, part := range []float64{0, 0.5, 1} {
		if n := utf8.RuneCountInString(b.text(part, 1<<40)); n != 70 {
			t.Errorf("at %v the bar has %d characters, want 70", part, n)
		}
	}
	b.show(1, 1)
	b.clear()
	if s := out.String(); !strings.HasPrefix(s, "\r["+strings.Repeat("=", barWidth)+"] 100%  1  a long label") || !strings.HasSuffix(s, "\r"+strings.Repeat(" ", 70)+"\r") {
		t.Errorf("the bar shows %q", s)
	}
}
