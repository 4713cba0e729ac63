package main

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
)

func TestParseAddress(t *testing.T) {
	if _, err := local.FullServerName("name"); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", "/tmp")
	abstract := runtime.GOOS == "linux"
	tests := []struct {
		in         string
		name, full string // "": refused
		hint       string
	}{
		{in: "fortune", name: "fortune", full: "/tmp/fortune"},
		{in: "a/b", name: "a/b", full: "/tmp/a/b"},
		{in: "/run/x", name: "/run/x", full: "/run/x"},
		{in: "org.example:app", name: "org.example:app", full: "/tmp/org.example:app"},
		{in: "tcp", name: "tcp", full: "/tmp/tcp"},
		{in: "name with spaces", name: "name with spaces", full: "/tmp/name with spaces"},
		{in: "local:fortune", name: "fortune", full: "/tmp/fortune"},
		{in: "local:/run/x", name: "/run/x", full: "/run/x"},
		{in: "local:tcp:h:80", name: "tcp:h:80", full: "/tmp/tcp:h:80"},
		{in: "local:local:x", name: "local:x", full: "/tmp/local:x"},
		{in: "local:-", name: "-", full: "/tmp/-"},
		{in: `local:\\.\pipe\x`, name: `\\.\pipe\x`, full: `/tmp/\\.\pipe\x`},
		{in: ""},
		{in: "local:"},
		{in: "@"},
		{in: "a\x00b"},
		{in: strings.Repeat("x", 300)},
		{in: "tcp:localhost:80", hint: "local:tcp:localhost:80"},
		{in: "TCP:localhost:80", hint: "local:TCP:localhost:80"},
		{in: "tcp:", hint: "local:tcp:"},
		{in: "tls:h:1", hint: "local:tls:h:1"},
		{in: "fd:3", hint: "local:fd:3"},
		{in: "systemd:web", hint: "local:systemd:web"},
		{in: "exec:cat", hint: "local:exec:cat"},
		{in: "pipe:x", hint: "local:pipe:x"},
		{in: "unix:/x", name: "/x", full: "/x"},
		{in: "unix:///run//x", name: "/run/x", full: "/run/x"},
		{in: "UNIX:/x", name: "/x", full: "/x"},
		{in: "unix:", hint: "local:unix:"},
		{in: "unix:@x", hint: "local:unix:@x"},
		{in: "-", hint: "local:-"},
		{in: `\\.\pipe\x`, hint: `local:\\.\pipe\x`},
		{in: `\\host\pipe\x`, hint: `local:\\host\pipe\x`},
	}
	if !sockettest.HasFiles {
		for i, test := range tests {
			switch {
			case test.in == `\\.\pipe\x`:
				tests[i].name, tests[i].full, tests[i].hint = test.in, test.in, ""
			case strings.EqualFold(test.in[:min(len(test.in), 6)], "unix:/"):
				tests[i].full, tests[i].hint = "", "local:"+test.in // there are no such sockets
			case test.full != "":
				tests[i].full = `\\.\pipe\` + strings.TrimPrefix(test.name, `\\.\pipe\`)
			}
		}
	}
	if abstract {
		tests = append(tests, tests[0])
		tests[len(tests)-1].in, tests[len(tests)-1].name, tests[len(tests)-1].full = "@x", "@x", "@x"
	}
	for _, test := range tests {
		t.Run(test.in, func(t *testing.T) {
			a, f := parseAddress(test.in, localName)
			if test.full != "" {
				if f != nil {
					t.Fatal(f)
				}
				if a.name != test.name || a.full != test.full {
					t.Errorf("got %q, %q, want %q, %q", a.name, a.full, test.name, test.full)
				}
				return
			}
			if f == nil {
				t.Fatalf("got %q, %q, want a failure", a.name, a.full)
			}
			if f.status != exitUsage {
				t.Errorf("status %d, want %d", f.status, exitUsage)
			}
			if hints := strings.Join(f.hints, " "); !strings.HasSuffix(hints, test.hint) || (hints == "") != (test.hint == "") {
				t.Errorf("hints %q, want %q", f.hints, test.hint)
			}
		})
	}
}

func TestParseAddressKinds(t *testing.T) {
	tests := []struct {
		in   string
		kind kind
		says string // ParseAddress of it is the same
	}{
		{"tcp:localhost:80", tcpPort, "tcp:localhost:80"},
		{"TCP:localhost:80", tcpPort, "tcp:localhost:80"},
		{"tcp:localhost:http", tcpPort, "tcp:localhost:80"},
		{"tcp:[::1]:80", tcpPort, "tcp:[::1]:80"},
		{"tcp:[fe80::1%eth0]:80", tcpPort, "tcp:[fe80::1%eth0]:80"},
		{"tcp::0", tcpPort, "tcp::0"},
		{"tcp::65535", tcpPort, "tcp::65535"},
		{"fd:0", descriptor, "fd:0"},
		{"fd:003", descriptor, "fd:3"},
		{"systemd:", activated, "systemd:"},
		{"Systemd:web", activated, "systemd:web"},
		{"-", stdio, "-"},
		{"tcp:", 0, ""},
		{"tcp:80", 0, ""},
		{"tcp:localhost", 0, ""},
		{"tcp:localhost:", 0, ""},
		{"tcp:localhost:65536", 0, ""},
		{"tcp:localhost:-1", 0, ""},
		{"tcp:localhost:no-such-service", 0, ""},
		{"tcp:::1:80", 0, ""},
		{"tcp://localhost:80", 0, ""},
		{"tcp:local host:80", 0, ""},
		{"fd:", 0, ""},
		{"fd:-1", 0, ""},
		{"fd:x", 0, ""},
		{"fd:4294967296", 0, ""},
	}
	for _, test := range tests {
		a, f := parseAddress(test.in, everyKind)
		switch {
		case test.kind == 0 && (f == nil || f.status != exitUsage || len(f.hints) != 1):
			t.Errorf("%s: %+v, %+v", test.in, a, f)
		case test.kind != 0 && (f != nil || a.kind != test.kind || a.String() != test.says):
			t.Errorf("%s: %v, %+v, %v", test.in, a, a, f)
		}
		if f == nil {
			if _, f := parseAddress(test.in, everyKind&^test.kind); f == nil {
				t.Errorf("%s is taken where it is not wanted", test.in)
			}
		}
	}
}

const everyKind = toServe | toConnect | stdio

// FuzzParseAddress looks for an address that means two things, or for which local: does not help.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"", "-", "x", "/x", "@x", "local:x", "local:local:x", "tcp:h:80", "TCP:", ":", `\\.\pipe\x`, "a\x00b", "./x", "fd:3",
		"unix:/x", "unix:x", "systemd:a", "tcp:[::1]:http", "tcp:[a%b]:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		full, err := local.FullServerName(s)
		forced, forcedFailed := parseAddress(localScheme+s, localName)
		switch {
		case (err == nil) != (forcedFailed == nil):
			t.Fatalf("local:%q: %v, and the name: %v", s, forcedFailed, err)
		case err == nil && (forced.name != s || forced.full != full):
			t.Fatalf("local:%q means %+v, want %q", s, forced, full)
		}
		if err == nil {
			if again, failed := parseAddress(forced.operand(), everyKind); failed != nil || again != forced || forced.operand()[0] == '-' {
				t.Fatalf("%q means %+v, and is written as %q: %+v, %v", s, forced, forced.operand(), again, failed)
			}
		}
		a, failed := parseAddress(s, everyKind)
		if failed != nil {
			if failed.status != exitUsage || failed.err == nil {
				t.Fatalf("%q: status %d, %v", s, failed.status, failed.err)
			}
			return
		}
		if a.kind != localName {
			if again, failed := parseAddress(a.String(), everyKind); failed != nil || again != a {
				t.Fatalf("%q means %+v, and what it says, %s, %+v, %v", s, a, a, again, failed)
			}
			return
		}
		if scheme, _, found := strings.Cut(s, ":"); found && strings.EqualFold(scheme, unixScheme) {
			if a.name != a.full || !strings.HasPrefix(a.full, "/") {
				t.Fatalf("%q means %+v, which is no path", s, a)
			}
			return
		}
		if want := strings.TrimPrefix(s, localScheme); a.name != want {
			t.Fatalf("%q means the name %q", s, a.name)
		}
		if sockettest.HasFiles && !strings.HasPrefix(a.full, "/") && !strings.HasPrefix(a.full, "@") && os.Getenv("TMPDIR") == "" {
			t.Fatalf("%q is %q", s, a.full)
		}
	})
}
