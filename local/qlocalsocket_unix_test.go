//go:build unix

package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// 38. A descriptor that does not listen is refused, where Qt takes it and does not listen either. The names of abstract addresses are
// exact; Qt's test binds them with the trailing NULs of the whole field, which are part of them.
func TestQLocalSocket_verifyListenWithDescriptor(t *testing.T) {
	for _, test := range []struct {
		name     string
		abstract string
	}{
		{"normal", ""}, {"abstract", "socketname"}, {"abstractwithslash", "socketwitha/inthename"}, {"abstractpadded", "padded" + strings.Repeat("\x00", 40)},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := sockettest.Name(t)
			address := &unix.SockaddrUnix{Name: name}
			if test.abstract != "" {
				name = sockettest.AbstractName(t) + test.abstract
				address.Name = "\x00" + name
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			must(t, err)
			must(t, unix.Bind(fd, address))
			must(t, unix.Listen(fd, 50))
			srv := newQtServer(t)
			must(t, srv.ListenDescriptor(sock.FromFd(uintptr(fd))))
			if srv.FullServerName() != name {
				t.Errorf("FullServerName: %q; want %q", srv.FullServerName(), name)
			}
			want := name
			if test.abstract == "" {
				want = filepath.Base(name)
			}
			if srv.ServerName() != want {
				t.Errorf("ServerName: %q; want %q", srv.ServerName(), want)
			}
			c := closeLater(t, new(local.Socket))
			if test.abstract != "" {
				c.SetSocketOptions(local.AbstractNamespaceOption)
			}
			must(t, c.ConnectToServer(srv.FullServerName(), 0))
			next(t, &srv.Server)
			must(t, srv.Close())
			if test.abstract == "" {
				if _, err := os.Lstat(name); err != nil {
					t.Errorf("Close has removed the file: %v", err)
				}
			}
		})
	}
	t.Run("no path", func(t *testing.T) {
		a, b := rawPair(t)
		defer unix.Close(a)
		defer unix.Close(b)
		srv := newQtServer(t)
		wantIs(t, "ListenDescriptor", srv.ListenDescriptor(sock.FromFd(uintptr(a))), sock.UnsupportedSocketOperationError)
		if srv.IsListening() || srv.ServerName() != "" || srv.FullServerName() != "" {
			t.Error("it listens")
		}
	})
}
