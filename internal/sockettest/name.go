package sockettest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

var names atomic.Uint64

// Name returns an absolute path for a socket, which nobody else uses, in a private directory that is removed when the test ends. It is
// short, because a socket's address holds about a hundred bytes, and t.TempDir's paths may be longer than that.
func Name(t testing.TB) string {
	t.Helper()
	return filepath.Join(Dir(t), fmt.Sprintf("s%d", names.Add(1)))
}

// BareName returns a name without a directory, and makes the temporary directory, in which bare names stand, a private one until the
// test ends.
func BareName(t testing.TB) string {
	t.Helper()
	t.Setenv("TMPDIR", Dir(t))
	return fmt.Sprintf("s%d", names.Add(1))
}

// Dir returns a private directory with a short path that is removed when the test ends.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// AbstractName returns a name for the abstract namespace that nobody else uses. It skips the test where there is no such namespace.
func AbstractName(t testing.TB) string {
	t.Helper()
	if !HasAbstractNames {
		t.Skip("abstract names exist on Linux only")
	}
	return fmt.Sprintf("anteroom-test-%d-%d", os.Getpid(), names.Add(1))
}
