//go:build unix

// The peer speaks to Unix-domain sockets and stops by signals; Qt on Windows would need another one.

package qt_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a peer. It is long because only a failing test ever waits for all of it.
var patience = scaled(30 * time.Second)

// scaled stretches d by ANTEROOM_TIMESCALE.
func scaled(d time.Duration) time.Duration {
	if f, err := strconv.ParseFloat(os.Getenv("ANTEROOM_TIMESCALE"), 64); err == nil && f > 0 {
		return time.Duration(float64(d) * f)
	}
	return d
}

// buildDir holds the compiled peers; the first build makes it.
var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "qtpeer") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := buildDir(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// require reports that what is missing: it skips the test, or fails it where ANTEROOM_REQUIRE_INTEROP says that nothing may be missing.
func require(t testing.TB, what, how string) {
	t.Helper()
	if os.Getenv("ANTEROOM_REQUIRE_INTEROP") != "" {
		t.Fatalf("needs %s (and ANTEROOM_REQUIRE_INTEROP is set): %s", what, how)
	}
	t.Skipf("needs %s: %s", what, how)
}

// peerBuild is the peer for one Qt major version, compiled at most once per test process.
type peerBuild struct {
	major    int
	packages string // what to install, in Debian's names
	compile  func() (path string, err error)
}

var peerBuilds = []peerBuild{
	{5, "qtbase5-dev, pkg-config and g++", sync.OnceValues(func() (string, error) { return compilePeer(5) })},
	{6, "qt6-base-dev, pkg-config and g++", sync.OnceValues(func() (string, error) { return compilePeer(6) })},
}

var errNoQt = errors.New("no Qt to build the peer with")

func compilePeer(major int) (string, error) {
	cxx := cmp.Or(os.Getenv("CXX"), "g++")
	module := fmt.Sprintf("Qt%dNetwork", major)
	if _, err := exec.LookPath(cxx); err != nil {
		return "", fmt.Errorf("%w: %w", errNoQt, err)
	}
	if err := exec.Command("pkg-config", "--exists", module+" >= 5.15").Run(); err != nil {
		return "", fmt.Errorf("%w: pkg-config --exists %s: %w", errNoQt, module, err)
	}
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", module).Output()
	if err != nil {
		return "", fmt.Errorf("pkg-config --cflags --libs %s: %w", module, err)
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("peer%d", major))
	args := append([]string{"-std=c++17", "-O1", "-fPIC", "peer.cpp", "-o", path}, strings.Fields(string(flags))...)
	if out, err := exec.Command(cxx, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s peer.cpp: %w\n%s", cxx, err, out)
	}
	return path, nil
}

// buildPeer returns the path of the peer for Qt 5 or Qt 6. Without that Qt the test is not run; see require.
func buildPeer(t testing.TB, major int) string {
	t.Helper()
	for _, b := range peerBuilds {
		if b.major != major {
			continue
		}
		path, err := b.compile()
		if errors.Is(err, errNoQt) {
			require(t, fmt.Sprintf("Qt %d", major), "install "+b.packages)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Fatalf("no peer for Qt %d", major)
	return ""
}

// eachQt runs f as a subtest for every Qt major version. The peers are built first: one missing Qt is told once, and no subtest's time is g++'s.
func eachQt(t *testing.T, f func(t *testing.T, major int)) {
	for _, b := range peerBuilds {
		t.Run(fmt.Sprintf("Qt%d", b.major), func(t *testing.T) {
			buildPeer(t, b.major)
			f(t, b.major)
		})
	}
}

// eachQtPair runs f as a subtest for every pair of a server's and a client's Qt.
func eachQtPair(t *testing.T, f func(t *testing.T, server, client int)) {
	for _, s := range peerBuilds {
		for _, c := range peerBuilds {
			t.Run(fmt.Sprintf("Qt%dtoQt%d", c.major, s.major), func(t *testing.T) {
				buildPeer(t, s.major)
				buildPeer(t, c.major)
				f(t, s.major, c.major)
			})
		}
	}
}

// A peer is a running peer.cpp. Its methods fail the test instead of returning what no test could go on with.
type peer struct {
	title  string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout transcript
	stderr bytes.Buffer  // to be read after ended
	ended  chan struct{} // closed when the process has ended and all that it said is in stdout and stderr
	err    error         // cmd.Wait's, after ended
}

// startPeer starts the peer for one Qt with the process's environment and env besides. When the test ends it is made to end too.
func startPeer(t testing.TB, major int, env []string, args ...string) *peer {
	t.Helper()
	p := &peer{title: fmt.Sprintf("Qt %d peer %.200s", major, strings.Join(args, " ")), ended: make(chan struct{})}
	p.stdout.more = make(chan struct{}, 1)
	p.cmd = exec.Command(buildPeer(t, major), args...)
	// Qt 5 turns names that are not ASCII into question marks in the C locale.
	p.cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.stdout.end()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s: %v\n%sstderr:\n%s", p.title, p.err, &p.stdout, &p.stderr)
		}
	})
	return p
}

// expect returns the rest of the next line that begins with prefix, and skips those before it.
func (p *peer) expect(t testing.TB, prefix string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		line, ok, ended := p.stdout.next()
		switch {
		case ok && strings.HasPrefix(line, prefix):
			return line[len(prefix):]
		case ok:
			continue
		case ended:
			<-p.ended
			t.Fatalf("%s ended (%v) without %q", p.title, p.err, prefix)
		}
		select {
		case <-p.stdout.more:
		case <-timeout:
			t.Fatalf("%s: no %q within %v", p.title, prefix, patience)
		}
	}
}

// send gives a script one command.
func (p *peer) send(t testing.TB, command string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, command+"\n"); err != nil {
		t.Fatalf("%s: %v", p.title, err)
	}
}

// do gives a script one command and returns its result; the signals that came before the result are skipped.
func (p *peer) do(t testing.TB, command string) string {
	t.Helper()
	p.send(t, command)
	name, _, _ := strings.Cut(command, " ")
	return p.expect(t, "= "+name+" ")
}

// wait waits for the peer to end by itself; nil is exit status 0.
func (p *peer) wait() error {
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		return fmt.Errorf("%s: still running after %v", p.title, patience)
	}
}

// stop makes the peer end in order, so that a server removes its socket file, or else kills it.
func (p *peer) stop() {
	p.stdin.Close()
	p.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	select {
	case <-p.ended:
	case <-time.After(scaled(5 * time.Second)):
		p.kill()
	}
}

// kill is a crash: a server leaves its socket file.
func (p *peer) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// A transcript is what a peer has printed, line by line.
type transcript struct {
	mu    sync.Mutex
	lines []string
	rest  []byte // of a line not yet ended
	taken int    // lines that next has returned
	ended bool
	more  chan struct{} // holds a token when there is something new to see
}

func (tr *transcript) Write(b []byte) (int, error) {
	tr.mu.Lock()
	tr.rest = append(tr.rest, b...)
	for {
		line, rest, ok := bytes.Cut(tr.rest, []byte("\n"))
		if !ok {
			break
		}
		tr.lines = append(tr.lines, string(line))
		tr.rest = rest
	}
	tr.mu.Unlock()
	tr.wake()
	return len(b), nil
}

func (tr *transcript) end() {
	tr.mu.Lock()
	tr.ended = true
	tr.mu.Unlock()
	tr.wake()
}

func (tr *transcript) wake() {
	select {
	case tr.more <- struct{}{}:
	default:
	}
}

func (tr *transcript) next() (line string, ok, ended bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.taken == len(tr.lines) {
		return "", false, tr.ended
	}
	tr.taken++
	return tr.lines[tr.taken-1], true, false
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var b strings.Builder
	for _, line := range tr.lines {
		fmt.Fprintf(&b, "%.200s\n", line)
	}
	return b.String()
}

// since returns the lines after the first that begins with prefix, up to what expect has reached: the order in which signals came.
func (tr *transcript) since(prefix string) []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i, line := range tr.lines[:tr.taken] {
		if strings.HasPrefix(line, prefix) {
			return tr.lines[i+1 : tr.taken]
		}
	}
	return nil
}

// unescape undoes the peer's escapes of text and data.
func unescape(t testing.TB, s string) string {
	t.Helper()
	var b []byte
	for s != "" {
		if s[0] != '\\' {
			b, s = append(b, s[0]), s[1:]
			continue
		}
		c, _, tail, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			t.Fatalf("peer's escapes in %q: %v", s, err)
		}
		b, s = append(b, byte(c)), tail
	}
	return string(b)
}

// pattern returns the first n bytes of what the peer's send sends.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

// summary is what the peer prints after "sent" and "received".
func summary(b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%d sha256 %s", len(b), hex.EncodeToString(sum[:]))
}

// shortDir returns a new directory with a short path. A socket's path holds 104 bytes on some systems, and t.TempDir spends most of them on the test's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "qt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// socketPath returns a free path for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(shortDir(t), "s")
}

var lastName atomic.Int64

// bareName returns a name that nothing uses, for the temporary directory or the abstract namespace.
func bareName() string {
	return fmt.Sprintf("qtpeer-%d-%d", os.Getpid(), lastName.Add(1))
}
