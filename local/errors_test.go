package local_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// Who listens and who connects give bad names the same answers.
func TestBadNames(t *testing.T) {
	dir := sockettest.Dir(t)
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("contents"), 0o600))
	loop := filepath.Join(dir, "loop")
	if sockettest.HasFiles {
		must(t, os.Symlink(loop, loop))
	}
	long := "/" + strings.Repeat("x", 299)
	tests := []struct {
		name   string
		server string
		is     []error
		text   string // a regular expression for what follows "op net addr: "
	}{
		{"empty", "", []error{sock.HostNotFoundError}, `not found: the name is empty`},
		{"NUL", "a\x00b", []error{sock.HostNotFoundError}, `not found: .*NUL`},
		{"NUL in a path", dir + "/a\x00b", []error{sock.HostNotFoundError}, `not found: .*NUL`},
		{"NUL alone", "\x00", []error{sock.HostNotFoundError}, `not found: .*NUL`},
		{"@ alone", "@", []error{sock.HostNotFoundError}, `not found: .*@`},
		{"long path", long, []error{sock.HostNotFoundError, syscall.ENAMETOOLONG}, `not found: .*` + long + `.* 300 .*10[3-8]\b`},
		{"long bare name", long[1:], []error{sock.HostNotFoundError, syscall.ENAMETOOLONG}, `not found: .*bytes.*10[3-8]\b`},
		{"no directory", filepath.Join(dir, "none", "s"), []error{sock.HostNotFoundError, fs.ErrNotExist, syscall.ENOENT}, `not found: \w+: no such file or directory`},
		{"file as directory", filepath.Join(file, "s"), []error{sock.HostNotFoundError, syscall.ENOTDIR}, `not found: \w+: not a directory`},
		{"loop of links", filepath.Join(loop, "s"), []error{sock.HostNotFoundError, syscall.ELOOP}, `not found: \w+: `},
	}
	if !sockettest.HasFiles {
		tests = tests[:5] // what is wrong with any name
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			check := func(op string, err, last error) {
				t.Helper()
				wantIs(t, op, err, test.is...)
				if last == nil || err == nil || last.Error() != err.Error() {
					t.Errorf("%s: the last error is %v; want %v", op, last, err)
				}
				if err != nil && !regexp.MustCompile(`(?s)^`+op+` local( .*)?: `+test.text).MatchString(err.Error()) {
					t.Errorf("%s: the error says\n\t%s\nwant what matches\n\t%s", op, err, test.text)
				}
			}
			var srv local.Server
			err := srv.Listen(test.server)
			check("listen", err, srv.Err())
			if srv.IsListening() {
				t.Error("it listens")
			}
			var c local.Socket
			log := watch(t, &c)
			err = c.ConnectToServer(test.server, 0)
			check("connect", err, c.Err())
			log.want(t, "ConnectingState", "HostNotFoundError", "UnconnectedState")
			if wait := c.WaitForConnected(sock.Forever); wait == nil || wait.Error() != err.Error() {
				t.Errorf("WaitForConnected: %v; want %v", wait, err)
			}
			if _, err := local.Dial(test.server); err == nil || err.Error() != c.ErrorString() {
				t.Errorf("Dial: %v; want %s", err, c.ErrorString())
			}
			if _, err := local.Listen(test.server); err == nil || err.Error() != srv.ErrorString() {
				t.Errorf("Listen: %v; want %s", err, srv.ErrorString())
			}
		})
	}
	for _, test := range tests[:min(7, len(tests))] { // what needs nobody's answer
		full, err := local.FullServerName(test.server)
		wantIs(t, "FullServerName: "+test.name, err, test.is...)
		if full != "" {
			t.Errorf("FullServerName: %s: %q", test.name, full)
		}
	}
}

func TestLongestNameWorks(t *testing.T) {
	sockettest.NeedFiles(t)
	dir := sockettest.Dir(t)
	limit := len(syscall.RawSockaddrUnix{}.Path) - 1
	name := filepath.Join(dir, strings.Repeat("x", limit-len(dir)-1))
	if len(name) != limit {
		t.Fatal(len(name))
	}
	srv, err := local.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	dial(t, srv)
	if c := next(t, srv); c.FullServerName() != name {
		t.Errorf("the accepted socket says %q", c.FullServerName())
	}
	must(t, srv.Close())
	if _, err := os.Lstat(name); err == nil {
		t.Error("Close has left the file")
	}
	var second local.Server
	wantIs(t, "one byte more", second.Listen(name+"x"), syscall.ENAMETOOLONG)
}

func TestListenWithSomethingInTheWayTouchesNothing(t *testing.T) {
	sockettest.NeedFiles(t)
	dir := sockettest.Dir(t)
	tests := []struct {
		name string
		make func(path string) error
		says string
	}{
		{"file", func(p string) error { return os.WriteFile(p, []byte("contents"), 0o640) }, "not a socket"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o750) }, "is a directory"},
		{"link to nothing", func(p string) error { return os.Symlink(filepath.Join(dir, "target"), p) }, "symbolic link"},
		{"link to a file", func(p string) error { return os.Symlink(filepath.Join(dir, "file"), p) }, "symbolic link"},
		{"live server", func(p string) error {
			srv, err := local.Listen(p)
			if err == nil {
				t.Cleanup(func() { srv.Close() })
			}
			return err
		}, "socket stands at"},
		{"stale socket", func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		}, "socket stands at"},
	}
	for _, options := range []local.SocketOptions{local.NoOptions, local.UserAccessOption, local.WorldAccessOption} {
		for _, test := range tests {
			path := filepath.Join(dir, test.name)
			if options == local.NoOptions {
				must(t, test.make(path))
			}
			before, err := os.Lstat(path)
			must(t, err)
			names, _ := os.ReadDir(dir)
			var srv local.Server
			srv.SetSocketOptions(options)
			err = srv.Listen(path)
			wantIs(t, test.name, err, sock.AddressInUseError, syscall.EADDRINUSE)
			want := "listen local " + path + ": address in use: bind: address already in use"
			if err != nil && (!strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%s: the error says %q", test.name, err)
			}
			var e *sock.Error
			if !errors.As(err, &e) || e.Op != "listen" || e.Net != "local" || e.Addr.String() != path || e.Code != sock.AddressInUseError || e.Timeout() || e.Temporary() {
				t.Errorf("%s: the error is %#v", test.name, e)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() || !before.ModTime().Equal(after.ModTime()) {
				t.Errorf("%s: it was touched: %v", test.name, err)
			}
			if now, _ := os.ReadDir(dir); len(now) != len(names) {
				t.Errorf("%s: %d files are there; want %d", test.name, len(now), len(names))
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "contents" {
		t.Errorf("the file is %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "target")); err == nil {
		t.Error("the link's target was made")
	}
	dialName(t, filepath.Join(dir, "live server")).Abort()
}

func TestDialWhereNobodyListens(t *testing.T) {
	sockettest.NeedFiles(t)
	dir := sockettest.Dir(t)
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	l.Close()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "datagram"), Net: "unixgram"})
	must(t, err)
	defer datagram.Close()
	for name, is := range map[string][]error{
		"stale":    {sock.ConnectionRefusedError, syscall.ECONNREFUSED},
		"file":     {sock.ConnectionRefusedError, syscall.ECONNREFUSED},
		"none":     {sock.HostNotFoundError, local.ServerNotFoundError, fs.ErrNotExist},
		"datagram": {sock.UnsupportedSocketOperationError, syscall.EPROTOTYPE, errors.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			_, err := local.Dial(path)
			wantIs(t, "Dial", err, is...)
			var errno syscall.Errno
			var code sock.SocketError
			if errors.As(err, &errno); !errors.As(err, &code) || code != is[0] {
				t.Errorf("errors.As finds %v, %v", errno, code)
			}
			if want := "connect local " + path + ": " + code.Error() + ": connect: " + errno.Error(); err.Error() != want {
				t.Errorf("the error says %q; want %q", err, want)
			}
			var c local.Socket
			log := watch(t, &c)
			err = c.ConnectToServer(path, 0)
			wantIs(t, "ConnectToServer", err, is...)
			wantIs(t, "WaitForConnected", c.WaitForConnected(0), is...)
			log.want(t, "ConnectingState", code.Name(), "UnconnectedState")
			if c.ServerName() != "" || c.FullServerName() != "" || c.IsValid() || c.SocketError() != code {
				t.Errorf("names %q, %q, valid %v, error %v", c.ServerName(), c.FullServerName(), c.IsValid(), c.SocketError())
			}
			wantIs(t, "ConnectToServer without a name, because the name counts once", c.ConnectToServer("", 0), sock.HostNotFoundError)
		})
	}
}

func TestErrorTexts(t *testing.T) {
	srv := listen(t)
	client := dial(t, srv)
	server := next(t, srv)
	name := srv.FullServerName()
	is := func(what string, err error, text string) {
		t.Helper()
		if err == nil || err.Error() != text {
			t.Errorf("%s says\n\t%v\nwant\n\t%s", what, err, text)
		}
	}
	is("a wait of the server's", srv.WaitForNewConnection(0), "wait for newConnection local "+name+": timed out: i/o timeout")
	is("a wait of the socket's", client.WaitForReadyRead(0), "wait for readyRead local "+name+": timed out: i/o timeout")
	must(t, srv.SetDeadline(time.Unix(1, 0)))
	_, err := srv.Accept()
	is("a deadline", err, "accept local "+name+": timed out: i/o timeout")
	must(t, client.SetReadDeadline(time.Unix(1, 0)))
	_, err = client.Read(make([]byte, 1))
	is("a read deadline", err, "read local "+name+": timed out: i/o timeout")
	must(t, srv.Close())
	_, err = srv.Accept()
	is("Accept after Close", err, "accept local: not possible in this state: use of closed network connection")
	must(t, server.Close())
	_, err = server.Write([]byte("x"))
	is("Write after Close", err, "write local "+name+": not possible in this state: use of closed network connection")
	is("a wait that meets the end", client.WaitForReadyRead(sock.Forever), "read local "+name+": closed by the peer: EOF")
	_, err = client.WriteBuffered([]byte("x"))
	is("writing after the end", err, "write local "+name+": closed by the peer: broken pipe")
	if got := client.ErrorString(); got != "read local "+name+": closed by the peer: EOF" {
		t.Errorf("ErrorString: %q", got)
	}
}

func TestConnectToServerInUse(t *testing.T) {
	srv := listen(t)
	client := dial(t, srv)
	next(t, srv)
	log := watch(t, client)
	err := client.ConnectToServer(srv.FullServerName(), 0)
	wantIs(t, "ConnectToServer", err, sock.OperationError, syscall.EISCONN)
	log.want(t, "OperationError")
	wantState(t, client, sock.ConnectedState)
	wantIs(t, "Err", client.Err(), sock.OperationError)
	wantIs(t, "SetServerName", client.SetServerName("x"), sock.OperationError)
	wantIs(t, "SetSocketOptions", client.SetSocketOptions(0), sock.OperationError)
	wantIs(t, "ConnectContext", client.ConnectContext(t.Context(), srv.FullServerName()), sock.OperationError)
	if client.ServerName() != srv.FullServerName() {
		t.Errorf("its server is %q", client.ServerName())
	}
	var c local.Socket
	wantIs(t, "a mode that does not exist", c.ConnectToServer(srv.FullServerName(), 8), sock.UnsupportedSocketOperationError)
}
