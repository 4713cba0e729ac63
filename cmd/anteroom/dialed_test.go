//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/tcp"
)

// listening waits until a command says where it listens.
func (r *testRun) listening(t *testing.T) string {
	t.Helper()
	var at string
	sockettest.Eventually(t, "listening", func() bool {
		_, rest, _ := strings.Cut(r.stderr.String(), "listening on ")
		line, _, found := strings.Cut(rest, "\n")
		at = line
		return found
	})
	return at
}

// dialed connects to an address as a server says it.
func dialed(t *testing.T, at string) conn {
	t.Helper()
	a, f := parseAddress(at, toConnect)
	if f != nil {
		t.Fatal(f)
	}
	c, err := dialOnce(context.Background(), a, dialOptions{timeout: sockettest.Long()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	c.SetDeadline(time.Now().Add(sockettest.Long()))
	return c
}

// accepted takes a server's next connection.
func accepted(t *testing.T, srv server) conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sockettest.Long())
	defer cancel()
	c, err := accept(ctx, srv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	c.SetDeadline(time.Now().Add(sockettest.Long()))
	return c
}

// serverOf returns a server of a kind that listens, and its address.
func serverOf(t *testing.T, kind string) (server, string) {
	t.Helper()
	var srv server
	var err error
	if kind == "tcp" {
		srv, err = tcp.Listen("127.0.0.1:0")
	} else {
		srv, err = local.Listen(sockettest.Name(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv, servedAt(srv)
}

// newAddress returns where a bridge of this test may listen.
func newAddress(t *testing.T, kind string) string {
	if kind == "tcp" {
		return "tcp:127.0.0.1:0"
	}
	return sockettest.Name(t)
}

// ended ends a bridge, and returns the last line that it says.
func (r *testRun) ended(t *testing.T) string {
	t.Helper()
	r.signals <- syscall.SIGTERM
	r.ends(t, 143)
	lines := strings.Split(strings.TrimSpace(r.stderr.String()), "\n")
	return lines[len(lines)-1]
}

// sendAndHear sends random bytes to an echo, and compares what comes back.
func sendAndHear(c conn, size int64) error {
	defer c.Close()
	sent, heard := sha256.New(), sha256.New()
	result := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.MultiWriter(struct{ io.Writer }{c}, sent), io.LimitReader(rand.Reader, size))
		result <- errors.Join(err, c.CloseWrite())
	}()
	n, err := io.Copy(heard, struct{ io.Reader }{c})
	if err = errors.Join(err, <-result); err != nil {
		return err
	}
	if n != size || !bytes.Equal(sent.Sum(nil), heard.Sum(nil)) {
		return fmt.Errorf("%d bytes were sent, and %d others came back", size, n)
	}
	return nil
}
