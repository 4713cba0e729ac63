package local_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"

	"golang.org/x/sys/unix"
)

func TestReplaceStaleLockNameTaken(t *testing.T) {
	dir := openDir(t, 0o755)
	target := filepath.Join(dir, "target")
	must(t, os.WriteFile(target, []byte("contents"), 0o600))
	tests := []struct {
		name string
		make func(lock string) error
	}{
		{"directory", func(lock string) error { return os.Mkdir(lock, 0o700) }},
		{"link to a file", func(lock string) error { return os.Symlink(target, lock) }},
		{"link to nothing", func(lock string) error { return os.Symlink(filepath.Join(dir, "nothing"), lock) }},
		{"fifo", func(lock string) error { return unix.Mkfifo(lock, 0o600) }},
		{"socket", func(lock string) error { leave(t, lock); return nil }},
		{"another user's file", func(lock string) error {
			sockettest.NeedRoot(t)
			return errors.Join(os.WriteFile(lock, nil, 0o666), os.Chmod(lock, 0o666), os.Chown(lock, nobodys, nobodys))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(dir, "s")
			lock := lockName(path, os.Geteuid())
			must(t, test.make(lock))
			before := fileAt(t, lock)
			srv := replacing()
			must(t, srv.Listen(path)) // on a free name nobody looks
			must(t, srv.Close())
			leave(t, path)
			for what, err := range map[string]error{"Listen": srv.Listen(path), "RemoveStale": local.RemoveStale(path)} {
				wantIs(t, what, err, sock.AddressInUseError)
				if err != nil && !strings.Contains(err.Error(), lock) {
					t.Errorf("%s: the error does not name the lock: %v", what, err)
				}
			}
			if fileAt(t, lock) != before {
				t.Error("what has the lock's name was touched")
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("the socket was removed without a lock: %v", err)
			}
			must(t, local.RemoveServer(path))
			must(t, os.Remove(lock))
		})
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "contents" {
		t.Errorf("the link's target is %q, %v", b, err)
	}
	if left := names(t, dir); !slices.Equal(left, []string{"target"}) {
		t.Errorf("%q are there", left)
	}
}

// In a directory like /tmp anybody may make a file with the lock's name.
func TestReplaceStaleLockMadeBySomebodyElse(t *testing.T) {
	sockettest.NeedRoot(t)
	for _, mode := range []fs.FileMode{0o600, 0o666} {
		dir := openDir(t, 0o777|fs.ModeSticky)
		path := filepath.Join(dir, "s")
		lock := lockName(path, nobodys)
		must(t, os.WriteFile(lock, nil, mode))
		must(t, os.Chmod(lock, mode)) // root's
		p := actorAs(t, nobodys)
		wantOK(t, "Listen on a free name", do(p, "listen", path, "0", "replace"))
		wantOK(t, "Close", do(p, "close"))
		leave(t, path)
		must(t, os.Chown(path, nobodys, nobodys))
		wantErr(t, fmt.Sprintf("Listen, a lock of root's with mode %04o", mode), do(p, "listen", path, "0", "replace"), sock.AddressInUseError, lock)
		wantErr(t, fmt.Sprintf("RemoveStale, a lock of root's with mode %04o", mode), do(p, "rmstale", path), sock.AddressInUseError, lock)
	}
}

// A process that dies with the lock in its hands blocks nobody, whatever its umask was.
func TestReplaceStaleLockLeftBehind(t *testing.T) {
	dir := openDir(t, 0o777|fs.ModeSticky)
	path := filepath.Join(dir, "s")
	uid := os.Geteuid()
	p := actor(t)
	if uid == 0 {
		uid = nobodys
		p = actorAs(t, nobodys)
	}
	for _, mode := range []fs.FileMode{0o600, 0} { // 0600 less the umask
		leave(t, path)
		must(t, os.WriteFile(lockName(path, uid), nil, 0o600))
		must(t, os.Chmod(lockName(path, uid), mode))
		must(t, os.Lchown(path, uid, -1))
		must(t, os.Lchown(lockName(path, uid), uid, -1))
		wantOK(t, fmt.Sprintf("Listen beside a lock with mode %04o", mode), do(p, "listen", path, "0", "replace"))
		wantOK(t, "Close", do(p, "close"))
		if left := names(t, dir); len(left) != 0 {
			t.Errorf("mode %04o: %q is left", mode, left)
			os.Remove(path)
			os.Remove(lockName(path, uid))
		}
	}
}

func TestReplaceStaleLockHeldByAnother(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	lock := lockName(path, os.Geteuid())
	holder := actor(t)
	wantOK(t, "flock", do(holder, "flock", lock))
	srv := replacing()
	defer srv.Close()
	must(t, srv.Listen(path)) // a free name needs no lock
	must(t, srv.Close())
	leave(t, path)
	begin := time.Now()
	err := srv.Listen(path)
	took := time.Since(begin)
	wantIs(t, "Listen while another holds the lock", err, sock.AddressInUseError)
	if err != nil && !strings.Contains(err.Error(), lock) {
		t.Errorf("the error does not name the lock: %v", err)
	}
	if took < 900*time.Millisecond || took > sockettest.Long() {
		t.Errorf("it has waited %v", took)
	}
	t.Logf("it has waited %v", took)
	if got := names(t, dir); !slices.Equal(got, []string{filepath.Base(lock), "s"}) {
		t.Errorf("%q are there", got)
	}
	// Whoever waits gets it when the holder dies.
	listening := sockettest.Go(func() error { return srv.Listen(path) })
	holder.Kill()
	must(t, sockettest.Done(t, "Listen returns", listening))
	must(t, srv.Close())
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("%q is left", got)
	}
}
