package sockettest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
)

var names atomic.Uint64

// Name returns a name for a server that nobody else uses: where names are files an absolute path in a private directory that is removed when
// the test ends. It is short, because a socket's address holds about a hundred bytes, and t.TempDir's paths may be longer than that.
func Name(t testing.TB) string {
	t.Helper()
	if !HasFiles {
		return unique()
	}
	return filepath.Join(Dir(t), fmt.Sprintf("s%d", names.Add(1)))
}

// BareName returns a name without a directory, and makes the temporary directory, in which bare names stand, a private one until the
// test ends.
func BareName(t testing.TB) string {
	t.Helper()
	if !HasFiles {
		return unique()
	}
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
		if err := RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// RemoveAll is os.RemoveAll, in a way that Wine 8 knows, too.
func RemoveAll(dir string) error {
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	for _, path := range slices.Backward(all) {
		if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// FullName returns what FullServerName says of a bare name.
func FullName(bare string) string {
	if !HasFiles {
		return `\\.\pipe\` + bare
	}
	return filepath.Join(os.TempDir(), bare)
}

// unique returns a name that nobody else uses, for a namespace that this machine's processes share.
func unique() string { return fmt.Sprintf("anteroom-test-%d-%d", os.Getpid(), names.Add(1)) }

// AbstractName returns a name for the abstract namespace that nobody else uses. It skips the test where there is no such namespace.
func AbstractName(t testing.TB) string {
	t.Helper()
	if !HasAbstractNames {
		t.Skip("abstract names exist on Linux only")
	}
	return unique()
}
