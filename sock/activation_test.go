//go:build unix

package sock_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(sockettest.Main(m)) }

func variables() string {
	var set []string
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if v, ok := os.LookupEnv(name); ok {
			set = append(set, name+"="+v)
		}
	}
	return strings.Join(set, " ")
}

// The activated says what it was started with, a descriptor a line: its name, number, whether it is closed on exec, and what it is.
var _ = sockettest.Child("activated", func() {
	found, err := sock.Activations()
	if err != nil {
		fmt.Println("error", sock.CodeOf(err).Name(), err)
		fmt.Println("variables", strings.ReplaceAll(variables(), strconv.Itoa(os.Getpid()), "SELF"))
		return
	}
	for _, a := range found {
		fd, ok := a.Descriptor.Fd()
		flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
		var st unix.Stat_t
		unix.Fstat(int(fd), &st)
		fmt.Printf("%q %d %v %v %v %d\n", a.Name, fd, ok && a.Descriptor.IsValid() && !a.Descriptor.IsLent(), err, flags&unix.FD_CLOEXEC != 0, st.Ino)
	}
	fmt.Println("variables", strings.ReplaceAll(variables(), strconv.Itoa(os.Getpid()), "SELF"))
	if again, err := sock.Activations(); len(again) > 0 || err != nil {
		fmt.Println("again", len(again), err)
	}
	out, err := exec.Command("/bin/sh", "-c", `echo "child $LISTEN_PID$LISTEN_FDS$LISTEN_FDNAMES"; ls /proc/self/fd 2>/dev/null | tr '\n' ' '`).CombinedOutput()
	fmt.Println(strings.TrimSpace(string(out)), err)
})

// The hasty asks in many goroutines at once, and says what each got, unless that is nothing.
var _ = sockettest.Child("activated in a hurry", func() {
	var all sync.WaitGroup
	start := make(chan struct{})
	for range 16 {
		all.Go(func() {
			<-start
			if found, err := sock.Activations(); len(found) > 0 || err != nil {
				fmt.Println(len(found), err)
			}
		})
	}
	close(start)
	all.Wait()
})

// A server that was started with a listener answers one client on it.
var _ = sockettest.Child("activated server", func() {
	found, err := sock.Activations()
	if err != nil || len(found) != 2 {
		fmt.Println("error", len(found), err)
		os.Exit(1)
	}
	for _, a := range found {
		fd, _ := a.Descriptor.Fd()
		f := os.NewFile(fd, "")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		if ul, ok := l.(*net.UnixListener); ok {
			ul.SetUnlinkOnClose(false)
		}
		c, err := l.Accept()
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Fprint(c, a.Name)
		c.Close()
		l.Close()
	}
})

// activated runs a child with n files as descriptors 3 and on, and with variables in which SELF is its number. It returns what it says.
func activated(t *testing.T, child string, n int, before string, vars ...string) (lines []string, inodes []string) {
	t.Helper()
	t.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") // or each child ends a second late
	cmd := sockettest.Command(t, child)
	exe := cmd.Path
	script := before
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		script += "; export " + name + `="` + strings.ReplaceAll(value, "SELF", "$$") + `"`
	}
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", script + `; exec "$0"`, exe}
	for range n {
		f, err := os.CreateTemp(sockettest.Dir(t), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, strconv.FormatUint(st.Ino, 10))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	lines, err := sockettest.StartCommand(t, cmd).Wait()
	if err != nil {
		t.Fatalf("the child: %v; it has said %q", err, lines)
	}
	return lines, inodes
}

func TestActivations(t *testing.T) {
	tests := []struct {
		name   string
		files  int
		before string
		vars   []string
		names  []string // of what is found
		fails  string   // what the error says
		stay   string   // the variables that are left
	}{
		{name: "not started so", files: 1},
		{name: "one", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=1"}, names: []string{""}},
		{name: "one with a name", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=1", "LISTEN_FDNAMES=web"}, names: []string{"web"}},
		{name: "three", files: 3, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=3", "LISTEN_FDNAMES=a:b:c"}, names: []string{"a", "b", "c"}},
		{name: "names of which some are empty", files: 3, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=3", "LISTEN_FDNAMES=:b:"}, names: []string{"", "b", ""}},
		{name: "the same name twice", files: 2, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:web"}, names: []string{"web", "web"}},
		{name: "empty names", files: 2, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=2", "LISTEN_FDNAMES="}, names: []string{"", ""}},
		{name: "fewer than are open", files: 3, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=2"}, names: []string{"", ""}},
		{name: "none", vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=0"}},
		{name: "another process", files: 1, vars: []string{"LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=web"}, stay: "LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=web"},
		{name: "another process and junk", files: 1, vars: []string{"LISTEN_PID=1", "LISTEN_FDS=junk"}, stay: "LISTEN_PID=1 LISTEN_FDS=junk"},
		{name: "names alone", files: 1, vars: []string{"LISTEN_FDNAMES=web"}, stay: "LISTEN_FDNAMES=web"},
		{name: "pid junk", files: 1, vars: []string{"LISTEN_PID=junk", "LISTEN_FDS=1"}, fails: "LISTEN_PID"},
		{name: "pid negative", files: 1, vars: []string{"LISTEN_PID=-1", "LISTEN_FDS=1"}, fails: "LISTEN_PID"},
		{name: "pid with more after it", files: 1, vars: []string{"LISTEN_PID=SELF ", "LISTEN_FDS=1"}, fails: "LISTEN_PID"},
		{name: "count junk", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=junk"}, fails: "LISTEN_FDS"},
		{name: "count missing", files: 1, vars: []string{"LISTEN_PID=SELF"}, fails: "LISTEN_FDS"},
		{name: "count negative", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=-1"}, fails: "LISTEN_FDS"},
		{name: "count huge", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=2147483647"}, fails: "LISTEN_FDS"},
		{name: "count overflows", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=99999999999999999999"}, fails: "LISTEN_FDS"},
		{name: "too many names", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=1", "LISTEN_FDNAMES=a:b"}, fails: "LISTEN_FDNAMES has 2 names"},
		{name: "too few names", files: 2, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=2", "LISTEN_FDNAMES=a"}, fails: "LISTEN_FDNAMES has 1 names"},
		{name: "a closed descriptor", files: 40, before: "exec 5<&- 6<&- 7<&- 8<&- 9<&-", vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=40"}, fails: "is not open"}, // the runtime may have taken some
		{name: "more than are open", files: 1, vars: []string{"LISTEN_PID=SELF", "LISTEN_FDS=60000"}, fails: "is not open"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.before == "" {
				test.before = ":"
			}
			lines, inodes := activated(t, "activated", test.files, test.before, test.vars...)
			if test.fails != "" {
				if len(lines) != 2 || !strings.HasPrefix(lines[0], "error UnsupportedSocketOperationError ") || !strings.Contains(lines[0], test.fails) {
					t.Errorf("it says %q; want an error that says %q", lines, test.fails)
				}
				return
			}
			var want []string
			for i, name := range test.names {
				want = append(want, fmt.Sprintf("%q %d true <nil> true %s", name, 3+i, inodes[i]))
			}
			want = append(want, strings.TrimSpace("variables "+test.stay))
			for i := range want {
				if i >= len(lines) || strings.TrimSpace(lines[i]) != want[i] {
					t.Fatalf("it says\n\t%q\nwant\n\t%q", lines, want)
				}
			}
			if strings.HasPrefix(lines[len(want)], "again") {
				t.Errorf("a second call: %s", lines[len(want)])
			}
			if test.stay == "" {
				if strings.TrimSpace(lines[len(want)]) != "child" {
					t.Errorf("a child's variables: %s", lines[len(want)])
				}
			}
			if len(lines) > len(want)+1 && len(test.names) > 0 { // the system lists descriptors
				open := strings.Fields(lines[len(want)+1])
				for i := range test.names {
					for _, fd := range open {
						if fd == strconv.Itoa(3+i) && i > 0 { // ls itself opens 3
							t.Errorf("a child has descriptor %s: %q", fd, open)
						}
					}
				}
			}
		})
	}
}

func TestActivationsInManyGoroutines(t *testing.T) {
	const files = 100
	lines, _ := activated(t, "activated in a hurry", files, ":", "LISTEN_PID=SELF", fmt.Sprint("LISTEN_FDS=", files))
	if len(lines) != 1 || lines[0] != fmt.Sprint(files, " <nil>") {
		t.Errorf("the goroutines got %q; want one that got all %d, and no error", lines, files)
	}
}

func TestActivationsHereAreNone(t *testing.T) {
	for _, vars := range []map[string]string{{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}} {
		for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			t.Setenv(name, vars[name])
		}
		if found, err := sock.Activations(); len(found) != 0 || err != nil {
			t.Errorf("%v: %v, %v", vars, found, err)
		}
	}
}

// The real thing, with a socket in the file system and one of TCP.
func TestActivationsBySystemd(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		if os.Getenv("ANTEROOM_REQUIRE_INTEROP") != "" {
			t.Fatal("needs systemd (and ANTEROOM_REQUIRE_INTEROP is set): ", err)
		}
		t.Skip("needs systemd: ", err)
	}
	path := filepath.Join(sockettest.Dir(t), "s")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	cmd := sockettest.Command(t, "activated server")
	args := []string{activate, "-l", path, "-l", address, "--fdname=file:tcp"}
	for _, v := range cmd.Env {
		if strings.HasPrefix(v, "ANTEROOM_") {
			args = append(args, "-E", v)
		}
	}
	cmd.Path, cmd.Args = activate, append(args, cmd.Path)
	cmd.Stderr = nil // it talks
	p := sockettest.StartCommand(t, cmd)
	for network, want := range map[string]string{"unix": "file", "tcp": "tcp"} {
		addr := path
		if network == "tcp" {
			addr = address
		}
		var c net.Conn
		sockettest.Eventually(t, "somebody listens at "+addr, func() bool {
			c, err = net.Dial(network, addr)
			return err == nil
		})
		defer c.Close()
		c.SetDeadline(time.Now().Add(sockettest.Long()))
		defer func() {
			if b, err := io.ReadAll(c); string(b) != want || err != nil {
				t.Errorf("%s answers %q, %v; want %q", network, b, err, want)
			}
		}()
	}
	t.Cleanup(func() {
		if rest, err := p.Wait(); err != nil || len(rest) > 0 {
			t.Errorf("the server says %q, %v", rest, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the socket's file has not survived: %v", err)
		}
	})
}
