//go:build unix

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/tcp"
)

var kinds = [][2]string{{"local", "tcp"}, {"tcp", "local"}, {"local", "local"}, {"tcp", "tcp"}}

// bridged runs a bridge, and returns one connection over it, from both sides.
func bridged(t *testing.T, from, to string) (r *testRun, client, server conn) {
	t.Helper()
	srv, at := serverOf(t, to)
	r = start(nil, "bridge", "-v", newAddress(t, from), at)
	client = dialed(t, r.listening(t))
	return r, client, accepted(t, srv)
}

func ofKinds(t *testing.T, f func(t *testing.T, from, to string)) {
	for _, k := range kinds {
		t.Run(k[0]+" to "+k[1], func(t *testing.T) { f(t, k[0], k[1]) })
	}
}

// Many connections at once carry what is sent, all of it, and nothing of each other's.
func TestBridgeManyConnections(t *testing.T) {
	const conns, size = 200, 300 << 10
	ofKinds(t, func(t *testing.T, from, to string) {
		srv, at := serverOf(t, to)
		var all sync.WaitGroup
		defer all.Wait()
		defer srv.Close()
		all.Go(func() { // echoes
			for {
				c, err := srv.Accept()
				if err != nil {
					return
				}
				all.Go(func() {
					defer c.Close()
					io.Copy(c, struct{ io.Reader }{c})
				})
			}
		})
		r := start(nil, "bridge", newAddress(t, from), at)
		at = r.listening(t)
		results := make(chan error, conns)
		for range conns {
			c := dialed(t, at)
			go func() { results <- sendAndHear(c, size) }()
		}
		for range conns {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		want := fmt.Sprintf(": %d bytes there, %d back", conns*size, conns*size)
		if said := r.ended(t); !strings.HasSuffix(said, want) || !strings.Contains(said, fmt.Sprintf(" %d connections in ", conns)) || !strings.Contains(said, " 0 failed,") {
			t.Errorf("it says %q", said)
		}
	})
}

// An end is passed on, and the other direction goes on, whichever side ends first.
func TestBridgeHalfClose(t *testing.T) {
	ofKinds(t, func(t *testing.T, from, to string) {
		for _, serverFirst := range []bool{false, true} {
			r, one, other := bridged(t, from, to)
			if serverFirst {
				one, other = other, one
			}
			io.WriteString(one, "that is all")
			one.CloseWrite()
			if b, err := io.ReadAll(other); string(b) != "that is all" || err != nil {
				t.Fatalf("%q, %v", b, err)
			}
			for range 3 {
				io.WriteString(other, "more")
				b := make([]byte, 4)
				if _, err := io.ReadFull(one, b); string(b) != "more" || err != nil {
					t.Fatalf("%q, %v", b, err)
				}
			}
			other.CloseWrite()
			if b, err := io.ReadAll(one); len(b) > 0 || err != nil {
				t.Fatalf("%q, %v", b, err)
			}
			if said := r.ended(t); !strings.Contains(said, " 0 failed") {
				t.Errorf("it says %q", said)
			}
		}
	})
}

// A slow reader stops who sends to it. What it has not read yet is not lost.
func TestBridgeSlowReader(t *testing.T) {
	const tooMuch = 256 << 20
	ofKinds(t, func(t *testing.T, from, to string) {
		r, client, server := bridged(t, from, to)
		sent, heard := sha256.New(), sha256.New()
		chunk := make([]byte, 1<<20)
		var total int64
		for {
			rand.Read(chunk)
			client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)) // a pause that somebody else has caused only ends this early
			n, err := client.Write(chunk)
			sent.Write(chunk[:n])
			if total += int64(n); total >= tooMuch {
				t.Fatalf("%d bytes were taken, and nobody reads them", total)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		client.CloseWrite()
		n, err := io.Copy(heard, struct{ io.Reader }{server})
		if err != nil || n != total || !bytes.Equal(sent.Sum(nil), heard.Sum(nil)) {
			t.Errorf("%d bytes were sent, %d others came: %v", total, n, err)
		}
		server.Close()
		r.ended(t)
	})
}

// What a connection has carried that is reset is not taken for all that was sent.
func TestBridgeReset(t *testing.T) {
	for _, test := range []struct {
		name         string
		server, half bool // the server resets; who resets has ended its side before
	}{{"client", false, false}, {"server", true, false}, {"client after its end", false, true}, {"server after its end", true, true}} {
		t.Run(test.name, func(t *testing.T) {
			r, one, other := bridged(t, "tcp", "tcp")
			if test.server {
				one, other = other, one
			}
			io.WriteString(one, "half of")
			if _, err := io.ReadFull(other, make([]byte, 7)); err != nil {
				t.Fatal(err)
			}
			if test.half {
				one.CloseWrite()
				if _, err := other.Read(make([]byte, 1)); err != io.EOF {
					t.Fatal(err)
				}
			}
			reset(one)
			if test.half { // it has read the end, and hears of the rest when it goes on
				sockettest.Eventually(t, "the reset", func() bool {
					_, err := other.Write([]byte("x"))
					return err != nil
				})
			} else if _, err := other.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v", err)
			}
			if said := r.ended(t); !strings.Contains(said, " 1 failed") {
				t.Errorf("it says %q", said)
			}
		})
	}
}

// A side that hangs up ends the connection, though the other one neither sends nor ends. What it has sent before arrives, all of it.
func TestBridgeHangUp(t *testing.T) {
	const size = 1 << 20
	for _, test := range []struct {
		from, to string
		server   bool // the server hangs up
	}{{"local", "local", false}, {"local", "local", true}, {"local", "tcp", false}, {"tcp", "local", true}} {
		t.Run(fmt.Sprint(test.from, " to ", test.to, ", server: ", test.server), func(t *testing.T) {
			r, one, other := bridged(t, test.from, test.to)
			if test.server {
				one, other = other, one
			}
			sent := sockettest.Go(func() error {
				_, err := io.CopyN(struct{ io.Writer }{one}, noise(5, size), size)
				return errors.Join(err, one.Close())
			})
			heard := sha256.New()
			n, err := io.Copy(heard, struct{ io.Reader }{other})
			if err = errors.Join(err, sockettest.Done(t, "everything is sent", sent)); err != nil || !bytes.Equal(heard.Sum(nil), summed(5, size)) {
				t.Errorf("%d bytes were sent, %d others came: %v", size, n, err)
			}
			sockettest.Eventually(t, "the connection ends", func() bool { return strings.Contains(r.stderr.String(), "connection 1: ended, ") })
			if test.from == "local" && test.to == "local" {
				if _, err := other.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
					t.Errorf("got %v", err)
				}
			}
			if said := r.ended(t); !strings.Contains(said, " 0 failed") {
				t.Errorf("it says %q", said)
			}
		})
	}
}

// bridgedUntaken is bridged where the server takes nothing more, and the client has met that.
func bridgedUntaken(t *testing.T) (r *testRun, client, server conn) {
	t.Helper()
	r, client, server = bridged(t, "local", "local")
	if err := server.CloseRead(); err != nil {
		t.Fatal(err)
	}
	sockettest.Eventually(t, "the end of what is taken", func() bool {
		_, err := client.Write([]byte("x"))
		return errors.Is(err, syscall.EPIPE)
	})
	return r, client, server
}

// A side whose bytes nobody takes is not waited for when it hangs up.
func TestBridgeHangUpUntaken(t *testing.T) {
	r, client, _ := bridgedUntaken(t)
	client.Close()
	sockettest.Eventually(t, "the connection ends", func() bool { return strings.Contains(r.stderr.String(), "connection 1: "+errUntaken.Error()) })
	r.ended(t)
}

// A side that reads no more may go on sending.
func TestBridgeReadsNoMore(t *testing.T) {
	r, client, server := bridgedUntaken(t)
	io.WriteString(server, "still here")
	server.CloseWrite()
	if b, err := io.ReadAll(client); string(b) != "still here" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if said := r.ended(t); !strings.Contains(said, " 1 failed") {
		t.Errorf("it says %q", said)
	}
	if !strings.Contains(r.stderr.String(), errUntaken.Error()) {
		t.Errorf("it says %q", r.stderr.String())
	}
}

func TestBridgeSignals(t *testing.T) {
	ofKinds(t, func(t *testing.T, from, to string) {
		r, client, server := bridged(t, from, to)
		r.signals <- os.Interrupt
		sockettest.Eventually(t, "the end of listening", func() bool { return strings.Contains(r.stderr.String(), "waiting for 1 to end") })
		io.WriteString(client, "hello")
		if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		r.signals <- os.Interrupt
		r.ends(t, 130)
		for _, c := range []conn{client, server} {
			_, err := c.Read(make([]byte, 1))
			if c, ok := c.(*tcp.Socket); ok && !errors.Is(err, syscall.ECONNRESET) || err == nil {
				t.Errorf("%v: got %v", c.RemoteAddr(), err)
			}
		}
	})
}

// Connections beyond the limit wait, and are not lost.
func TestBridgeMaxConns(t *testing.T) {
	srv, at := serverOf(t, "tcp")
	r := start(nil, "bridge", "--max-conns", "1", newAddress(t, "local"), at)
	at = r.listening(t)
	first, second := dialed(t, at), dialed(t, at)
	io.WriteString(second, "I wait")
	got := accepted(t, srv)
	first.CloseWrite() // and not Close, after which the second one's turn has come
	if b, err := io.ReadAll(got); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if srv.(*tcp.Server).HasPendingConnections() {
		t.Error("there are two")
	}
	got.Close()
	got = accepted(t, srv)
	b := make([]byte, 6)
	if _, err := io.ReadFull(got, b); string(b) != "I wait" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	got.Close()
	second.Close()
	r.ended(t)
}

// Why TO cannot be reached is said, and again after it could be, but not for each who comes.
func TestBridgeSaysUnreached(t *testing.T) {
	to := sockettest.Name(t)
	r := start(nil, "bridge", sockettest.Name(t), to)
	at := r.listening(t)
	for range 2 {
		for range 3 {
			if b, err := io.ReadAll(dialed(t, at)); len(b) > 0 || err != nil {
				t.Errorf("%q, %v", b, err)
			}
		}
		srv, err := local.Listen(to)
		if err != nil {
			t.Fatal(err)
		}
		c := dialed(t, at)
		accepted(t, srv).Close()
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
		srv.Close()
	}
	r.ended(t)
	said := regexp.MustCompile(`(?m)^anteroom: connection (\d+): connect local `).FindAllStringSubmatch(r.stderr.String(), -1)
	if len(said) != 2 || said[0][1] != "1" || said[1][1] != "5" {
		t.Errorf("it says %q", r.stderr.String())
	}
}

// passed returns a descriptor's number that is this process's to give away.
func passed(t *testing.T, c syscall.Conn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	raw.Control(func(h uintptr) {
		if fd, err = syscall.Dup(int(h)); err == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// A descriptor is local or TCP, listens or is connected, and is found out.
func TestDescriptors(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		at := "127.0.0.1:0"
		if network == "unix" {
			at = sockettest.Name(t)
		}
		l, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		fd := passed(t, l.(syscall.Conn))
		r := start(nil, "serve", "--once", fmt.Sprintf("fd:%d", fd), "--", "cat")
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		own := start(strings.NewReader("hello"), "connect", fmt.Sprintf("fd:%d", passed(t, c.(syscall.Conn))))
		own.ends(t, 0)
		if got := own.stdout.String(); got != "hello" {
			t.Errorf("got %q", got)
		}
		c.Close()
		r.ends(t, 0)

		r = start(nil, "connect", fmt.Sprintf("fd:%d", passed(t, l.(syscall.Conn)))) // it listens
		r.ends(t, exitPeer)
		l.Close()
	}
	r := start(nil, "connect", "fd:1000000")
	r.ends(t, exitUsage)
	if got := r.stderr.String(); !strings.Contains(got, "descriptor 1000000 is not open") {
		t.Errorf("got %q", got)
	}
}

// What is typed at a terminal does not keep a connection that its server has ended, though TCP does not say whether it was closed.
func TestRelayUntilEnd(t *testing.T) {
	srv, at := serverOf(t, "tcp")
	client := dialed(t, at)
	server := accepted(t, srv)
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	r := &relay{conn: client, w: &world{stdin: in, stdout: &out}, untilEnd: true}
	io.WriteString(server, "bye")
	server.CloseWrite()
	if err := r.run(); err != nil || out.String() != "bye" {
		t.Errorf("%q, %v", out.String(), err)
	}
	feed.Close()
	in.Close()
	client.Close()
}
