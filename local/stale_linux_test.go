package local_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

var longFlag = flag.Bool("anteroom.long", os.Getenv("ANTEROOM_LONG") != "", "run the tests that take minutes in their long form")

// dropTo makes the process another user, or does nothing if uid is negative. It stays dumpable, or /proc would not show it to itself.
func dropTo(uid, gid int, groups ...int) {
	if uid < 0 {
		return
	}
	for _, err := range []error{syscall.Setgroups(groups), syscall.Setgid(gid), syscall.Setuid(uid)} {
		if err != nil {
			panic(err)
		}
	}
}

// An actor is a process that does what it is told, a line at a time, and answers each line with one: "ok …", or "err", the code's name and
// the error's text. Its arguments are a umask, a uid and a gid (-1: stay), and more groups.
var _ = sockettest.Child("actor", func() {
	number := func(s string, base int) int {
		n, err := strconv.ParseInt(s, base, 64)
		if err != nil {
			panic(err)
		}
		return int(n)
	}
	args := os.Args[1:]
	if umask := number(args[0], 8); umask >= 0 {
		syscall.Umask(umask)
	}
	var groups []int
	for _, g := range args[3:] {
		groups = append(groups, number(g, 10))
	}
	dropTo(number(args[1], 10), number(args[2], 10), groups...)
	var srv local.Server
	var c *local.Socket
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		answer, err := "", error(nil)
		switch words[0] {
		case "listen": // NAME OPTIONS [replace] [private] [group=G]
			srv.SetReplaceStale(slices.Contains(words, "replace"))
			srv.SetRequirePrivateDirectory(slices.Contains(words, "private"))
			srv.SetSocketOptions(local.SocketOptions(number(words[2], 10)))
			for _, w := range words {
				if g, ok := strings.CutPrefix(w, "group="); ok {
					srv.SetSocketGroup(g)
				}
			}
			begin := time.Now()
			err = srv.Listen(words[1])
			answer = strconv.FormatInt(time.Since(begin).Milliseconds(), 10)
		case "churn": // NAME OPTIONS: listens and closes until the next line
			srv.SetSocketOptions(local.SocketOptions(number(words[2], 10)))
			stop := sockettest.Go(lines.Scan)
			n := 0
			for done := false; !done && err == nil; n++ {
				if err = srv.Listen(words[1]); err == nil {
					err = srv.Close()
				}
				select {
				case <-stop:
					done = true
				default:
				}
			}
			answer = strconv.Itoa(n)
		case "close":
			err = srv.Close()
		case "dial":
			if c, err = local.Dial(words[1]); err == nil {
				c.SetDeadline(time.Now().Add(sockettest.Long()))
			}
		case "peer":
			var p local.Peer
			p, err = c.Peer()
			answer = fmt.Sprint(p)
		case "read":
			buf := make([]byte, 100)
			var n int
			n, err = c.Read(buf)
			answer = string(buf[:n])
			if err == io.EOF {
				answer, err = "EOF", nil
			}
		case "write":
			_, err = c.Write([]byte(words[1]))
		case "get": // of an HTTP server
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return local.DialContext(ctx, words[1])
			}}}
			var resp *http.Response
			if resp, err = client.Get("http://local/"); err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				answer = string(body)
			}
		case "rm":
			err = local.RemoveServer(words[1])
		case "rmstale":
			err = local.RemoveStale(words[1])
		case "flock":
			var fd int
			if fd, err = unix.Open(words[1], unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600); err == nil {
				err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
			}
		case "runtimename":
			answer, err = local.RuntimeName(words[1])
		}
		if err != nil {
			answer = "err " + sock.CodeOf(err).Name() + " " + strconv.Quote(err.Error())
		} else {
			answer = strings.TrimSpace("ok " + answer)
		}
		fmt.Println(answer)
	}
})

// actor starts an actor as this user.
func actor(t testing.TB) *sockettest.Process { return sockettest.Start(t, "actor", "-1", "-1", "-1") }

// nobodys is a user who is not this one.
const nobodys = 65534

// actorAs starts an actor as another user, in groups.
func actorAs(t testing.TB, gid int, groups ...int) *sockettest.Process {
	t.Helper()
	sockettest.NeedRoot(t)
	args := []string{"-1", strconv.Itoa(nobodys), strconv.Itoa(gid)}
	for _, g := range groups {
		args = append(args, strconv.Itoa(g))
	}
	return sockettest.Start(t, "actor", args...)
}

// do tells an actor something, and returns what it answers.
func do(p *sockettest.Process, words ...string) string {
	p.Say(words...)
	return p.Line()
}

// wantErr fails the test unless an actor's answer is an error with the code, and with each of the texts in it.
func wantErr(t testing.TB, what, answer string, code sock.SocketError, texts ...string) {
	t.Helper()
	if !strings.HasPrefix(answer, "err "+code.Name()+" ") {
		t.Errorf("%s: %s; want %s", what, answer, code.Name())
	}
	for _, text := range texts {
		if !strings.Contains(answer, text) {
			t.Errorf("%s: %s; want %q in it", what, answer, text)
		}
	}
}

func wantOK(t testing.TB, what, answer string) {
	t.Helper()
	if answer != "ok" && !strings.HasPrefix(answer, "ok ") {
		t.Errorf("%s: %s; want ok", what, answer)
	}
}

// endSoon has the children of a test end when they have done their work, and not a second later, as the race detector likes it.
func endSoon(t testing.TB) { t.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") }

// openDir returns a directory that everybody may look into, which the permissions of those above it allow.
func openDir(t testing.TB, mode fs.FileMode) string {
	t.Helper()
	dir := sockettest.Dir(t)
	must(t, os.Chmod(dir, mode))
	return dir
}

// bound returns a socket that is bound to a path, and does not listen.
func bound(t testing.TB, typ int, path string) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	return fd
}

// leave leaves at a path what a crashed server leaves.
func leave(t testing.TB, path string) {
	t.Helper()
	unix.Close(bound(t, unix.SOCK_STREAM, path))
}

// lockName is the name of the lock beside a path.
func lockName(path string, uid int) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d.lock", filepath.Base(path), uid))
}

// names lists a directory.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func replacing() *local.Server {
	srv := new(local.Server)
	srv.SetReplaceStale(true)
	return srv
}

// fileAt identifies what stands at a path, and how it is.
func fileAt(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	st.Atim, st.Ctim = unix.Timespec{}, unix.Timespec{}
	return st
}

// What is alive is left alone by all but RemoveServer, whoever made it and in whatever state; when it is dead it gives way.
func TestReplaceStaleTellsTheLivingFromTheDead(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string) (die func())
	}{
		{"a server of ours", func(t *testing.T, path string) func() {
			srv, err := local.Listen(path)
			must(t, err)
			srv.SetUnlinkOnClose(false)
			return func() { srv.Close() }
		}},
		{"a server of Go's net", func(t *testing.T, path string) func() {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			must(t, err)
			l.SetUnlinkOnClose(false)
			return func() { l.Close() }
		}},
		{"bound and not listening", func(t *testing.T, path string) func() {
			fd := bound(t, unix.SOCK_STREAM, path)
			return func() { unix.Close(fd) }
		}},
		{"full queue", func(t *testing.T, path string) func() {
			fd := bound(t, unix.SOCK_STREAM, path)
			must(t, unix.Listen(fd, 0))
			c := dialName(t, path)
			return func() { unix.Close(fd); c.Abort() }
		}},
		{"shut down", func(t *testing.T, path string) func() {
			fd := bound(t, unix.SOCK_STREAM, path)
			must(t, unix.Listen(fd, 1))
			must(t, unix.Shutdown(fd, unix.SHUT_RDWR))
			return func() { unix.Close(fd) }
		}},
		{"mode 0000", func(t *testing.T, path string) func() {
			fd := bound(t, unix.SOCK_STREAM, path)
			must(t, unix.Listen(fd, 1))
			must(t, os.Chmod(path, 0))
			return func() { unix.Close(fd) }
		}},
		{"datagram socket", func(t *testing.T, path string) func() {
			fd := bound(t, unix.SOCK_DGRAM, path)
			return func() { unix.Close(fd) }
		}},
		{"datagram socket connected to another", func(t *testing.T, path string) func() {
			fd, other := bound(t, unix.SOCK_DGRAM, path), bound(t, unix.SOCK_DGRAM, path+"2")
			must(t, unix.Connect(fd, &unix.SockaddrUnix{Name: path + "2"}))
			return func() { unix.Close(fd); unix.Close(other); os.Remove(path + "2") }
		}},
		{"sequenced packets", func(t *testing.T, path string) func() {
			fd := bound(t, unix.SOCK_SEQPACKET, path)
			must(t, unix.Listen(fd, 1))
			return func() { unix.Close(fd) }
		}},
		{"a duplicate in another process", func(t *testing.T, path string) func() {
			srv, err := local.Listen(path)
			must(t, err)
			f, err := srv.File()
			must(t, err)
			cmd := sockettest.Command(t, "actor", "-1", "-1", "-1")
			cmd.ExtraFiles = []*os.File{f}
			p := sockettest.StartCommand(t, cmd)
			f.Close()
			wantOK(t, "the holder", do(p, "close"))
			srv.SetUnlinkOnClose(false)
			must(t, srv.Close())
			return p.Kill
		}},
		{"a process in another network namespace", func(t *testing.T, path string) func() {
			sockettest.NeedRoot(t)
			cmd := sockettest.Command(t, "actor", "-1", "-1", "-1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
			p := sockettest.StartCommand(t, cmd)
			wantOK(t, "listen", do(p, "listen", path, "0"))
			return p.Kill
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := sockettest.Dir(t)
			path := filepath.Join(dir, "s")
			die := sync.OnceFunc(test.make(t, path))
			defer die()
			before := fileAt(t, path)
			was := names(t, dir)
			wantIs(t, "RemoveStale of the living", local.RemoveStale(path), sock.AddressInUseError)
			srv := replacing()
			defer srv.Close()
			err := srv.Listen(path)
			wantIs(t, "Listen where somebody lives", err, sock.AddressInUseError)
			if err != nil && !strings.Contains(err.Error(), "alive at "+path) {
				t.Errorf("the error says %v", err)
			}
			after := fileAt(t, path)
			if before.Mode&0o200 == 0 {
				after.Mode &^= 0o200 // it may be widened for its owner, to ask
			}
			if after != before || !slices.Equal(names(t, dir), was) {
				t.Errorf("something was touched: %+v, now %+v; %q, now %q", before, after, was, names(t, dir))
			}
			die()
			must(t, srv.Listen(path))
			dialName(t, path).Abort()
			must(t, srv.Close())
			if left := names(t, dir); len(left) != 0 {
				t.Errorf("%q is left", left)
			}
		})
	}
}

func TestRemoveStaleRemovesTheDead(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	must(t, local.RemoveStale(path)) // nothing is there
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		unix.Close(bound(t, typ, path))
		must(t, local.RemoveStale(path))
		if left := names(t, dir); len(left) != 0 {
			t.Errorf("%q is left", left)
		}
	}
	for _, mode := range []fs.FileMode{0, 0o444, 0o777} {
		leave(t, path)
		must(t, os.Chmod(path, mode))
		must(t, local.RemoveStale(path))
	}
	must(t, local.RemoveStale(filepath.Join(dir, "none", "s")))
	must(t, local.RemoveStale("@anteroom-nobody-here"))
	wantIs(t, "an empty name", local.RemoveStale(""), sock.HostNotFoundError)
}

func TestRemoveServerRemovesTheLivingsFile(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	srv, err := local.Listen(path)
	must(t, err)
	defer srv.Close()
	c := dialName(t, path)
	defer c.Abort()
	must(t, local.RemoveServer(path))
	if _, err := local.Dial(path); !errors.Is(err, sock.HostNotFoundError) {
		t.Errorf("Dial after RemoveServer: %v", err)
	}
	taken := next(t, srv) // what is connected stays
	if _, err := taken.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	must(t, local.RemoveServer(path)) // nothing is there
	leave(t, path)
	must(t, local.RemoveServer(path))
	must(t, local.RemoveServer(filepath.Join(dir, "none", "s")))
	must(t, local.RemoveServer("@anteroom-nobody-here"))
	wantIs(t, "an empty name", local.RemoveServer(""), sock.HostNotFoundError)
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	// Nothing is there, nor could be.
	must(t, local.RemoveServer(filepath.Join(dir, "file", "s")))
	must(t, local.RemoveStale(filepath.Join(dir, "file", "s")))
}

func TestWhatIsNoSocketIsNeverRemoved(t *testing.T) {
	dir := sockettest.Dir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	live, err := local.Listen(at("live"))
	must(t, err)
	defer live.Close()
	leave(t, at("dead"))
	must(t, os.WriteFile(at("file"), []byte("contents"), 0o600))
	must(t, os.Mkdir(at("directory"), 0o700))
	must(t, os.Mkdir(at("full directory"), 0o700))
	must(t, os.WriteFile(at("full directory/file"), nil, 0o600))
	must(t, unix.Mkfifo(at("fifo"), 0o600))
	for link, to := range map[string]string{"link to live": "live", "link to dead": "dead", "link to nothing": "nothing", "link to file": "file", "link to itself": "link to itself"} {
		must(t, os.Symlink(at(to), at(link)))
	}
	all := names(t, dir)
	for _, name := range all {
		if name == "live" || name == "dead" {
			continue
		}
		before := fileAt(t, at(name))
		wantIs(t, "RemoveServer: "+name, local.RemoveServer(at(name)), sock.AddressInUseError)
		wantIs(t, "RemoveStale: "+name, local.RemoveStale(at(name)), sock.AddressInUseError)
		wantIs(t, "Listen: "+name, replacing().Listen(at(name)), sock.AddressInUseError)
		if after := fileAt(t, at(name)); after != before {
			t.Errorf("%s was touched", name)
		}
	}
	if now := names(t, dir); !slices.Equal(now, all) {
		t.Errorf("%q are there; want %q", now, all)
	}
	dialName(t, at("live")).Abort()
}

func TestAnotherUsersSocketIsNeverRemoved(t *testing.T) {
	sockettest.NeedRoot(t)
	dir := openDir(t, 0o777|fs.ModeSticky)
	path := filepath.Join(dir, "s")
	ours := filepath.Join(dir, "ours")
	leave(t, ours)
	leave(t, path)
	must(t, os.Chown(path, nobodys, -1)) // root may remove it, and still must not as stale
	wantIs(t, "RemoveStale", local.RemoveStale(path), sock.AddressInUseError)
	err := replacing().Listen(path)
	wantIs(t, "Listen", err, sock.AddressInUseError)
	if err != nil && !strings.Contains(err.Error(), strconv.Itoa(nobodys)) {
		t.Errorf("the error does not say whose it is: %v", err)
	}
	p := actorAs(t, nobodys)
	wantErr(t, "RemoveStale of root's", do(p, "rmstale", ours), sock.AddressInUseError)
	wantErr(t, "RemoveServer of root's", do(p, "rm", ours), sock.SocketAccessError)
	wantErr(t, "Listen on root's", do(p, "listen", ours, "0", "replace"), sock.AddressInUseError)
	if left := names(t, dir); !slices.Equal(left, []string{"ours", "s"}) {
		t.Errorf("%q are there", left)
	}
	wantOK(t, "its own", do(p, "listen", path, "0", "replace"))
	wantOK(t, "its own", do(p, "close"))
}

// A user without root's rights recovers too, even where the file lets nobody connect, and when the process has become that user only after its start.
func TestReplaceStaleWithoutPrivileges(t *testing.T) {
	dir := openDir(t, 0o777|fs.ModeSticky)
	path := filepath.Join(dir, "s")
	p := actorAs(t, nobodys)
	for _, mode := range []fs.FileMode{0o777, 0o700, 0o444, 0} {
		leave(t, path)
		must(t, os.Chown(path, nobodys, nobodys))
		must(t, os.Chmod(path, mode))
		wantOK(t, fmt.Sprintf("listen, mode %04o", mode), do(p, "listen", path, "0", "replace"))
		second := actorAs(t, nobodys)
		must(t, os.Chmod(path, mode))
		wantErr(t, "RemoveStale of the living", do(second, "rmstale", path), sock.AddressInUseError)
		second.Kill()
		wantOK(t, "close", do(p, "close"))
		if left := names(t, dir); len(left) != 0 {
			t.Fatalf("mode %04o: %q is left", mode, left)
		}
	}
}

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

// A lock is taken for nothing if there is nothing to remove: a living server's neighbours make no files.
func TestRemoveStaleOfTheLivingMakesNoFile(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	srv, err := local.Listen(path)
	must(t, err)
	defer srv.Close()
	before, err := os.Stat(dir)
	must(t, err)
	wantIs(t, "RemoveStale", local.RemoveStale(path), sock.AddressInUseError)
	wantIs(t, "Listen", replacing().Listen(path), sock.AddressInUseError)
	after, err := os.Stat(dir)
	must(t, err)
	if !before.ModTime().Equal(after.ModTime()) {
		t.Error("the directory has changed")
	}
	if srv.HasPendingConnections() {
		t.Error("the living server was disturbed")
	}
}

func TestServerCloseAfterASuccessorTookTheName(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, path string) io.Closer{
		"local": func(t *testing.T, path string) io.Closer {
			must(t, local.RemoveServer(path))
			srv, err := local.Listen(path)
			must(t, err)
			return srv
		},
		"Go's net": func(t *testing.T, path string) io.Closer {
			must(t, os.Remove(path))
			l, err := net.Listen("unix", path)
			must(t, err)
			return l
		},
		"a regular file": func(t *testing.T, path string) io.Closer {
			must(t, os.Remove(path))
			f, err := os.Create(path)
			must(t, err)
			return f
		},
		"renamed over it": func(t *testing.T, path string) io.Closer { // as Qt's server does
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + ".new", Net: "unix"})
			must(t, err)
			l.SetUnlinkOnClose(false)
			must(t, os.Rename(path+".new", path))
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := sockettest.Name(t)
			// Inode numbers are used again at once on some file systems: try a few times.
			for range 20 {
				old, err := local.Listen(path)
				must(t, err)
				successor := take(t, path)
				before := fileAt(t, path)
				must(t, old.Close())
				if after := fileAt(t, path); after != before {
					t.Fatal("the successor's file was touched")
				}
				successor.Close()
				os.Remove(path)
			}
		})
	}
}

// The crashed server's own File in a process that has adopted it: nobody removes the path while it lives, nor it the path when it ends.
func TestAdoptedDescriptorsPathIsNeverRemoved(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	first, err := local.Listen(path)
	must(t, err)
	f, err := first.File()
	must(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	f.Close()
	first.SetUnlinkOnClose(false)
	must(t, first.Close())
	adopted := replacing()
	adopted.SetUnlinkOnClose(true)
	must(t, adopted.ListenDescriptor(sock.FromFd(uintptr(fd))))
	wantIs(t, "RemoveStale", local.RemoveStale(path), sock.AddressInUseError)
	dialName(t, path).Abort()
	must(t, adopted.Close())
	if got := names(t, dir); !slices.Equal(got, []string{"s"}) {
		t.Errorf("%q are there", got)
	}
	must(t, adopted.Listen(path)) // the same Server makes the name its own now
	must(t, adopted.Close())
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("%q are there", got)
	}
}

// The binder binds one socket after the other to a path, each of which lives, and says when somebody has removed one's file.
var _ = sockettest.Child("binder", func() {
	path := os.Args[1]
	var living []int
	room := 10_000
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		room = int(min(uint64(room), limit.Cur-100))
	}
	ended := sockettest.Go(func() error { _, err := os.Stdin.Read(make([]byte, 1)); return err })
	for n := 0; ; n++ {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
		}
		if err != nil {
			fmt.Println("bind:", err)
			return
		}
		if err = unix.Unlink(path); err != nil {
			fmt.Printf("server %d was removed while it lived: %v\n", n, err)
			return
		}
		if living = append(living, fd); len(living) > room { // nobody looks at such an old one any more
			unix.Close(living[0])
			living = living[1:]
		}
		select {
		case <-ended:
			fmt.Println("ok", n)
			return
		default:
		}
	}
})

// A file is seen a moment before the kernel knows its socket, and then answers as if it were dead. Here nothing is ever dead, and who believes
// so is told by the lock that he cannot have.
func TestRemoveStaleNeverRemovesAServerThatIsBinding(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	lock := lockName(path, os.Geteuid())
	must(t, os.Mkdir(lock, 0o700))
	d := sockettest.Scale(time.Second)
	if *longFlag {
		d = 30 * time.Second
	}
	endSoon(t)
	binder := sockettest.Start(t, "binder", path)
	limit := time.Now().Add(d)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for time.Now().Before(limit) {
				err := local.RemoveStale(path)
				if err != nil && strings.Contains(err.Error(), lock) {
					t.Errorf("a living server was taken for dead: %v", err)
					return
				}
				if err != nil && !errors.Is(err, sock.AddressInUseError) {
					t.Errorf("RemoveStale: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	rest, err := binder.Wait()
	if err != nil || len(rest) != 1 || !strings.HasPrefix(rest[0], "ok ") {
		t.Errorf("the binder says %q, %v", rest, err)
	}
	t.Logf("the binder says %q", rest)
}

// Contenders all want to listen on one name. What they do they write to one pipe, whose order is everybody's: descriptor 3.
var _ = sockettest.Child("contender", func() {
	name, seed := os.Args[1], os.Args[2]
	pause, _ := strconv.Atoi(os.Args[3]) // milliseconds, about
	n, _ := strconv.ParseUint(seed, 10, 64)
	rnd := rand.New(rand.NewPCG(n, 1))
	events := os.NewFile(3, "events")
	say := func(what string) { fmt.Fprintf(events, "%s %d %d\n", what, os.Getpid(), monotonic()) }
	go func() { // it ends with the test
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	for {
		srv := replacing()
		err := srv.Listen(name)
		if errors.Is(err, sock.AddressInUseError) {
			time.Sleep(time.Duration(1+rnd.IntN(2*pause)) * time.Millisecond) // somebody serves: ask again
			continue
		}
		if err != nil {
			fmt.Fprintf(events, "failed %d %d %v\n", os.Getpid(), monotonic(), err)
			continue
		}
		say("start")
		limit := time.Now().Add(time.Duration(rnd.IntN(400)) * time.Millisecond)
		for {
			srv.SetDeadline(limit)
			c, err := srv.Accept()
			if err != nil {
				break
			}
			fmt.Fprintln(c, os.Getpid())
			c.Close()
		}
		say("stop")
		srv.Close()
	}
})

// monotonic is a time in nanoseconds that is the same in all processes.
func monotonic() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// Many processes listen on one name, are killed and come again: never two serve at once, and the name is always served again.
func TestReplaceStaleTakeOver(t *testing.T) {
	processes, d := 12, sockettest.Scale(3*time.Second)
	if *longFlag {
		processes, d = 50, time.Minute
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ANTEROOM_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	t.Logf("%d processes, %v; again with ANTEROOM_SEED=%d", processes, d, seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")

	eventsIn, eventsOut, err := os.Pipe()
	must(t, err)
	stdin, alive, err := os.Pipe()
	must(t, err)
	var log []string
	serving := make(chan int, 1<<16) // the servers, as they begin
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(eventsIn); s.Scan(); {
			log = append(log, s.Text())
			if pid, ok := strings.CutPrefix(s.Text(), "start "); ok {
				pid, _, _ := strings.Cut(pid, " ")
				n, _ := strconv.Atoi(pid)
				select {
				case serving <- n:
				default:
				}
			}
		}
	}()

	running := make([]*exec.Cmd, processes)
	start := func(i int) {
		cmd := sockettest.Command(t, "contender", path, strconv.FormatUint(rnd.Uint64(), 10), strconv.Itoa(max(2, processes/3)))
		cmd.Stdin, cmd.ExtraFiles = stdin, []*os.File{eventsOut}
		must(t, cmd.Start())
		running[i] = cmd
	}
	kill := func(i int) {
		fmt.Fprintf(eventsOut, "kill %d %d\n", running[i].Process.Pid, monotonic())
		running[i].Process.Kill()
		running[i].Wait()
		fmt.Fprintf(eventsOut, "dead %d %d\n", running[i].Process.Pid, monotonic())
		running[i] = nil
	}
	defer func() {
		alive.Close()
		for i := range running {
			if running[i] != nil {
				kill(i)
			}
		}
		stdin.Close()
		eventsOut.Close()
		<-read
		eventsIn.Close()
	}()
	for i := range running {
		start(i)
	}

	// Who answers is one who has said that it listens.
	limit := time.Now().Add(d)
	probes := sockettest.Go(func() (answers []string) {
		for time.Now().Before(limit) {
			c, err := local.Dial(path)
			if err != nil {
				time.Sleep(time.Millisecond)
				continue
			}
			c.SetDeadline(time.Now().Add(time.Second))
			b, _ := io.ReadAll(c)
			c.Close()
			if pid, whole := strings.CutSuffix(string(b), "\n"); whole && !slices.Contains(answers, pid) {
				answers = append(answers, pid)
			}
		}
		return answers
	})

	kills := 0
	for time.Now().Before(limit) {
		victim := rnd.IntN(processes)
		switch rnd.IntN(3) {
		case 0: // the newest server, when it has just begun, or a little later
			var pid int
			select {
			case pid = <-serving:
				for len(serving) > 0 {
					pid = <-serving
				}
			case <-time.After(200 * time.Millisecond): // it is running still
			}
			if i := slices.IndexFunc(running, func(c *exec.Cmd) bool { return c.Process.Pid == pid }); i >= 0 {
				victim = i
			}
			time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
		case 1: // anybody at any time
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond)
		}
		kill(victim)
		kills++
		start(victim)
	}
	answers := sockettest.Done(t, "the probes end", probes)
	for i := range running {
		kill(i)
	}
	// Nothing that is left blocks.
	for _, name := range names(t, dir) {
		switch name {
		case "s":
		case filepath.Base(lockName(path, os.Geteuid())):
			fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDWR|unix.O_CLOEXEC, 0)
			must(t, err)
			if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("the lock that is left is held: %v", err)
			}
			unix.Close(fd)
		default:
			t.Errorf("%s is left", name)
		}
	}
	srv := replacing()
	must(t, srv.Listen(path))
	must(t, srv.Close())
	alive.Close()
	eventsOut.Close()
	<-read

	checkTakeOver(t, log, answers, kills)
}

func checkTakeOver(t *testing.T, log, answers []string, kills int) {
	began := map[string]bool{}
	server, crashed := "", "" // who serves, and whose crash nobody has made up for yet
	var killed, died int64    // when that one was killed and was dead; 0: not yet
	starts, crashes := 0, 0
	var sinceKill, sinceDeath []time.Duration
	for i, line := range log {
		words := strings.SplitN(line, " ", 4)
		what, pid := words[0], words[1]
		at, err := strconv.ParseInt(words[2], 10, 64)
		must(t, err)
		switch what {
		case "start":
			starts++
			began[pid] = true
			if server != "" {
				t.Errorf("two servers at once: %s\n\t%s", server, strings.Join(log[max(0, i-10):i+1], "\n\t"))
			}
			if crashed != "" {
				sinceKill = append(sinceKill, time.Duration(at-killed))
				if died == 0 {
					died = at // nobody knew yet
				}
				sinceDeath = append(sinceDeath, max(0, time.Duration(at-died)))
			}
			server, crashed = pid, ""
		case "kill", "stop":
			if pid == server {
				server = ""
				if what == "kill" { // only a crash leaves something to recover from
					crashes++
					crashed, killed, died = pid, at, 0
				}
			}
		case "dead":
			switch pid {
			case server: // it was killed when it had just begun to listen, and had not said so
				crashes++
				server, crashed, killed, died = "", pid, at, at
			case crashed:
				died = at
			}
		default:
			t.Errorf("%s", line)
		}
	}
	for _, pid := range answers {
		if !began[pid] {
			t.Errorf("%s has answered, and never said that it listens", pid)
		}
	}
	if starts < 2 || crashes < 1 || len(answers) < 1 || len(sinceKill) < 1 {
		t.Fatalf("%d starts, %d crashes, %d servers answered: that is no test", starts, crashes, len(answers))
	}
	t.Logf("%d kills, %d servers, %d killed while serving; %d were seen to answer", kills, starts, crashes, len(answers))
	for what, gaps := range map[string][]time.Duration{"kill": sinceKill, "death": sinceDeath} {
		slices.Sort(gaps)
		n := len(gaps)
		within := 0
		for _, g := range gaps {
			if g <= 100*time.Millisecond {
				within++
			}
		}
		t.Logf("from the %s to the next server: median %v, 99%% %v, longest %v; %d of %d within 100 ms", what, gaps[n/2], gaps[n*99/100], gaps[n-1], within, n)
		if gaps[n-1] > sockettest.Long() {
			t.Errorf("the name was not served for %v", gaps[n-1])
		}
	}
}
