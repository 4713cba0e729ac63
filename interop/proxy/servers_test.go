//go:build linux

package proxy_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
)

// A server is a real proxy that runs.
type server struct {
	proxy.Proxy
	t    testing.TB
	cmd  *exec.Cmd
	log  lockedBuffer
	args []string
}

// A lockedBuffer is a bytes.Buffer for two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts the server's program, until the test ends, and waits until it listens. What it logs is shown if the test fails.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(s.t, s.cmd.Start())
	sockettest.Eventually(s.t, s.args[0]+" listens", func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort(s.HostName, strconv.Itoa(int(s.Port))))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// stop ends the server's program and its children.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(sockettest.Scale(5*time.Second), func() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	s.cmd.Wait()
	timer.Stop()
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // children, which would keep the port
	s.cmd = nil
}

// startServer starts a proxy of a type with a configuration, in which %s is its host and %d its port.
func startServer(t testing.TB, program string, typ proxy.Type, config string, args func(config, dir string) []string) *server {
	t.Helper()
	if why := os.Getenv(insideVar); why != "yes" {
		require(t, why)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		require(t, program)
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	free, err := net.Listen("tcp", proxyHost+":0")
	must(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	file := filepath.Join(dir, "config")
	must(t, os.WriteFile(file, fmt.Appendf(nil, config, proxyHost, port), 0o644))
	s := &server{t: t, Proxy: proxy.Proxy{Type: typ, HostName: proxyHost, Port: uint16(port)}, args: append([]string{path}, args(file, dir)...)}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("%s says:\n%s", program, &s.log)
		}
	})
	s.start()
	return s
}

// startDanted starts dante's SOCKS5 server, which takes a method of authentication ("none" or "username") and commands ("connect", "bind").
func startDanted(t testing.TB, method, commands string) *server {
	t.Helper()
	return startServer(t, "danted", proxy.Socks5Proxy, `
logoutput: stderr
internal: %s port = %d
external: v0
socksmethod: `+method+`
clientmethod: none
user.privileged: root
user.notprivileged: nobody
client pass {
	from: 0/0 to: 0/0
}
socks block {
	from: 0/0 to: `+forbidden+`/32
	command: connect
}
socks pass {
	from: 0/0 to: 0/0
	command: `+commands+`
}
socks pass {
	from: 0/0 to: 0/0
	command: bindreply
}
`, func(config, dir string) []string {
		return []string{"-f", config, "-p", filepath.Join(dir, "pid"), "-N", "1"}
	})
}

// startTinyproxy starts tinyproxy; auth is a line for its configuration, or "".
func startTinyproxy(t testing.TB, auth string) *server {
	t.Helper()
	return startServer(t, "tinyproxy", proxy.HttpProxy, `
Listen %s
Port %d
Timeout 60
MaxClients 20
`+auth+"\n", func(config, _ string) []string { return []string{"-d", "-c", config} })
}
