//go:build unix

package local_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// talk proves that one end's name leads to the other's.
func talk(t testing.TB, srv *local.Server, name string) {
	t.Helper()
	c := dialName(t, name)
	defer c.Abort()
	taken := next(t, srv)
	if _, err := taken.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n, err := c.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if srv.ServerName() != name {
		t.Errorf("ServerName is %q; want %q", srv.ServerName(), name)
	}
	for who, full := range map[string]string{"the server": srv.FullServerName(), "the client": c.FullServerName(), "the accepted": taken.FullServerName()} {
		if want, err := local.FullServerName(name); err != nil || full != want {
			t.Errorf("%s: FullServerName is %q; want %q, %v", who, full, want, err)
		}
	}
}

func TestCloseRemovesTheFileFromAnyWorkingDirectory(t *testing.T) {
	dir := sockettest.Dir(t)
	t.Chdir(dir)
	t.Setenv("TMPDIR", ".")
	srv, err := local.Listen("s")
	must(t, err)
	t.Chdir("/")
	must(t, srv.Close())
	if _, err := os.Lstat(filepath.Join(dir, "s")); err == nil {
		t.Error("Close has left the file")
	}
}

func TestBareNamesStandInTheTemporaryDirectory(t *testing.T) {
	dir := sockettest.Dir(t)
	t.Chdir(dir)
	for _, sub := range []string{"a", "@dir", "a b"} {
		must(t, os.Mkdir(sub, 0o700))
	}
	tests := []struct{ tmp, full, file string }{
		{dir, dir + "/s", dir + "/s"},
		{dir + "/", dir + "/s", dir + "/s"},
		{dir + "//a/..//", dir + "/s", dir + "/s"},
		{dir + "/a", dir + "/a/s", dir + "/a/s"},
		{dir + "/a b", dir + "/a b/s", dir + "/a b/s"},
		{"a", "a/s", dir + "/a/s"},
		{"./a/", "a/s", dir + "/a/s"},
		{".", "./s", dir + "/s"},
		{"@dir", "@dir/s", dir + "/@dir/s"},
		{"./@dir", "@dir/s", dir + "/@dir/s"},
	}
	for _, test := range tests {
		t.Run(test.tmp, func(t *testing.T) {
			t.Setenv("TMPDIR", test.tmp)
			full, err := local.FullServerName("s")
			must(t, err)
			if full != test.full {
				t.Errorf("FullServerName is %q; want %q", full, test.full)
			}
			for _, o := range []local.SocketOptions{local.NoOptions, local.UserAccessOption, local.LongPathOption} {
				srv := new(local.Server)
				srv.SetSocketOptions(o)
				must(t, srv.Listen("s"))
				if info, err := os.Lstat(test.file); err != nil || info.Mode()&fs.ModeSocket == 0 {
					t.Errorf("no socket stands at %s: %v", test.file, err)
				}
				talk(t, srv, "s")
				must(t, srv.Close())
				if _, err := os.Lstat(test.file); err == nil {
					t.Error("Close has left the file")
				}
				if sockettest.HasAbstractNames { // what only Linux removes
					l, err := net.ListenUnix("unix", &net.UnixAddr{Name: test.file, Net: "unix"})
					must(t, err)
					l.SetUnlinkOnClose(false)
					wantIs(t, "RemoveStale of the living", local.RemoveStale("s"), sock.AddressInUseError)
					l.Close()
					srv.SetReplaceStale(true)
					must(t, srv.Listen("s"))
					must(t, srv.Close())
				}
			}
			must(t, local.RemoveServer("s"))
		})
	}
	t.Run("unset", func(t *testing.T) {
		t.Setenv("TMPDIR", "")
		if full, err := local.FullServerName("s"); full != "/tmp/s" || err != nil {
			t.Errorf("FullServerName is %q, %v", full, err)
		}
		if full, err := local.FullServerName("a/../s"); full != "/tmp/a/../s" || err != nil { // Qt's concatenation
			t.Errorf("FullServerName is %q, %v", full, err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		t.Setenv("TMPDIR", dir+"/none")
		wantIs(t, "Listen", new(local.Server).Listen("s"), sock.HostNotFoundError, fs.ErrNotExist)
		_, err := local.Dial("s")
		wantIs(t, "Dial", err, sock.HostNotFoundError, fs.ErrNotExist)
	})
	t.Run("root", func(t *testing.T) {
		t.Setenv("TMPDIR", "/")
		if full, err := local.FullServerName("s"); path.Clean(full) != "/s" || err != nil {
			t.Errorf("FullServerName is %q, %v", full, err)
		}
	})
}

// A relative temporary directory that begins with @ leaves two bytes less; the name that is too long by that is told so, or works.
func TestLongestNameInATemporaryDirectoryWithAnAt(t *testing.T) {
	limit := len(syscall.RawSockaddrUnix{}.Path) - 1
	t.Chdir(sockettest.Dir(t))
	must(t, os.Mkdir("@d", 0o700))
	t.Setenv("TMPDIR", "@d")
	for n := limit - 3; n <= limit+1; n++ {
		name := strings.Repeat("x", n-len("@d/"))
		var srv local.Server
		err := srv.Listen(name)
		if err != nil {
			wantIs(t, "Listen", err, sock.HostNotFoundError, syscall.ENAMETOOLONG)
			if n < limit-1 {
				t.Errorf("%d bytes: %v", n, err)
			}
			continue
		}
		talk(t, &srv, name)
		must(t, srv.Close())
	}
}

func TestLongPathOption(t *testing.T) {
	base := sockettest.Dir(t)
	dir := base
	for len(dir) < 300 {
		dir = filepath.Join(dir, strings.Repeat("d", 50))
	}
	must(t, os.MkdirAll(dir, 0o700))
	full := filepath.Join(dir, "s")
	listen := func(o local.SocketOptions, name string) (*local.Server, error) {
		srv := new(local.Server)
		srv.SetSocketOptions(o)
		srv.SetReplaceStale(true)
		return srv, srv.Listen(name)
	}
	dialLong := func(o local.SocketOptions, name string) error {
		var c local.Socket
		defer c.Abort()
		must(t, c.SetSocketOptions(o))
		if err := c.ConnectToServer(name, 0); err != nil {
			return err
		}
		return c.WaitForConnected(sockettest.Long())
	}
	_, err := listen(local.NoOptions, full)
	wantIs(t, "Listen without the option", err, sock.HostNotFoundError, syscall.ENAMETOOLONG)
	wantIs(t, "connect without the option", dialLong(0, full), sock.HostNotFoundError, syscall.ENAMETOOLONG)
	for _, text := range []string{full, "107", "LongPathOption"} {
		if sockettest.HasAbstractNames && !strings.Contains(err.Error(), text) {
			t.Errorf("the error lacks %q: %v", text, err)
		}
	}
	srv, err := listen(local.LongPathOption, full)
	if !sockettest.HasAbstractNames {
		wantIs(t, "Listen where there is no such way", err, syscall.ENAMETOOLONG)
		return
	}
	must(t, err)
	defer srv.Close()
	if srv.FullServerName() != full || srv.Addr().String() != full {
		t.Errorf("names %q, %q; want %q", srv.FullServerName(), srv.Addr(), full)
	}
	must(t, dialLong(local.LongPathOption, full))
	taken := next(t, srv)
	if taken.FullServerName() != full || taken.ServerName() != "s" {
		t.Errorf("the accepted socket's names are %q, %q", taken.FullServerName(), taken.ServerName())
	}
	_, err = listen(local.LongPathOption, full)
	wantIs(t, "Listen where somebody lives", err, sock.AddressInUseError)
	wantIs(t, "RemoveStale where somebody lives", local.RemoveStale(full), sock.AddressInUseError)
	srv.SetUnlinkOnClose(false)
	must(t, srv.Close())
	wantIs(t, "connect to the dead", dialLong(local.LongPathOption, full), sock.ConnectionRefusedError)
	srv, err = listen(local.LongPathOption|local.UserAccessOption, full)
	must(t, err)
	if info, err := os.Lstat(full); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the file is %v, %v", info, err)
	}
	must(t, local.RemoveServer(full))
	must(t, srv.Close())
	// By a bare name in a long temporary directory.
	t.Setenv("TMPDIR", dir)
	srv, err = listen(local.LongPathOption, "bare")
	must(t, err)
	must(t, dialLong(local.LongPathOption, "bare"))
	must(t, srv.Close())
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	// The last part alone may be too long for that.
	for n := 80; n <= 260; n++ {
		name := filepath.Join(dir, strings.Repeat("x", n))
		srv, err := listen(local.LongPathOption, name)
		if err == nil {
			must(t, dialLong(local.LongPathOption, name))
			must(t, srv.Close())
			continue
		}
		wantIs(t, "a long last part", err, sock.HostNotFoundError, syscall.ENAMETOOLONG)
		if n <= 85 {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	wantIs(t, "more than the system's paths hold", func() error { _, err := listen(local.LongPathOption, "/"+strings.Repeat("x/", 3000)+"s"); return err }(), sock.HostNotFoundError)
	// A short path is what it was.
	short := filepath.Join(base, "s")
	srv, err = listen(local.LongPathOption, short)
	must(t, err)
	talk(t, srv, short)
	must(t, srv.Close())
}

func TestRuntimeName(t *testing.T) {
	dir := sockettest.Dir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(at("good"), 0o700))
	must(t, os.Mkdir(at("open"), 0o700))
	must(t, os.Chmod(at("open"), 0o755))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	must(t, os.Symlink(at("good"), at("link")))
	for _, test := range []struct {
		name, dir, want string
		code            sock.SocketError
	}{
		{"good", at("good"), at("good") + "/s", 0},
		{"with a slash", at("good") + "/", at("good") + "/s", 0},
		{"link", at("link"), at("link") + "/s", 0},
		{"unset", "", "", sock.HostNotFoundError},
		{"relative", "good", "", sock.HostNotFoundError},
		{"missing", at("missing"), "", sock.HostNotFoundError},
		{"file", at("file"), "", sock.HostNotFoundError},
		{"open", at("open"), "", sock.SocketAccessError},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", test.dir)
			got, err := local.RuntimeName("s")
			if got != test.want {
				t.Errorf("RuntimeName is %q; want %q", got, test.want)
			}
			if test.want == "" {
				wantIs(t, "RuntimeName", err, test.code)
			} else {
				must(t, err)
				srv, err := local.Listen(got)
				must(t, err)
				talk(t, srv, got)
				must(t, srv.Close())
			}
			for _, name := range []string{"/absolute/s", "@abstract"} {
				if strings.HasPrefix(name, "@") && !sockettest.HasAbstractNames {
					continue
				}
				if got, err := local.RuntimeName(name); got != name || err != nil {
					t.Errorf("RuntimeName(%q) is %q, %v", name, got, err)
				}
			}
			for _, name := range []string{"", "a\x00b", "@"} {
				got, err := local.RuntimeName(name)
				wantIs(t, "RuntimeName", err, sock.HostNotFoundError)
				if got != "" {
					t.Errorf("RuntimeName(%q) is %q", name, got)
				}
			}
		})
	}
	t.Run("names that lead out", func(t *testing.T) {
		t.Setenv("XDG_RUNTIME_DIR", at("good"))
		for name, in := range map[string]bool{"..": false, "../s": false, "a/../../s": false, "./../s": false, "a/s": true, "a/../s": true, "..s": true} {
			got, err := local.RuntimeName(name)
			if in {
				must(t, err)
				continue
			}
			wantIs(t, "RuntimeName", err, sock.HostNotFoundError)
			if got != "" || err == nil || !strings.Contains(err.Error(), "leads out") {
				t.Errorf("RuntimeName(%q) is %q, %v", name, got, err)
			}
		}
	})
	t.Run("another user's", func(t *testing.T) {
		sockettest.NeedRoot(t)
		must(t, os.Chown(at("good"), 65534, -1))
		t.Setenv("XDG_RUNTIME_DIR", at("good"))
		_, err := local.RuntimeName("s")
		wantIs(t, "RuntimeName", err, sock.SocketAccessError)
	})
}

func TestAbstractNamesAreTheirExactBytes(t *testing.T) {
	stem := sockettest.AbstractName(t)
	limit := len(syscall.RawSockaddrUnix{}.Path) - 1
	byteNames := []string{stem, stem + "\x00", stem + "\x00\x00", stem + "\x00b", "\x00" + stem, stem + "/s", "@" + stem, stem + "\xff\xfe", stem + " \n",
		stem + strings.Repeat("x", limit-len(stem)), stem + strings.Repeat("\x00", limit-len(stem))}
	servers := map[string]*local.Server{}
	for _, name := range byteNames { // all at once: none is another
		srv := new(local.Server)
		srv.SetSocketOptions(local.AbstractNamespaceOption)
		if err := srv.Listen(name); err != nil {
			t.Errorf("Listen(%q): %v", name, err)
			continue
		}
		defer srv.Close()
		servers[name] = srv
		// What the kernel calls it.
		list, err := os.ReadFile("/proc/net/unix")
		must(t, err)
		if !strings.Contains(name, "\n") && !strings.Contains(string(list), "@"+strings.ReplaceAll(name, "\x00", "@")+"\n") {
			t.Errorf("the kernel's list has no %q", name)
		}
		var second local.Server
		second.SetSocketOptions(local.AbstractNamespaceOption)
		second.SetReplaceStale(true)
		wantIs(t, "the same name again", second.Listen(name), sock.AddressInUseError)
	}
	for name, srv := range servers {
		var c local.Socket
		must(t, c.SetSocketOptions(local.AbstractNamespaceOption))
		must(t, c.ConnectToServer(name, 0))
		must(t, c.WaitForConnected(sockettest.Long()))
		taken := next(t, srv)
		if c.FullServerName() != name || taken.FullServerName() != name || srv.FullServerName() != name || srv.ServerName() != name {
			t.Errorf("%q is called %q, %q, %q", name, c.FullServerName(), taken.FullServerName(), srv.FullServerName())
		}
		if want := "@" + name; srv.Addr().String() != want || taken.LocalAddr().String() != want || c.RemoteAddr().String() != want {
			t.Errorf("%q has the addresses %q, %q, %q", name, srv.Addr(), taken.LocalAddr(), c.RemoteAddr())
		}
		c.Abort()
		// By its other spelling.
		d := dialName(t, "@"+name)
		next(t, srv)
		d.Abort()
	}
	for _, name := range []string{stem + "\x00c", stem[:len(stem)-1], stem + "x"} {
		_, err := local.Dial("@" + name)
		wantIs(t, "Dial of a name that nobody has", err, sock.ConnectionRefusedError)
	}
	var srv local.Server
	srv.SetSocketOptions(local.AbstractNamespaceOption)
	long := strings.Repeat("x", limit+1)
	err := srv.Listen(long)
	wantIs(t, "too long", err, sock.HostNotFoundError, syscall.ENAMETOOLONG)
	if err != nil && !(strings.Contains(err.Error(), "108") && strings.Contains(err.Error(), "107")) {
		t.Errorf("the error names no length and limit: %v", err)
	}
	wantIs(t, "empty", srv.Listen(""), sock.HostNotFoundError)
}

func FuzzFullServerName(f *testing.F) {
	for _, name := range []string{"", "s", "/", "/a", "@", "@a", "@\x00", "a\x00", "../a", "./", "//", "a/b", strings.Repeat("x", 200), "/" + strings.Repeat("x", 106), "@" + strings.Repeat("x", 107), "\xff"} {
		for _, tmp := range []string{"", "/tmp", "/tmp/", ".", "@x", "rel/", "/"} {
			f.Add(name, tmp)
		}
	}
	limit := len(syscall.RawSockaddrUnix{}.Path) - 1
	f.Fuzz(func(t *testing.T, name, tmp string) {
		if strings.IndexByte(tmp, 0) >= 0 {
			t.Skip("no environment variable holds that")
		}
		t.Setenv("TMPDIR", tmp)
		full, err := local.FullServerName(name)
		if err != nil {
			var e *sock.Error
			if full != "" || !errors.As(err, &e) || e.Code == sock.NoError || e.Code == sock.UnknownSocketError {
				t.Fatalf("%q, %v", full, err)
			}
			if _, err := local.RuntimeName(name); err == nil && len(name) <= limit-100 && len(tmp) < 50 {
				t.Fatalf("RuntimeName(%q) works", name)
			}
			return
		}
		again, err := local.FullServerName(name)
		if again != full || err != nil {
			t.Fatalf("the second time it is %q, %v", again, err)
		}
		switch {
		case name == "":
			t.Fatal("an empty name has no error")
		case name[0] == '/', name[0] == '@':
			if full != name {
				t.Fatalf("%q became %q", name, full)
			}
		default:
			dir := tmp
			if dir == "" {
				dir = "/tmp"
			}
			if want := path.Clean(dir) + "/" + name; full != want {
				t.Fatalf("%q became %q; want %q", name, full, want)
			}
		}
		if name[0] == '@' {
			if len(full)-1 > limit {
				t.Fatalf("an abstract name of %d bytes", len(full)-1)
			}
		} else if len(full) > limit || strings.IndexByte(full, 0) >= 0 {
			t.Fatalf("%q is no path that fits", full)
		}
	})
}
