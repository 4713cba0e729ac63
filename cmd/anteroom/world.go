package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A world is what a command sees of the process that it runs in. Data goes to stdout, and words go to stderr.
type world struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	signals        func() (caught <-chan os.Signal, stop func()) // those that ask the program to end, from now on
}

// system is the world of a real process.
func system() *world {
	// A reader of ours that has gone is an error of the write, after which there may be a socket to remove, and not the end by a signal.
	// It is caught and not ignored: what is ignored stays ignored in the commands that serve runs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return &world{os.Stdin, os.Stdout, os.Stderr, catch}
}

// catch catches the signals that ask the program to end, but for those that its caller has decided to ignore, as nohup and a shell's & do.
func catch() (<-chan os.Signal, func()) {
	wanted := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	wanted = slices.DeleteFunc(wanted, signal.Ignored)
	caught := make(chan os.Signal, 2)
	if len(wanted) == 0 {
		return caught, func() {}
	}
	signal.Notify(caught, wanted...)
	return caught, func() { signal.Stop(caught) }
}

// Rules of what is said: on stderr, a line each, which begins with the program's name, in lower case and without a full stop; errors say
// what was wrong first, and hints follow.

// A voice says things. Several goroutines may use it.
type voice struct {
	mu             sync.Mutex
	w              io.Writer
	quiet, verbose bool
}

// complain says what went wrong, always.
func (v *voice) complain(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.w, "anteroom: %s\n", strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"))
}

// say says what happens, unless it was told to be quiet.
func (v *voice) say(format string, args ...any) {
	if !v.quiet {
		v.complain(format, args...)
	}
}

// detail says what only the curious want to know.
func (v *voice) detail(format string, args ...any) {
	if v.verbose {
		v.say(format, args...)
	}
}

// failure says why a command ends, and what may be done about it.
func (v *voice) failure(command string, f *failure) {
	if f.status == exitUsage && command != "" {
		v.complain("%s: %v", command, f.err)
	} else {
		v.complain("%v", f.err)
	}
	for _, hint := range f.hints {
		v.complain("%s", hint)
	}
}
