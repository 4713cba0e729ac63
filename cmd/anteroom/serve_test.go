//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
)

// A testRun is a command that runs in this process.
type testRun struct {
	stdout, stderr buffer
	signals        chan os.Signal
	status         chan int
}

// start runs a command whose stdin is empty, unless one is given.
func start(stdin io.Reader, args ...string) *testRun {
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	r := &testRun{signals: make(chan os.Signal, 2), status: make(chan int, 1)}
	w := &world{stdin, &r.stdout, &r.stderr, func() (<-chan os.Signal, func()) { return r.signals, func() {} }}
	go func() { r.status <- run(args, w) }()
	return r
}

// ends waits for the command's end.
func (r *testRun) ends(t *testing.T, status int) {
	t.Helper()
	select {
	case got := <-r.status:
		if got != status {
			t.Errorf("exit status %d, want %d; stderr: %s", got, status, r.stderr.String())
		}
	case <-time.After(sockettest.Long()):
		t.Fatalf("the command has not ended; stderr: %s", r.stderr.String())
	}
}

// connected connects to a server of this test, and makes sure that a process serves it.
func connected(t *testing.T, name string) conn {
	t.Helper()
	var c *local.Socket
	sockettest.Eventually(t, "connecting", func() (ok bool) {
		var err error
		c, err = local.Dial(name)
		return err == nil
	})
	t.Cleanup(func() { c.Close() })
	echo(t, c)
	return c
}

func echo(t *testing.T, c conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(sockettest.Long()))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

func gone(path string) func() bool {
	return func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	}
}

func TestServeSignalWaitsForProcesses(t *testing.T) {
	name := sockettest.Name(t)
	r := start(nil, "serve", name, "--", "cat")
	c := connected(t, name)
	r.signals <- syscall.SIGTERM
	sockettest.Eventually(t, "the end of listening", gone(name))
	echo(t, c)
	if len(r.status) > 0 {
		t.Error("the server has not waited")
	}
	c.CloseWrite()
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	r.ends(t, 143)
	want := "anteroom: listening on " + name + "\nanteroom: stopped listening, waiting for 1 to end; a second signal kills\n"
	if got := r.stderr.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestServeSecondSignalKills(t *testing.T) {
	for _, once := range []bool{false, true} {
		name := sockettest.Name(t)
		args := []string{"serve", "-q", name, "--", "sh", "-c", "cat; sleep 1000"} // what it has started ends, too
		if once {
			args = append([]string{"serve", "--once"}, args[1:]...)
		}
		r := start(nil, args...)
		c := connected(t, name)
		r.signals <- os.Interrupt
		sockettest.Eventually(t, "the end of listening", gone(name))
		echo(t, c)
		r.signals <- os.Interrupt
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
		r.ends(t, 130)
	}
}

func TestServeSignalBeforeAnybodyCame(t *testing.T) {
	for _, args := range [][]string{{"--once", "--", "cat"}, {"--", "cat"}, {}} {
		name := sockettest.Name(t)
		r := start(nil, append([]string{"serve", name}, args...)...)
		sockettest.Eventually(t, "listening", func() bool { return r.stderr.String() != "" })
		r.signals <- syscall.SIGHUP
		r.ends(t, 129)
		if !gone(name)() {
			t.Error("the file is still there")
		}
	}
}

// A server that has one connection to serve lets nobody else believe that he is served.
func TestServeOnceLetsInOne(t *testing.T) {
	name := sockettest.Name(t)
	r := start(nil, "serve", "-q", "--once", name, "--", "cat")
	c := connected(t, name)
	if _, err := local.Dial(name); err == nil {
		t.Error("a second one was let in")
	}
	c.Close()
	r.ends(t, 0)
}

func TestConnectSignal(t *testing.T) {
	name := sockettest.Name(t)
	r := start(nil, "connect", "--wait", name)
	r.signals <- os.Interrupt
	r.ends(t, 130)

	srv, err := local.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	r = start(nil, "connect", name)
	c, err := srv.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGTERM
	r.ends(t, 143)
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	c.Close()
}

// A peer that has only ended its own side still gets what comes on stdin, however long that takes.
func TestConnectGoesOnAfterHalfClose(t *testing.T) {
	name := sockettest.Name(t)
	srv, err := local.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer feed.Close()
	r := start(in, "connect", name)
	accepted, err := srv.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := accepted.(*local.Socket)
	defer c.Close()
	c.SetDeadline(time.Now().Add(sockettest.Long()))
	io.WriteString(c, "that is all")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	sockettest.Eventually(t, "the server's words", func() bool { return r.stdout.String() == "that is all" })
	for range 3 {
		io.WriteString(feed, "more")
		p := make([]byte, 4)
		if _, err := io.ReadFull(c, p); err != nil || string(p) != "more" {
			t.Fatalf("%q, %v", p, err)
		}
	}
	c.Close() // now there is nobody to send to, and stdin is still open
	r.ends(t, 0)
}

// What stdin has given and the peer has not taken is an error.
func TestConnectUnsentInput(t *testing.T) {
	name := sockettest.Name(t)
	srv, err := local.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	much := filepath.Join(t.TempDir(), "much")
	if err := os.WriteFile(much, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(much)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := start(in, "connect", name)
	c, err := srv.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "no")
	c.Close()
	r.ends(t, exitPeer)
	if got, want := r.stderr.String(), "anteroom: "+errUnsent.Error()+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := r.stdout.String(); got != "no" {
		t.Errorf("got %q", got)
	}
}

func TestStdoutFails(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		stderr string
	}{
		{syscall.EPIPE, 141, ""},
		{syscall.ENOSPC, exitPeer, "anteroom: stdout: no space left on device\n"},
	} {
		for _, args := range [][]string{{"help"}, {"--version"}, {"name", "/x"}, {"demo"}} {
			var stderr buffer
			w := &world{strings.NewReader(""), failing{test.err}, &stderr, func() (<-chan os.Signal, func()) { return nil, func() {} }}
			if got := run(args, w); got != test.status || stderr.String() != test.stderr {
				t.Errorf("%v: %v: status %d, %q", args, test.err, got, stderr.String())
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestDemoSignal(t *testing.T) {
	t.Setenv("TMPDIR", sockettest.Dir(t))
	r := start(nil, "demo")
	r.signals <- os.Interrupt
	select {
	case status := <-r.status:
		if status != 130 && status != 0 { // it may have been faster
			t.Errorf("status %d, stderr %s", status, r.stderr.String())
		}
	case <-time.After(sockettest.Long()):
		t.Fatal("the demo has not ended")
	}
	entries, err := os.ReadDir(os.TempDir())
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A second signal is not caught: it ends a command that waits for who reads its stdout.
func TestSecondSignalEnds(t *testing.T) {
	t.Setenv("TMPDIR", sockettest.Dir(t))
	srv, at := serverOf(t, "local")
	for _, args := range [][]string{{"demo"}, {"bench", "-q", "--connections", "1", "--warmup", "0s", "--duration", "1h", at}} {
		out := blocking{make(chan struct{}, 1), make(chan struct{})}
		signals, uncaught := make(chan os.Signal, 2), make(chan struct{})
		stop := sync.OnceFunc(func() { close(uncaught) })
		w := &world{strings.NewReader(""), out, io.Discard, func() (<-chan os.Signal, func()) { return signals, stop }}
		status := sockettest.Go(func() int { return run(args, w) })
		if args[0] == "demo" {
			sockettest.Done(t, "the demo writes", out.began)
		} else if _, err := accepted(t, srv).Read(make([]byte, 1)); err != nil { // it measures
			t.Fatal(err)
		}
		signals <- os.Interrupt
		sockettest.Done(t, "the signals are let go", uncaught)
		if len(status) > 0 {
			t.Errorf("%v: it has ended, and nobody has read what it says", args)
		}
		close(out.free)
		if got := sockettest.Done(t, "the command ends", status); got != 130 {
			t.Errorf("%v: status %d", args, got)
		}
	}
}

// A blocking writer has taken nothing before it is free.
type blocking struct{ began, free chan struct{} }

func (b blocking) Write(p []byte) (int, error) {
	select {
	case b.began <- struct{}{}:
	default:
	}
	<-b.free
	return len(p), nil
}
