//go:build linux

package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"anteroom/internal/sockettest"
)

// The addresses of the namespace, all on one interface.
const (
	proxyHost  = "10.77.0.1" // the proxies', and ours
	peerHost   = "10.77.0.2" // whoever talks to us through a proxy
	forbidden  = "10.77.0.3" // the proxies' rules forbid it
	peerHost6  = "fd77::2"
	peerName   = "peer.example"
	proxyHost6 = "fd77::1"
)

// The user whom danted knows in the namespace: it asks the system's own list.
const (
	user, password = "anteroom-test", "secret"
	passwordHash   = "$6$anteroom$GV89RtHWV56sBe/DgHlQi.TofSdAdT2Feu0L5aIDmf7kGjdx45VXVm5PTQg3nk3DNB1FBzSrcal6VJIMNKSl6."
)

// insideVar tells the process that it runs in the namespace: it is "yes", or why there is none.
const insideVar = "ANTEROOM_TEST_NAMESPACE"

func TestMain(m *testing.M) {
	switch os.Getenv(insideVar) {
	case "":
		os.Exit(runInside())
	case "yes":
		cleanUp, err := furnish()
		if err != nil {
			fmt.Fprintln(os.Stderr, "the namespace:", err)
			os.Exit(1)
		}
		code := sockettest.Main(m)
		cleanUp()
		os.Exit(code)
	}
	os.Exit(sockettest.Main(m))
}

// runInside runs this process again in a namespace, if there can be one, and returns its exit status.
func runInside() int {
	var missing string
	if os.Geteuid() != 0 {
		missing = "root for a network namespace"
	} else if _, err := exec.LookPath("ip"); err != nil {
		missing = "iproute2 for a network namespace"
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVar+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	runtime.LockOSThread() // Pdeathsig is about the thread
	err := errors.ErrUnsupported
	if missing == "" {
		if err = cmd.Start(); err != nil {
			missing = fmt.Sprintf("root for a network namespace (%v)", err)
		}
	}
	if missing != "" {
		cmd = exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), insideVar+"="+missing)
		err = cmd.Start()
	}
	if err == nil {
		err = cmd.Wait()
	}
	var status *exec.ExitError
	switch {
	case errors.As(err, &status) && status.ExitCode() > 0:
		return status.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "the tests in the namespace:", err)
		return 1
	}
	return 0
}

// furnish gives the namespace its addresses, users and host names.
func furnish() (cleanUp func(), err error) {
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "v0", "type", "veth", "peer", "name", "v1"},
		{"addr", "add", proxyHost + "/24", "dev", "v0"},
		{"addr", "add", peerHost + "/24", "dev", "v0"},
		{"addr", "add", forbidden + "/24", "dev", "v0"},
		{"addr", "add", proxyHost6 + "/64", "dev", "v0", "nodad"},
		{"addr", "add", peerHost6 + "/64", "dev", "v0", "nodad"},
		{"link", "set", "v0", "up"},
		{"link", "set", "v1", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	cleanUp = func() { os.RemoveAll(dir) }
	for file, line := range map[string]string{
		"/etc/passwd": user + ":x:54321:54321::/:/bin/false\n",
		"/etc/shadow": user + ":" + passwordHash + ":20000:0:99999:7:::\n",
		"/etc/hosts":  peerHost + " " + peerName + "\n",
	} {
		was, err := os.ReadFile(file)
		if err != nil {
			return cleanUp, err
		}
		mine := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(mine, append(was, line...), 0o644); err != nil {
			return cleanUp, err
		}
		if err := syscall.Mount(mine, file, "", syscall.MS_BIND, ""); err != nil {
			return cleanUp, os.NewSyscallError("mount", err)
		}
	}
	return cleanUp, nil
}

// require reports that what is missing: it skips the test, or fails it where ANTEROOM_REQUIRE_INTEROP says that nothing may be missing.
func require(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("ANTEROOM_REQUIRE_INTEROP") != "" {
		t.Fatalf("needs %s (and ANTEROOM_REQUIRE_INTEROP is set)", what)
	}
	t.Skipf("needs %s", what)
}

// must fails the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listenAsPeer listens as somebody whom a proxy connects to, and calls serve with each connection.
func listenAsPeer(t testing.TB, host string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	must(t, err)
	ended := sockettest.Go(func() error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			serve(c)
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		sockettest.Done(t, "the peer ends", ended)
	})
	return l.Addr().String()
}

// dialAsPeer connects as somebody who comes to a listener's address at a proxy. While the listener binds anew nobody is there, and the address may
// change. It returns that to which it has connected, too.
func dialAsPeer(t testing.TB, l net.Listener) (peer *net.TCPConn, at string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(peerHost)}}
	sockettest.Eventually(t, "the listener's address can be connected to", func() (ok bool) {
		at = l.Addr().String()
		c, err := d.Dial("tcp", at)
		if err == nil {
			peer = c.(*net.TCPConn)
		}
		return err == nil
	})
	t.Cleanup(func() { peer.Close() })
	return peer, at
}
