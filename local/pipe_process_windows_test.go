package local_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
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

// pipe-relisten is a server that closes and listens again all the time. It answers what it is asked, and says at the end how often.
var _ = sockettest.Child("pipe-relisten", func() {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var answers atomic.Int64
	for said := false; ; said = true {
		var srv local.Server
		mustChild(srv.Listen(os.Args[1]))
		if !said {
			fmt.Println("listening")
		}
		var all sync.WaitGroup
		for range 50 {
			srv.SetDeadline(time.Now().Add(50 * time.Millisecond))
			c, err := srv.Accept()
			if err != nil {
				break
			}
			all.Go(func() {
				defer c.Close()
				question := make([]byte, 8)
				if _, err := io.ReadFull(c, question); err != nil {
					return
				}
				if _, err := c.Write(question); err == nil {
					answers.Add(1)
				}
			})
		}
		srv.Close()
		all.Wait()
		select {
		case <-stop:
			fmt.Println(answers.Load())
			return
		default:
		}
	}
})

// Clients connect to another process and close, 2,000 times, while that closes and listens again: nobody hangs, and each answer that was
// given is read, in full.
func TestPipeConnectCloseCyclesBetweenProcesses(t *testing.T) {
	name := sockettest.Name(t)
	server := sockettest.Start(t, "pipe-relisten", name)
	server.Expect("listening")
	var clients sync.WaitGroup
	var answered atomic.Int64
	for i := range 8 {
		clients.Go(func() {
			for j := range 250 {
				ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long())
				c, err := local.DialContext(ctx, name)
				cancel()
				if err != nil {
					if !errors.Is(err, local.ServerNotFoundError) && !errors.Is(err, local.PeerClosedError) {
						t.Error(err)
					}
					continue
				}
				question := fmt.Sprintf("%04d%04d", i, j)
				c.SetDeadline(time.Now().Add(sockettest.Long()))
				io.WriteString(c, question) // fails if the server has gone meanwhile
				answer, err := io.ReadAll(c)
				switch {
				case errors.Is(err, sock.SocketTimeoutError):
					t.Errorf("no answer: %v", err)
				case string(answer) == question:
					answered.Add(1)
				case len(answer) > 0:
					t.Errorf("the answer is %q; want %q", answer, question)
				}
				c.Close()
			}
		})
	}
	clients.Wait()
	rest, err := server.Wait()
	if n := answered.Load(); err != nil || n == 0 || len(rest) != 1 || rest[0] != fmt.Sprint(n) {
		t.Errorf("%d answers were read; the server says %q, %v", n, rest, err)
	}
}
