package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"golang.org/x/sys/unix"
)

// stand is a program for the scripts: "stand KIND PATH" makes a socket of a kind, says so in the file KIND.ready, and holds it until it is
// killed.
func init() { others["stand"] = stand }

func stand() {
	kind, path := os.Args[1], os.Args[2]
	if err := makeSocket(kind, path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.WriteFile(kind+".ready", nil, 0o600); err != nil {
		os.Exit(1)
	}
	os.Stdin.Read(make([]byte, 1)) // the scripts give a pipe that nobody closes
	unix.Pause()
}

func makeSocket(kind, path string) error {
	types := map[string]int{"bound": unix.SOCK_STREAM, "deaf": unix.SOCK_STREAM, "client": unix.SOCK_STREAM, "datagram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}
	if kind == "net" {
		l, err := net.Listen("unix", path)
		if err == nil {
			standing = l
		}
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, types[kind]|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	switch kind {
	case "seqpacket":
		return unix.Listen(fd, 1)
	case "deaf":
		return errors.Join(unix.Listen(fd, 1), unix.Shutdown(fd, unix.SHUT_RD))
	case "client":
		return unix.Connect(fd, &unix.SockaddrUnix{Name: os.Args[3]})
	}
	return nil
}

var standing net.Listener // keeps it from being collected

// message makes a netlink message, and attribute an attribute, as the kernel does.

func message(kind uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, make([]byte, 10)...)
	return pad(append(b, body...))
}

func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return pad(append(b, value...))
}

func pad(b []byte) []byte { return append(b, make([]byte, aligned(len(b))-len(b))...) }

func words(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

func socketMessage(state byte, attributes ...[]byte) []byte {
	body := append([]byte{unix.AF_UNIX, unix.SOCK_STREAM, state, 0}, words(42, 1, 2)...)
	return message(unix.SOCK_DIAG_BY_FAMILY, append(body, bytes.Join(attributes, nil)...))
}

var diagTests = []struct {
	name   string
	answer []byte
	want   []diagSocket
	done   bool
	err    error
}{
	{name: "empty", err: errDiag},
	{name: "done", answer: message(unix.NLMSG_DONE, words(0)), done: true},
	{name: "done with an error", answer: message(unix.NLMSG_DONE, words(^uint32(unix.ENOMEM)+1)), done: true, err: unix.ENOMEM},
	{name: "error", answer: message(unix.NLMSG_ERROR, words(^uint32(unix.ENOENT)+1)), err: unix.ENOENT},
	{name: "another kind", answer: message(99, nil)},
	{
		name: "listening",
		answer: socketMessage(stateListen, attribute(diagName, []byte("/a b\n\x00")), attribute(diagVFS, words(7, 8)), attribute(5, make([]byte, 36)),
			attribute(diagQueueLen, words(3, 128)), attribute(diagShutdown, []byte{0}), attribute(diagUID, words(1000))),
		want: []diagSocket{{typ: unix.SOCK_STREAM, state: stateListen, inode: 42, name: "/a b\n", file: fileID{dev: 8, ino: 7}, queue: 3, backlog: 128, uid: 1000}},
	},
	{
		name: "several",
		answer: append(append(socketMessage(stateClose), socketMessage(stateListen, attribute(diagName, []byte("\x00a\x00b\n")), attribute(diagShutdown, []byte{1}))...),
			message(unix.NLMSG_DONE, nil)...),
		want: []diagSocket{
			{typ: unix.SOCK_STREAM, state: stateClose, inode: 42, queue: -1, backlog: -1, uid: -1},
			{typ: unix.SOCK_STREAM, state: stateListen, inode: 42, name: "\x00a\x00b\n", queue: -1, backlog: -1, deaf: true, uid: -1},
		},
		done: true,
	},
	{name: "no header", answer: make([]byte, 15), err: errDiag},
	{name: "no length", answer: make([]byte, 16), err: errDiag},
	{name: "longer than it is", answer: words(99, 0, 0, 0), err: errDiag},
	{name: "no socket", answer: message(unix.SOCK_DIAG_BY_FAMILY, make([]byte, 15)), err: errDiag},
	{name: "another family", answer: message(unix.SOCK_DIAG_BY_FAMILY, make([]byte, 16)), err: errDiag},
	{name: "short attribute", answer: socketMessage(stateListen, attribute(diagVFS, words(1))), err: errDiag},
	{name: "attribute without length", answer: socketMessage(stateListen, words(0)), err: errDiag},
	{name: "attribute longer than it is", answer: socketMessage(stateListen, []byte{99, 0, 0, 0}), err: errDiag},
	{name: "half an attribute", answer: socketMessage(stateListen, []byte{5, 0})[:34], err: errDiag},
}

func TestParseDiag(t *testing.T) {
	for _, test := range diagTests {
		t.Run(test.name, func(t *testing.T) {
			got, done, err := parseDiag(test.answer)
			if !errors.Is(err, test.err) || done != test.done {
				t.Fatalf("done %t, error %v, want %t, %v", done, err, test.done, test.err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// FuzzParseDiag looks for an answer that is not understood and not refused either.
func FuzzParseDiag(f *testing.F) {
	for _, test := range diagTests {
		f.Add(test.answer)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sockets, _, err := parseDiag(b)
		if most := len(b) / (unix.SizeofNlMsghdr + diagMessageSize); len(sockets) > most {
			t.Fatalf("%d sockets in %d bytes", len(sockets), len(b))
		}
		for _, s := range sockets {
			if err == nil && s.name != "" && !strings.Contains(string(b), s.name) {
				t.Fatalf("a name that is not there: %q", s.name)
			}
		}
	})
}

// What is waiting to be accepted is counted.
func TestListQueue(t *testing.T) {
	path := sockettest.Name(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 7)); err != nil {
		t.Fatal(err)
	}
	for queue := range 3 {
		r := start(nil, "ls", "--json", path)
		r.ends(t, exitDone)
		var list []map[string]any
		if err := json.Unmarshal([]byte(r.stdout.String()), &list); err != nil || len(list) != 1 {
			t.Fatalf("%v, %s", err, r.stdout.String())
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		comm, err := os.ReadFile("/proc/self/comm")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"name": nil, "kind": "path", "state": "live", "owner": userName(os.Geteuid()), "uid": float64(os.Geteuid()),
			"mode": fmt.Sprintf("%04o", info.Mode().Perm()), "pid": float64(os.Getpid()), "command": strings.TrimSpace(string(comm)),
			"queue": float64(queue), "backlog": float64(7), "path": path, "raw": nil,
		}
		if name, ok := strings.CutPrefix(path, tempDir()); ok {
			want["name"] = name
		}
		if !reflect.DeepEqual(list[0], want) {
			t.Errorf("got %v, want %v", list[0], want)
		}
		c, err := local.Dial(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
}

// What stands in the way is named without the bytes that a terminal would obey.
func TestListStrangeFile(t *testing.T) {
	t.Setenv("TMPDIR", sockettest.Dir(t))
	if err := os.WriteFile(filepath.Join(os.TempDir(), "a\x1b[1m"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(nil, "ls", "a*")
	r.ends(t, exitPeer)
	if got, want := r.stderr.String(), "anteroom: "+os.TempDir()+`/a\x1b[1m is not a socket`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A name may have any bytes.
func TestListStrangeNames(t *testing.T) {
	dir := sockettest.Dir(t)
	t.Setenv("TMPDIR", dir)
	pid := strconv.Itoa(os.Getpid())
	for _, test := range []struct{ name, shown, raw string }{
		{"a\nb", `a\nb`, ""},
		{"a\tb\x1b[1m", `a\tb\x1b[1m`, ""},
		{`a\n"b"`, `a\\n"b"`, ""},
		{"a b", "a b", ""},
		{"ü", "ü", ""},
		{"a\xff", `a\xff`, "yes"},
		{"-", "local:-", ""},
		{"-n", "local:-n", ""},
		{"tcp:x", "local:tcp:x", ""},
		{"[x", "[x", ""},
		{"@\xff\nname" + pid, `@\xff\nname` + pid, "yes"},
	} {
		t.Run(test.shown, func(t *testing.T) {
			path := test.name
			if path[0] != '@' {
				path = dir + "/" + path
			}
			srv, err := local.Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			glob := strings.NewReplacer(`\`, `\\`, "[", `\[`).Replace(test.name)
			r := start(nil, "ls", "--", glob)
			r.ends(t, exitDone)
			lines := strings.Split(r.stdout.String(), "\n")
			if len(lines) != 3 || !strings.HasPrefix(lines[1], test.shown+"  ") || !strings.Contains(lines[1], " live ") {
				t.Errorf("got %q", lines)
			}
			r = start(nil, "ls", "--json", "--", glob)
			r.ends(t, exitDone)
			var list []struct{ Name, Path, Raw string }
			if err := json.Unmarshal([]byte(r.stdout.String()), &list); err != nil || len(list) != 1 {
				t.Fatalf("%v, %s", err, r.stdout.String())
			}
			if got := list[0]; (got.Raw != "") != (test.raw != "") || test.raw == "" && strings.TrimPrefix(got.Name, localScheme) != test.name {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A server whose file was moved, as Qt moves it, is found where it is; one whose file is gone is not called live, nor is it gone.
func TestListMovedFile(t *testing.T) {
	dir := sockettest.Dir(t)
	if err := os.Mkdir(dir+"/own", 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", dir+"/own/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	state := func(path string) string {
		list, err := findSockets(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			if l.path == path {
				return l.state
			}
		}
		return "none"
	}
	if got := state(dir + "/own/s"); got != stateLive {
		t.Errorf("before: %s", got)
	}
	if err := os.Rename(dir+"/own/s", dir+"/t"); err != nil {
		t.Fatal(err)
	}
	if got := state(dir + "/t"); got != stateLive {
		t.Errorf("moved: %s", got)
	}
	if err := os.Remove(dir + "/t"); err != nil {
		t.Fatal(err)
	}
	if got := state(dir + "/own/s"); got != stateUnknown {
		t.Errorf("removed: %s", got)
	}
	other, err := net.Listen("unix", dir+"/own/s")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	list, err := findSockets(nil)
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[string]int)
	for _, l := range list {
		if l.path == dir+"/own/s" {
			states[l.state]++
		}
	}
	if states[stateLive] != 1 || states[stateUnknown] != 1 {
		t.Errorf("replaced: %v", states)
	}
}

// A directory is searched for moved files only once, whatever it is called: what there is to search is up to other users.
func TestListReadsOnce(t *testing.T) {
	dir := sockettest.Dir(t)
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	var ids []fileID
	for _, path := range []string{dir + "/a", dir + "/b"} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		file, err := openSocketFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, file.id())
		file.close()
	}
	f := &finder{read: make(map[dirID]map[fileID][]string)}
	if got := f.renamed(dir+"/gone", ids[0]); !slices.Equal(got, []string{dir + "/a"}) {
		t.Errorf("got %q", got)
	}
	if err := os.Remove(dir + "/b"); err != nil {
		t.Fatal(err)
	}
	if got := f.renamed(dir+"/link/gone", ids[1]); !slices.Contains(got, dir+"/b") {
		t.Errorf("it was read again: %q", got)
	}
}

// A path that is too long for an address is listed as it is.
func TestListLongPath(t *testing.T) {
	dir := sockettest.Dir(t) + "/" + strings.Repeat("long", 30)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	srv := new(local.Server)
	srv.SetSocketOptions(local.LongPathOption)
	if err := srv.Listen(dir + "/s"); err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	r := start(nil, "ls", dir+"/s")
	r.ends(t, exitDone)
	if !strings.Contains(r.stdout.String(), " live ") {
		t.Errorf("got %s", r.stdout.String())
	}
}
