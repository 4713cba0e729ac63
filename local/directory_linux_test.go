package local_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// What /proc calls a link may lead where its text does not say: into another process's name space, for one.
func TestDirectoriesAreCheckedWhereTheyLead(t *testing.T) {
	sockettest.NeedRoot(t)
	dir := filepath.Join(sockettest.Dir(t), "d")
	must(t, os.Mkdir(dir, 0o700))
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs -o mode=0777 none "$0" && echo ok && exec cat`, dir)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if b, _ := bufio.NewReader(out).ReadString('\n'); b != "ok\n" {
		t.Skip("no name space of mounts can be made here")
	}
	path := fmt.Sprintf("/proc/%d/root%s/s", cmd.Process.Pid, dir)
	var srv local.Server
	srv.SetSocketOptions(local.UserAccessOption)
	wantIs(t, "access options where others may replace the file", srv.Listen(path), sock.SocketAccessError)
	srv.SetSocketOptions(local.NoOptions)
	srv.SetRequirePrivateDirectory(true)
	wantIs(t, "SetRequirePrivateDirectory where others may replace the file", srv.Listen(path), sock.SocketAccessError)
	srv.SetRequirePrivateDirectory(false)
	must(t, srv.Listen(path))
	must(t, srv.Close())
}

func TestServerAccessOptionsNeedADirectoryThatKeepsThem(t *testing.T) {
	for mode, refused := range map[fs.FileMode]bool{
		0o777: true, 0o772 | 0o001: true, 0o703: true,
		0o777 | fs.ModeSticky: false, 0o755: false, 0o775: false, 0o700: false,
	} {
		dir := openDir(t, mode)
		link := filepath.Join(openDir(t, 0o700), "link")
		must(t, os.Symlink(dir, link))
		for _, at := range []string{dir, link} {
			path := filepath.Join(at, "s")
			for o := range accessModes {
				var srv local.Server
				srv.SetSocketOptions(o)
				err := srv.Listen(path)
				if refused {
					wantIs(t, fmt.Sprintf("Listen in a directory with mode %v", mode), err, sock.SocketAccessError)
					if err == nil || !strings.Contains(err.Error(), dir) && !strings.Contains(err.Error(), at) {
						t.Errorf("the error does not name the directory: %v", err)
					}
				} else if err != nil {
					t.Errorf("Listen in a directory with mode %v: %v", mode, err)
				}
				srv.Close()
			}
			var srv local.Server // without access options there is nothing to keep
			must(t, srv.Listen(path))
			must(t, srv.Close())
		}
		if left := names(t, dir); len(left) != 0 {
			t.Errorf("mode %v: %q is left", mode, left)
		}
	}
}

// "link/.." is the directory above the link's target, and not the one that holds the link.
func TestPathsWithDotsGoTheSystemsWay(t *testing.T) {
	base := openDir(t, 0o755)
	for _, dir := range []string{"here", "open", "open/sub", "private", "private/sub"} {
		must(t, os.Mkdir(filepath.Join(base, dir), 0o755))
	}
	must(t, os.Chmod(filepath.Join(base, "open"), 0o777))
	must(t, os.Symlink("../open/sub", filepath.Join(base, "here", "open")))
	must(t, os.Symlink("../private/sub", filepath.Join(base, "here", "private")))
	long := strings.Repeat("./", 60)
	for _, dots := range []string{"", long} {
		path := base + "/here/open/../" + dots + "s"
		var srv local.Server
		srv.SetSocketOptions(local.UserAccessOption | local.LongPathOption)
		wantIs(t, "access options where others may replace the file", srv.Listen(path), sock.SocketAccessError)
		srv.Close()
		srv.SetSocketOptions(local.LongPathOption)
		srv.SetRequirePrivateDirectory(true)
		wantIs(t, "SetRequirePrivateDirectory where others may replace the file", srv.Listen(path), sock.SocketAccessError)
		srv.Close()

		path = base + "/here/private/../" + dots + "s"
		srv.SetReplaceStale(true)
		leave(t, filepath.Join(base, "private", "s"))
		must(t, srv.Listen(path))
		if info, err := os.Lstat(filepath.Join(base, "private", "s")); err != nil || info.Mode()&fs.ModeSocket == 0 {
			t.Errorf("the socket does not stand where the path leads: %v", err)
		}
		if left := append(names(t, filepath.Join(base, "here")), names(t, filepath.Join(base, "private"))...); strings.Join(left, " ") != "open private s sub" {
			t.Errorf("these are there: %q", left)
		}
		var c local.Socket
		must(t, c.SetSocketOptions(local.LongPathOption))
		must(t, c.ConnectToServer(path, 0))
		must(t, c.WaitForConnected(sockettest.Long()))
		c.Abort()
		must(t, srv.Close())
		// The lock stands beside the socket.
		leave(t, filepath.Join(base, "private", "s"))
		lock := lockName(filepath.Join(base, "private", "s"), os.Geteuid())
		must(t, os.Mkdir(lock, 0o700))
		wantIs(t, "RemoveStale without a lock beside the socket", local.RemoveStale(path), sock.AddressInUseError)
		must(t, os.Remove(lock))
		must(t, local.RemoveStale(path))
	}
}

func TestServerRequirePrivateDirectory(t *testing.T) {
	sockettest.NeedRoot(t)
	base := openDir(t, 0o755)
	mkdir := func(mode fs.FileMode, uid int, elem ...string) string {
		dir := filepath.Join(append([]string{base}, elem...)...)
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Chmod(dir, mode))
		must(t, os.Chown(dir, uid, -1))
		return dir
	}
	tests := []struct {
		name    string
		dir     string
		refused bool
	}{
		{"ours", mkdir(0o700, 0, "ours"), false},
		{"ours, readable", mkdir(0o755, 0, "readable"), false},
		{"writable for a group", mkdir(0o775, 0, "group"), true},
		{"writable for all", mkdir(0o777, 0, "all"), true},
		{"sticky", mkdir(0o777|fs.ModeSticky, 0, "sticky"), false},
		{"another user's", mkdir(0o755, nobodys, "foreign"), true},
		{"another user's, sticky", mkdir(0o777|fs.ModeSticky, nobodys, "foreign-sticky"), true},
		{"ours below another user's", mkdir(0o700, 0, "foreign", "ours"), true},
		{"ours below one that all may write to", mkdir(0o700, 0, "all", "ours"), true},
		{"ours below a sticky one", mkdir(0o700, 0, "sticky", "ours"), false},
	}
	link := func(name, to, at string) {
		must(t, os.Symlink(to, at))
		tests = append(tests, struct {
			name    string
			dir     string
			refused bool
		}{name, at, false})
	}
	ours := filepath.Join(base, "ours")
	link("a link of ours to ours", ours, filepath.Join(base, "link"))
	link("a link to another user's", filepath.Join(base, "foreign"), filepath.Join(base, "link2"))
	tests[len(tests)-1].refused = true
	// Who owns the directory of a link, or a link in a sticky directory, says where the path leads.
	link("a link in another user's directory", ours, filepath.Join(base, "foreign", "link"))
	tests[len(tests)-1].refused = true
	link("a link in a directory that all may write to", ours, filepath.Join(base, "all", "link"))
	tests[len(tests)-1].refused = true
	link("another user's link in a sticky directory", ours, filepath.Join(base, "sticky", "theirs"))
	must(t, os.Lchown(filepath.Join(base, "sticky", "theirs"), nobodys, nobodys))
	tests[len(tests)-1].refused = true
	link("a link of ours in a sticky directory", ours, filepath.Join(base, "sticky", "mine"))
	link("a link to a link of another user's", filepath.Join(base, "sticky", "theirs"), filepath.Join(base, "link3"))
	tests[len(tests)-1].refused = true
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var srv local.Server
			srv.SetRequirePrivateDirectory(true)
			err := srv.Listen(filepath.Join(test.dir, "s"))
			defer srv.Close()
			if !test.refused {
				must(t, err)
				return
			}
			wantIs(t, "Listen", err, sock.SocketAccessError)
			if _, err := os.Lstat(filepath.Join(test.dir, "s")); err == nil && !srv.IsListening() {
				t.Error("a file is left")
			}
		})
	}
	// The same for a user without privileges, whose own and root's directories are as good.
	home := mkdir(0o700, nobodys, "home")
	p := actorAs(t, nobodys)
	wantOK(t, "listen at home", do(p, "listen", filepath.Join(home, "s"), "0", "private"))
	wantOK(t, "close", do(p, "close"))
	third := mkdir(0o777|fs.ModeSticky, 12345, "third")
	wantErr(t, "listen in a third one's", do(p, "listen", filepath.Join(third, "s"), "0", "private"), sock.SocketAccessError)
	// A name that has no directory.
	var srv local.Server
	srv.SetRequirePrivateDirectory(true)
	must(t, srv.Listen("@"+sockettest.AbstractName(t)))
	must(t, srv.Close())
	wantIs(t, "a directory that is not there", srv.Listen(filepath.Join(base, "none", "s")), sock.HostNotFoundError, fs.ErrNotExist)
}
