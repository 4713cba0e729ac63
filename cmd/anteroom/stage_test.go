package main

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestStage(t *testing.T) {
	for _, colours := range []bool{false, true} {
		var out strings.Builder
		s := newStage(&out)
		if s.colours || s.pause != 0 {
			t.Fatal("what is no terminal is taken for one")
		}
		s.colours, s.started = colours, time.Now()
		s.title("Title")
		s.part("Part", strings.Repeat("word ", 30))
		s.event("server", "listening", "on %s", "/a")
		s.event("client 1", "Read", "%s", strings.Repeat("word ", 20))
		s.said("client", "", "so it is")
		s.advice("do", "this")

		text := out.String()
		if strings.Contains(text, "\x1b") != colours {
			t.Errorf("colours are %t: %q", colours, text)
		}
		text = regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(text, "")
		text = regexp.MustCompile(`(?m)^ +\d+\.\d ms`).ReplaceAllString(text, "     0.1 ms")
		want := `
Title

1  Part
   word word word word word word word word word word word word word word word
   word word word word word word word word word word word word word word word

     0.1 ms  server    listening      on /a
     0.1 ms  client 1  Read           word word word word word word word word
                                      word word word word word word word word
                                      word word word word
     0.1 ms  client                   “so it is”
   do                                 this
`
		if text != want {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
	}
}

func TestFortunes(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range fortunes {
		if seen[f] || len([]rune(f)) > stageWidth-tellIndent-2 {
			t.Errorf("%q is told twice, or does not fit in its column", f)
		}
		seen[f] = true
	}
}
