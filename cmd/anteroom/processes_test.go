package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
)

// These tests are of two programs that talk, as they are used: real processes, with pipes as their stdin and stdout.

// noise is n bytes that a seed decides, and summed what their hash is.
func noise(seed byte, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
}

func summed(seed byte, n int64) []byte {
	h := sha256.New()
	io.Copy(h, noise(seed, n))
	return h.Sum(nil)
}

// A program is a process of the command's.
type program struct {
	*exec.Cmd
	said  buffer // on stderr
	ended <-chan error
}

// launch starts the command. It is killed when the test ends.
func launch(t *testing.T, stdin io.Reader, stdout io.Writer, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command("anteroom", args...)}
	p.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	p.Stdin, p.Stdout, p.Stderr = stdin, stdout, &p.said
	p.WaitDelay = sockettest.Long() // a child of a killed one may hold its pipes
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	p.ended = ended
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- p.Wait()
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-done
	})
	return p
}

// listening waits until a server says where it listens.
func (p *program) listening(t *testing.T) string {
	t.Helper()
	var at string
	sockettest.Eventually(t, "the server says where it listens", func() bool {
		_, rest, _ := strings.Cut(p.said.String(), "listening on ")
		line, _, found := strings.Cut(rest, "\n")
		at = line
		return found
	})
	return at
}

// endsWell waits until it has ended by itself, without an error.
func (p *program) endsWell(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(6 * sockettest.Long())
	defer timer.Stop()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Fatalf("%q: %v, %s", p.Args, err, p.said.String())
		}
	case <-timer.C:
		t.Fatalf("%q has not ended; it said: %s", p.Args, p.said.String())
	}
}

// A buffer may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A local name, and a port.
func addresses(t *testing.T) map[string]string {
	return map[string]string{"local": sockettest.Name(t), "tcp": "tcp:127.0.0.1:0"}
}

// 64 MiB each way at once, bit by bit, between serve and connect; both end by themselves, whose own stdin ends first or last.
func TestServeAndConnectExchange(t *testing.T) {
	const size = 64 << 20
	for kind, address := range addresses(t) {
		for _, sizes := range [][2]int64{{size, size}, {size, 0}, {0, size}, {1, 3 << 20}, {3 << 20, 1}, {0, 0}} {
			t.Run(fmt.Sprint(kind, sizes), func(t *testing.T) {
				got := [2]hash.Hash{sha256.New(), sha256.New()}
				server := launch(t, noise(1, sizes[0]), got[1], "serve", address)
				client := launch(t, noise(2, sizes[1]), got[0], "connect", server.listening(t))
				client.endsWell(t)
				server.endsWell(t)
				for i, n := range sizes {
					if !bytes.Equal(got[i].Sum(nil), summed(byte(1+i), n)) {
						t.Errorf("of the %d bytes of side %d others have arrived", n, i)
					}
				}
			})
		}
	}
}

// The same through a process for the connection, which is told of the end of what the client says.
func TestServeCommandExchange(t *testing.T) {
	const size = 64 << 20
	for kind, address := range addresses(t) {
		t.Run(kind, func(t *testing.T) {
			got := sha256.New()
			server := launch(t, nil, nil, "serve", "--once", address, "--", "copier")
			client := launch(t, noise(3, size), got, "connect", server.listening(t))
			client.endsWell(t)
			server.endsWell(t)
			if !bytes.Equal(got.Sum(nil), summed(3, size)) {
				t.Error("other bytes came back")
			}
		})
	}
}

// 200 clients at once, each a process, and served by one.
func TestServeManyClients(t *testing.T) {
	const clients, size = 200, 100_000
	server := launch(t, nil, nil, "serve", "--max-conns", "20", sockettest.Name(t), "--", "copier")
	at := server.listening(t)
	var all sync.WaitGroup
	for i := range clients { // they live side by side, but are started one by one: not every system manages to start so many at once
		got := sha256.New()
		var said bytes.Buffer
		var cmd *exec.Cmd
		sockettest.Eventually(t, "the system manages to start a client", func() bool {
			cmd = exec.Command("anteroom", "connect", "--timeout", "0", at)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = noise(byte(i), size), got, &said
			err := cmd.Start()
			if err != nil {
				t.Logf("client %d: %v", i, err)
			}
			return err == nil
		})
		all.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("client %d: %v: %s", i, err, said.String())
			} else if !bytes.Equal(got.Sum(nil), summed(byte(i), size)) {
				t.Errorf("client %d: other bytes came back", i)
			}
		})
	}
	all.Wait()
	if words := strings.TrimPrefix(server.said.String(), "anteroom: listening on "+at+"\n"); words != "" {
		t.Errorf("the server says: %s", words)
	}
}

// A peer that does not pass on the end of what it sends, as programs on Windows' pipes do not, is waited for as long as --end-after says.
func TestEndAfter(t *testing.T) {
	for kind, address := range addresses(t) {
		t.Run(kind, func(t *testing.T) {
			open, feed, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			defer feed.Close()
			var got buffer
			server := launch(t, open, nil, "serve", address) // whose stdin does not end
			client := launch(t, strings.NewReader("question"), &got, "connect", "--end-after", sockettest.Scale(time.Second).String(), server.listening(t))
			if _, err := feed.WriteString("answer"); err != nil {
				t.Fatal(err)
			}
			client.endsWell(t)
			if got.String() != "answer" {
				t.Errorf("the client has got %q", got.String())
			}
			if kind == "local" {
				server.endsWell(t) // its client has gone, which TCP does not say before something is sent
			}
		})
	}
}

// A client whose server has gone before everything was sent says so, whatever its stdin is.
func TestConnectIsCutOff(t *testing.T) {
	for name, stdin := range map[string]func(t *testing.T) io.Reader{
		"a pipe": func(*testing.T) io.Reader { return noise(4, 1<<40) },
		"a file": func(t *testing.T) io.Reader {
			f, err := os.Create(filepath.Join(sockettest.Dir(t), "much"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			if _, err := f.Write(make([]byte, 8<<20)); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := launch(t, nil, nil, "serve", "--once", sockettest.Name(t), "--", "copier", "byte") // before one has come, it would not be cut off
			client := launch(t, stdin(t), nil, "connect", server.listening(t))
			err := sockettest.Done(t, "the client ends", client.ended)
			if client.ProcessState.ExitCode() != exitPeer || !strings.Contains(client.said.String(), errUnsent.Error()) {
				t.Errorf("%v: %s", err, client.said.String())
			}
		})
	}
}

// A client whose stdin is open and silent ends when the server has closed.
func TestConnectEndsWithTheServer(t *testing.T) {
	open, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	defer feed.Close()
	server := launch(t, nil, nil, "serve", "--once", sockettest.Name(t), "--", "copier", "nothing")
	launch(t, open, nil, "connect", server.listening(t)).endsWell(t)
}
