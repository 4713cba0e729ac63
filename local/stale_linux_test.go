package local_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
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
		case "listen": // NAME OPTIONS [replace] [private] [keep] [group=G]
			srv.SetUnlinkOnClose(!slices.Contains(words, "keep"))
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

// To ask whether a server lives may take access rights that its file does not give, but leaves it those that it has.
func TestReplaceStaleLeavesTheLivingItsAccessRights(t *testing.T) {
	path := filepath.Join(openDir(t, 0o777|fs.ModeSticky), "s")
	live, second := actorAs(t, nobodys), actorAs(t, nobodys)
	for _, o := range []local.SocketOptions{local.GroupAccessOption, local.OtherAccessOption} {
		wantOK(t, "listen", do(live, "listen", path, strconv.Itoa(int(o))))
		before := fileAt(t, path).Mode
		wantErr(t, "another one listens", do(second, "listen", path, "0", "replace"), sock.AddressInUseError)
		if after := fileAt(t, path).Mode; after != before {
			t.Errorf("the mode was %o, and is %o", before, after)
		}
		wantErr(t, "the user himself dials, whom the options do not let in", do(second, "dial", path), sock.SocketAccessError)
		wantOK(t, "close", do(live, "close"))
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
