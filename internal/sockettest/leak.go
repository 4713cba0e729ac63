package sockettest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs a package's tests, or, in a process that Command has started, the child. It returns the exit status, which is not 0 either
// if the tests have left goroutines or descriptors behind:
//
//	func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }
func Main(m *testing.M) int {
	if runChild() {
		return 0
	}
	openPoller()
	before := descriptors()
	code := m.Run()
	if code != 0 {
		return code // what is left behind is left by the failure
	}
	// A goroutine, or a descriptor that one of them closes, ends a moment after what ended it.
	var goroutines error
	var left []string
	for end := time.Now().Add(Scale(5 * time.Second)); ; time.Sleep(10 * time.Millisecond) {
		goroutines = goleak.Find()
		if left = leftBehind(before); goroutines == nil && len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	if goroutines != nil {
		fmt.Fprintln(os.Stderr, "the tests have left goroutines behind:", goroutines)
		code = 1
	}
	if len(left) > 0 {
		fmt.Fprintln(os.Stderr, "the tests have left descriptors behind:", strings.Join(left, ", "))
		code = 1
	}
	return code
}

// Copy is io.Copy, without the pipes that package net keeps when it copies between connections by splice: they would be left behind until some
// collection of garbage closes them.
func Copy(to io.Writer, from io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// openPoller makes the runtime open the descriptors of its own that it opens when they are needed first.
func openPoller() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// OpenDescriptors returns how many descriptors the process has open, or -1 if the system does not say.
func OpenDescriptors() int {
	fds := descriptors()
	if fds == nil {
		return -1
	}
	return len(fds)
}

// descriptors returns what each open descriptor leads to, or nil if the system does not say.
func descriptors() map[string]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	open := make(map[string]string)
	for _, e := range entries {
		// The directory's own descriptor is gone by now, and cannot be read.
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			open[e.Name()] = to
		}
	}
	return open
}

func leftBehind(before map[string]string) (left []string) {
	if before == nil {
		return nil
	}
	for fd, to := range descriptors() {
		if before[fd] != to {
			left = append(left, fd+" -> "+to)
		}
	}
	return left
}
