//go:build unix

package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

func TestServerListenThatItsLoopsRefuseLeavesNothing(t *testing.T) {
	name := sockettest.Name(t)
	var srv local.Server
	srv.SetUnlinkOnClose(false) // which speaks of a server that has listened
	srv.SetLoops(closedGroup(t))
	wantIs(t, "Listen", srv.Listen(name), sock.OperationError)
	srv.SetLoops(nil)
	must(t, srv.Listen(name))
	must(t, srv.Close())
	must(t, os.Remove(name))
}

func TestServerAccessOptionsGiveTheirModes(t *testing.T) {
	if !sockettest.HasModes {
		t.Skip("the file has no mode to look at")
	}
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		for options, want := range map[local.SocketOptions]os.FileMode{
			local.NoOptions:                                  0o777 &^ os.FileMode(umask),
			local.UserAccessOption:                           0o700,
			local.GroupAccessOption:                          0o070,
			local.OtherAccessOption:                          0o007,
			local.UserAccessOption | local.GroupAccessOption: 0o770,
			local.UserAccessOption | local.OtherAccessOption: 0o707,
			local.WorldAccessOption:                          0o777,
		} {
			t.Run(fmt.Sprintf("%d under %03o", options, umask), func(t *testing.T) {
				name := sockettest.Name(t)
				var srv local.Server
				srv.SetSocketOptions(options)
				old := syscall.Umask(umask)
				err := srv.Listen(name)
				syscall.Umask(old)
				must(t, err)
				defer srv.Close()
				info, err := os.Lstat(name)
				must(t, err)
				if info.Mode() != want|os.ModeSocket {
					t.Errorf("the mode is %v; want %v", info.Mode(), want|os.ModeSocket)
				}
				if files, _ := os.ReadDir(filepath.Dir(name)); len(files) != 1 {
					t.Errorf("there are %d files; want the socket alone", len(files))
				}
				// What getsockname says is the name, and not that of a file which was renamed.
				c := dial(t, &srv)
				if s := next(t, &srv); s.FullServerName() != name || c.RemoteAddr().String() != name {
					t.Errorf("the names are %q and %v", s.FullServerName(), c.RemoteAddr())
				}
				srv.SetSocketOptions(local.AbstractNamespaceOption) // counts from the next Listen
				must(t, srv.Close())
				if _, err := os.Lstat(name); err == nil {
					t.Error("Close has left the file")
				}
			})
		}
	}
}

func TestServerAccessOptionsWhereEverybodyMayReplaceFiles(t *testing.T) {
	if !sockettest.HasModes {
		t.Skip("directories have no modes")
	}
	dir := sockettest.Dir(t)
	must(t, os.Chmod(dir, 0o777))
	name := filepath.Join(dir, "s")
	var srv local.Server
	srv.SetSocketOptions(local.UserAccessOption)
	err := srv.Listen(name)
	wantIs(t, "Listen", err, sock.SocketAccessError, os.ErrPermission)
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("it has left %v", files)
	}
	must(t, os.Chmod(dir, 0o777|os.ModeSticky))
	must(t, srv.Listen(name))
	must(t, srv.Close())
	must(t, os.Chmod(dir, 0o777))
	srv.SetSocketOptions(local.NoOptions) // promises nothing
	must(t, srv.Listen(name))
	must(t, srv.Close())
}

func TestServerCloseLeavesASuccessorsFile(t *testing.T) {
	first := listen(t)
	name := first.FullServerName()
	must(t, os.Remove(name))
	second, err := local.Listen(name)
	must(t, err)
	defer second.Close()
	must(t, first.Close())
	dial(t, second)
	next(t, second)

	must(t, os.Remove(name)) // and not any other thing that has taken its place
	must(t, os.WriteFile(name, []byte("x"), 0o600))
	must(t, second.Close())
	if _, err := os.Lstat(name); err != nil {
		t.Errorf("Close has removed a file that is no socket: %v", err)
	}
}

func TestServerCloseWithoutItsFile(t *testing.T) {
	srv := listen(t)
	must(t, os.Remove(srv.FullServerName()))
	must(t, srv.Close())
}

func TestServerSetUnlinkOnCloseFalseLeavesTheFile(t *testing.T) {
	for _, when := range []string{"before Listen", "after Listen"} {
		var srv local.Server
		if when == "before Listen" {
			srv.SetUnlinkOnClose(false)
		}
		listenWith(t, &srv)
		name := srv.FullServerName()
		srv.SetUnlinkOnClose(false)
		file, err := srv.File()
		must(t, err)
		must(t, srv.Close())
		if _, err := os.Lstat(name); err != nil {
			t.Fatalf("%s: Close has removed the file: %v", when, err)
		}
		// The duplicate goes on listening.
		fd, err := unix.Dup(int(file.Fd()))
		must(t, err)
		file.Close()
		var heir local.Server
		must(t, heir.ListenDescriptor(sock.FromFd(uintptr(fd))))
		c := dialName(t, name)
		next(t, &heir).Abort()
		c.Abort()
		must(t, heir.Close())
		must(t, os.Remove(name))
	}
}
