package local_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
)

// pipe-echo is a server that answers each client with what it says, length by length.
var _ = sockettest.Child("pipe-echo", func() {
	srv, err := local.Listen(os.Args[1])
	mustChild(err)
	fmt.Println("listening")
	go func() {
		for {
			c, err := srv.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	srv.Close()
})

// exchange sends n bytes, while it reads as many, and reports whether they are the same.
func exchange(c *local.Socket, seed byte, n int64) error {
	source := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n) }
	sent := sockettest.Go(func() error { _, err := io.Copy(c, source()); return err })
	got, want := sha256.New(), sha256.New()
	read, err := io.Copy(got, io.LimitReader(c, n))
	if err != nil || read != n {
		return fmt.Errorf("read %d bytes of %d, %w", read, n, err)
	}
	io.Copy(want, source())
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("other bytes came back")
	}
	return <-sent
}

// Two processes exchange 64 MiB, and one serves 200 clients of the other at once.
func TestPipeBetweenProcesses(t *testing.T) {
	name := sockettest.Name(t)
	server := sockettest.Start(t, "pipe-echo", name)
	server.Expect("listening")
	one := closeLater(t, dialName(t, name))
	if err := exchange(one, 1, 64<<20); err != nil {
		t.Fatal(err)
	}
	peer, err := one.Peer()
	if err != nil || peer.PID != server.PID() || !peer.SameUser() {
		t.Errorf("the server is %+v, %v; want process %d of our user", peer, err, server.PID())
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			c, err := local.Dial(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := exchange(c, byte(i), 300_000); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if rest, err := server.Wait(); err != nil || len(rest) > 0 {
		t.Errorf("the server: %q, %v", rest, err)
	}
}
