package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A stage is where the demo is seen: lines with the time since it began, who did something, and what. Several goroutines may use it.
type stage struct {
	mu      sync.Mutex
	out     io.Writer
	started time.Time // moved by the pauses, which the times leave out
	colours bool
	pause   time.Duration // before each part, for those who read along
	parts   int
	err     error // the first of out's
}

// The columns' widths; texts are broken at stageWidth.
const (
	stageWidth = 80
	whoWidth   = 8
	whatWidth  = 14
	tellIndent = 13 + whoWidth + 2 + whatWidth + 1
)

// The colours are few, and from the sixteen that every theme of a terminal has made readable.
const (
	plain = ""
	bold  = "1"
	faint = "2"
	green = "32"
	blue  = "36"
	gold  = "33"
)

// newStage makes a stage. Colours and pauses are for a terminal.
func newStage(out io.Writer) *stage {
	s := &stage{out: out, started: time.Now()}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		s.pause = 300 * time.Millisecond
	}
	return s
}

func (s *stage) title(text string) { s.print("\n" + s.paint(bold, text) + "\n") }

// part begins a part, with what it shows.
func (s *stage) part(title, about string) {
	if s.pause > 0 {
		began := time.Now()
		time.Sleep(s.pause)
		s.started = s.started.Add(time.Since(began))
	}
	s.parts++
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", s.paint(bold, fmt.Sprintf("%d  %s", s.parts, title)))
	for _, line := range wrap(about, stageWidth-3) {
		fmt.Fprintf(&b, "   %s\n", line)
	}
	s.print(b.String() + "\n")
}

// event shows what happens now.
func (s *stage) event(who, what, format string, args ...any) {
	s.line(who, what, plain, fmt.Sprintf(format, args...))
}

// said shows what was said.
func (s *stage) said(who, what, text string) { s.line(who, what, gold, "“"+text+"”") }

func (s *stage) line(who, what, colour, text string) {
	s.mu.Lock() // from here on, so that the times ascend
	defer s.mu.Unlock()
	var b strings.Builder
	for i, line := range wrap(text, stageWidth-tellIndent) {
		if i == 0 {
			since := float64(time.Since(s.started).Microseconds()) / 1000
			b.WriteString(s.paint(faint, fmt.Sprintf("%8.1f ms", since)))
			of := blue
			if strings.HasPrefix(who, "client") {
				of = green
			}
			fmt.Fprintf(&b, "  %s  %s", s.paint(of, fmt.Sprintf("%-*s", whoWidth, who)), fmt.Sprintf("%-*s", whatWidth, what))
		} else {
			b.WriteString(strings.Repeat(" ", tellIndent-1))
		}
		b.WriteString(" " + s.paint(colour, line) + "\n")
	}
	s.write(b.String())
}

func (s *stage) advice(command, what string) {
	s.print(fmt.Sprintf("   %s  %s\n", s.paint(green, fmt.Sprintf("%-33s", command)), what))
}

func (s *stage) paint(colour, text string) string {
	if !s.colours || colour == plain {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *stage) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(text)
}

// write writes to out until it fails. mu held.
func (s *stage) write(text string) {
	if s.err == nil {
		_, s.err = io.WriteString(s.out, text)
	}
}

// wrap breaks a text into lines of at most width characters, but for words that are longer.
func wrap(text string, width int) []string {
	lines, length := []string{""}, 0
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last, length = word, n
		case length+1+n > width:
			lines, length = append(lines, word), n
		default:
			*last += " " + word
			length += 1 + n
		}
	}
	return lines
}
