package local_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

var umasks = []string{"0", "022", "077", "0777", "0200"}

// accessModes is what each combination of options asks for, as Qt documents them.
var accessModes = map[local.SocketOptions]uint32{
	local.UserAccessOption:                            0o700,
	local.GroupAccessOption:                           0o070,
	local.OtherAccessOption:                           0o007,
	local.UserAccessOption | local.GroupAccessOption:  0o770,
	local.UserAccessOption | local.OtherAccessOption:  0o707,
	local.GroupAccessOption | local.OtherAccessOption: 0o077,
	local.WorldAccessOption:                           0o777,
	local.WorldAccessOption | local.LongPathOption:    0o777,
}

func TestServerAccessOptionsWhateverTheUmask(t *testing.T) {
	for _, umask := range umasks {
		for _, uid := range []int{-1, nobodys} {
			if uid >= 0 && os.Geteuid() != 0 {
				continue
			}
			path := filepath.Join(openDir(t, 0o777|fs.ModeSticky), "s")
			p := sockettest.Start(t, "actor", umask, strconv.Itoa(uid), strconv.Itoa(uid))
			mask, err := strconv.ParseUint(umask, 8, 32)
			must(t, err)
			check := func(o local.SocketOptions, want uint32) {
				t.Helper()
				wantOK(t, "listen", do(p, "listen", path, strconv.Itoa(int(o))))
				if st := fileAt(t, path); st.Mode != unix.S_IFSOCK|want {
					t.Errorf("umask %s, uid %d, options %d: the mode is %o; want %o", umask, uid, o, st.Mode, unix.S_IFSOCK|want)
				}
				wantOK(t, "close", do(p, "close"))
			}
			for o, mode := range accessModes {
				check(o, mode)
			}
			check(local.NoOptions, 0o777&^uint32(mask))
		}
	}
}

// The umask is the process's: what listens must not change it, not even for a moment.
func TestServerListenLeavesTheUmaskAlone(t *testing.T) {
	dir := sockettest.Dir(t)
	srv := new(local.Server)
	srv.SetSocketOptions(local.WorldAccessOption)
	stop := make(chan struct{})
	listened := sockettest.Go(func() error {
		for {
			if err := srv.Listen(filepath.Join(dir, "s")); err != nil {
				return err
			}
			srv.Close()
			select {
			case <-stop:
				return nil
			default:
			}
		}
	})
	before := status(t, "Umask")
	for range 2000 {
		if now := status(t, "Umask"); now != before {
			t.Errorf("the umask is %s; it was %s", now, before)
			break
		}
	}
	close(stop)
	must(t, sockettest.Done(t, "the listener ends", listened))
}

// status returns what /proc says of this process.
func status(t testing.TB, key string) string {
	f, err := os.Open("/proc/self/status")
	must(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && k == key {
			return strings.TrimSpace(v)
		}
	}
	t.Skip("the system does not say")
	return ""
}

func TestServerSocketGroup(t *testing.T) {
	sockettest.NeedRoot(t)
	dir := openDir(t, 0o755)
	path := filepath.Join(dir, "s")
	wanted := map[string]int{"": os.Getegid(), "0": 0, "12345": 12345}
	if g, err := user.LookupGroupId("1"); err == nil {
		wanted[g.Name] = 1
	}
	for group, gid := range wanted {
		for _, o := range []local.SocketOptions{local.NoOptions, local.GroupAccessOption, local.UserAccessOption | local.GroupAccessOption} {
			var srv local.Server
			srv.SetSocketOptions(o)
			srv.SetSocketGroup(group)
			must(t, srv.Listen(path))
			st := fileAt(t, path)
			if int(st.Gid) != gid || o != 0 && st.Mode&0o777 != accessModes[o] {
				t.Errorf("group %q, options %d: group %d, mode %o; want group %d", group, o, st.Gid, st.Mode, gid)
			}
			must(t, srv.Close())
		}
	}
	var srv local.Server
	srv.SetSocketGroup("no such group here")
	wantIs(t, "no such group", srv.Listen(path), sock.HostNotFoundError)
	srv.SetSocketGroup("-1")
	wantIs(t, "a negative number", srv.Listen(path), sock.HostNotFoundError)
	for _, huge := range []string{"4294967295", "4294967296", "99999999999999999999"} { // (gid_t)-1 says "leave it alone", and larger ones do not exist
		srv.SetSocketGroup(huge)
		if err := srv.Listen(path); err == nil {
			t.Errorf("group %s: it listens, with group %d", huge, fileAt(t, path).Gid)
			srv.Close()
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a file is left")
	}
	// Who may come in by it, and who may not.
	srv.SetSocketGroup("12345")
	srv.SetSocketOptions(local.GroupAccessOption)
	must(t, srv.Listen(path))
	defer srv.Close()
	wantOK(t, "a member", do(actorAs(t, nobodys, 12345), "dial", path))
	wantOK(t, "a member by its effective group", do(actorAs(t, 12345), "dial", path))
	wantErr(t, "somebody else", do(actorAs(t, nobodys), "dial", path), sock.SocketAccessError)
	// A user may not give a file to a group that he is not in, and leaves nothing.
	sticky := filepath.Join(openDir(t, 0o777|fs.ModeSticky), "s")
	p := actorAs(t, nobodys, 12345)
	wantErr(t, "a group that it is not in", do(p, "listen", sticky, "2", "group=12346"), sock.SocketAccessError)
	if _, err := os.Lstat(sticky); err == nil {
		t.Error("a file is left")
	}
	wantOK(t, "a group that it is in", do(p, "listen", sticky, "2", "group=12345"))
	if st := fileAt(t, sticky); st.Gid != 12345 || st.Mode&0o777 != 0o070 {
		t.Errorf("group %d, mode %o", st.Gid, st.Mode)
	}
}

// In a directory that gives its group to what is made in it, GroupAccessOption still means the process's group.
func TestServerGroupAccessInASetgidDirectory(t *testing.T) {
	sockettest.NeedRoot(t)
	dir := openDir(t, 0o755)
	must(t, os.Chown(dir, -1, 12345))
	must(t, os.Chmod(dir, 0o755|fs.ModeSetgid))
	path := filepath.Join(dir, "s")
	for _, o := range []local.SocketOptions{local.GroupAccessOption, local.UserAccessOption | local.GroupAccessOption} {
		var srv local.Server
		srv.SetSocketOptions(o)
		must(t, srv.Listen(path))
		if st := fileAt(t, path); int(st.Gid) != os.Getegid() || st.Mode&0o777 != accessModes[o] {
			t.Errorf("options %d: the file's group is %d, mode %o; want group %d, the process's", o, st.Gid, st.Mode, os.Getegid())
		}
		if a := do(actorAs(t, 12345), "dial", path); !strings.HasPrefix(a, "err SocketAccessError") {
			t.Errorf("options %d: a member of the directory's group: %s", o, a)
		}
		must(t, srv.Close())
	}
}

// In a directory that says who else may use what is made in it (setfacl -d), the options are all that counts.
func TestServerAccessOptionsInADirectoryWithADefaultACL(t *testing.T) {
	sockettest.NeedRoot(t)
	dir := openDir(t, 0o755)
	acl := binary.LittleEndian.AppendUint32(nil, 2) // the version
	for _, e := range []struct {
		tag, mode uint16
		id        uint32
	}{{0x01, 7, ^uint32(0)}, {0x02, 7, nobodys}, {0x04, 0, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 0, ^uint32(0)}} { // user::rwx user:nobody:rwx group::--- mask::rwx other::---
		acl = binary.LittleEndian.AppendUint16(acl, e.tag)
		acl = binary.LittleEndian.AppendUint16(acl, e.mode)
		acl = binary.LittleEndian.AppendUint32(acl, e.id)
	}
	if err := unix.Setxattr(dir, "system.posix_acl_default", acl, 0); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the temporary directory's file system has no access control lists")
	} else {
		must(t, err)
	}
	path := filepath.Join(dir, "s")
	for o, mode := range accessModes {
		var srv local.Server
		srv.SetSocketOptions(o)
		srv.SetSocketGroup("12345")
		must(t, srv.Listen(path))
		for who, p := range map[string]struct {
			p       *sockettest.Process
			allowed bool
		}{"a member of the group": {actorAs(t, 12345), mode&0o070 != 0}, "the user whom the directory names": {actorAs(t, nobodys), mode&0o007 != 0}} {
			if a := do(p.p, "dial", path); strings.HasPrefix(a, "ok") != p.allowed {
				t.Errorf("options %d, %s: %s", o, who, a)
			}
		}
		must(t, srv.Close())
	}
}

// The watcher looks at a path as another user, as fast as it can: PATH MODE POLLS MAY GID. MODE is what the file may allow at most, in octal,
// MAY whether that user may connect, and GID the group that he runs with.
var _ = sockettest.Child("watcher", func() {
	path, may := os.Args[1], os.Args[4] == "true"
	mode, _ := strconv.ParseUint(os.Args[2], 8, 32)
	polls, _ := strconv.Atoi(os.Args[3])
	if os.Geteuid() == 0 {
		gid, _ := strconv.Atoi(os.Args[5])
		dropTo(nobodys, gid)
	} else {
		may = true // this is the user himself
	}
	fmt.Println("ready")
	seen, connected := 0, 0
	for range polls {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			seen++
			if wider := st.Mode & 0o7777 &^ uint32(mode); wider != 0 {
				fmt.Printf("the mode was %o, want no more than %o\n", st.Mode&0o7777, mode)
				return
			}
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
			unix.Close(fd)
		}
		if err == nil {
			connected++
			if !may {
				fmt.Println("connected, and must not be able to")
				return
			}
		}
	}
	fmt.Println("done", seen, connected)
})

func TestServerAccessIsNeverWiderThanAsked(t *testing.T) {
	endSoon(t)
	polls := 20_000
	if *longFlag {
		polls = 100_000
	}
	for _, umask := range []string{"0", "022", "077"} {
		mask, _ := strconv.ParseUint(umask, 8, 32)
		for _, test := range []struct {
			options local.SocketOptions
			group   bool
			mode    uint32
			may     bool
		}{
			{local.UserAccessOption, false, 0o700, false},
			{local.UserAccessOption | local.GroupAccessOption, false, 0o770, false},
			{local.OtherAccessOption, false, 0o007, true},
			{local.NoOptions, false, 0o777 &^ uint32(mask), mask&0o002 == 0},
		} {
			t.Run(fmt.Sprintf("umask %s, options %d", umask, test.options), func(t *testing.T) {
				path := filepath.Join(openDir(t, 0o755), "s")
				p := sockettest.Start(t, "actor", umask, "-1", "-1")
				watcher := sockettest.Start(t, "watcher", path, strconv.FormatUint(uint64(test.mode), 8), strconv.Itoa(polls), strconv.FormatBool(test.may), strconv.Itoa(nobodys))
				watcher.Expect("ready")
				p.Say("churn", path, strconv.Itoa(int(test.options)))
				rest, err := watcher.Wait()
				if err != nil || len(rest) != 1 {
					t.Fatalf("the watcher says %q, %v", rest, err)
				}
				var seen, connected int
				if _, err := fmt.Sscanf(rest[0], "done %d %d", &seen, &connected); err != nil {
					t.Errorf("the watcher says: %s", rest[0])
				} else if seen == 0 {
					t.Error("the watcher has seen nothing")
				}
				rounds := do(p, "stop")
				wantOK(t, "churn", rounds)
				t.Logf("%d polls; the file was seen %d times, connected to %d times; listened: %s", polls, seen, connected, rounds)
			})
		}
	}
}

// With a group of its own the file is never open for the process's. (Who looks sees the group and the mode of different moments: only
// connecting tells.)
func TestServerSocketGroupIsNeverWiderThanAsked(t *testing.T) {
	sockettest.NeedRoot(t)
	endSoon(t)
	for gid, may := range map[int]bool{os.Getegid(): false, 12345: true} {
		path := filepath.Join(openDir(t, 0o755), "s")
		var srv local.Server
		srv.SetSocketOptions(local.UserAccessOption | local.GroupAccessOption)
		srv.SetSocketGroup("12345")
		watcher := sockettest.Start(t, "watcher", path, "770", "20000", strconv.FormatBool(may), strconv.Itoa(gid))
		watcher.Expect("ready")
		stop := make(chan struct{})
		listened := sockettest.Go(func() (err error) {
			for err == nil {
				if err = srv.Listen(path); err == nil {
					err = srv.Close()
				}
				select {
				case <-stop:
					return err
				default:
				}
			}
			return err
		})
		rest, err := watcher.Wait()
		close(stop)
		must(t, sockettest.Done(t, "the listener ends", listened))
		var seen, connected int
		if err != nil || len(rest) != 1 {
			t.Fatalf("the watcher says %q, %v", rest, err)
		}
		if _, err := fmt.Sscanf(rest[0], "done %d %d", &seen, &connected); err != nil || seen == 0 || may && connected == 0 {
			t.Errorf("a member of group %d: the watcher says %s", gid, rest[0])
		}
		t.Logf("a member of group %d: seen %d times, connected %d times", gid, seen, connected)
	}
}

// An abstract name has no file; its options are kept all the same.
func TestServerAccessOptionsOfAnAbstractName(t *testing.T) {
	sockettest.NeedRoot(t)
	tests := []struct {
		options local.SocketOptions
		group   string
		self    bool
		member  bool
		other   bool
	}{
		{local.NoOptions, "", true, true, true},
		{local.UserAccessOption, "", true, false, false},
		{local.GroupAccessOption, "12345", false, true, false},
		{local.UserAccessOption | local.GroupAccessOption, "12345", true, true, false},
		{local.OtherAccessOption, "12345", false, false, true},
		{local.WorldAccessOption, "12345", true, true, true},
	}
	for _, test := range tests {
		for _, listen := range []func(srv *local.Server, name string) error{(*local.Server).Listen, adoptName} {
			checkAbstractOptions(t, listen, test.options, test.group, map[string]bool{"self": test.self, "member": test.member, "other": test.other})
		}
	}
}

// adoptName makes a server listen with the descriptor of a socket that listens on an abstract name already.
func adoptName(srv *local.Server, name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	for _, step := range []func() error{
		func() error { return unix.Bind(fd, &unix.SockaddrUnix{Name: name}) },
		func() error { return unix.Listen(fd, 10) },
		func() error { return srv.ListenDescriptor(sock.FromFd(uintptr(fd))) },
	} {
		if err == nil {
			err = step()
		}
	}
	return err
}

func checkAbstractOptions(t *testing.T, listen func(*local.Server, string) error, o local.SocketOptions, group string, allowed map[string]bool) {
	t.Helper()
	name := "@" + sockettest.AbstractName(t)
	var srv local.Server
	srv.SetSocketOptions(o)
	srv.SetSocketGroup(group)
	must(t, listen(&srv, name))
	refused := make(chan error, 10)
	srv.OnAcceptError(func(err error) { refused <- err })
	for who, p := range map[string]*sockettest.Process{"self": actor(t), "member": actorAs(t, nobodys, 12345), "other": actorAs(t, nobodys, 12346)} {
		what := fmt.Sprintf("options %d, %s", o, who)
		wantOK(t, what, do(p, "dial", name))
		if allowed[who] {
			c := next(t, &srv)
			if _, err := c.Write([]byte("welcome")); err != nil {
				t.Error(err)
			}
			if a := do(p, "read"); a != "ok welcome" {
				t.Errorf("%s: it reads %s", what, a)
			}
			continue
		}
		if a := do(p, "read"); a != "ok EOF" && !strings.HasPrefix(a, "err RemoteHostClosedError") {
			t.Errorf("%s: it reads %s", what, a)
		}
		wantIs(t, what, sockettest.Done(t, "the refusal is told", refused), sock.SocketAccessError)
		if srv.HasPendingConnections() {
			t.Errorf("%s: it is pending", what)
		}
	}
	must(t, srv.Close())
}
