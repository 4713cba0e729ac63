package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// listenAgainAndAgain is a server that closes and listens again all the time, until stop is closed, and says when it listens first. It
// answers what it is asked, and returns how often.
func listenAgainAndAgain(name string, listening func(), stop <-chan struct{}) (answers int64, err error) {
	var given atomic.Int64
	for {
		var srv local.Server
		if err := srv.Listen(name); err != nil {
			return given.Load(), err
		}
		listening()
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
					given.Add(1)
				}
			})
		}
		srv.Close()
		all.Wait()
		select {
		case <-stop:
			return given.Load(), nil
		default:
		}
	}
}

// askAgainAndAgain connects, asks and closes, 2,000 times, and returns how often it was answered: in full, or not at all.
func askAgainAndAgain(t *testing.T, name string) int64 {
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
	return answered.Load()
}

// Clients connect and close while the server closes and listens again: nobody hangs, and each answer that was given is read, in full.
func TestPipeConnectCloseCycles(t *testing.T) {
	name := sockettest.Name(t)
	stop := make(chan struct{})
	var given int64
	served := sockettest.Go(func() (err error) {
		given, err = listenAgainAndAgain(name, func() {}, stop)
		return err
	})
	answered := askAgainAndAgain(t, name)
	close(stop)
	must(t, sockettest.Done(t, "the server ends", served))
	if answered == 0 || answered != given {
		t.Errorf("%d answers were read; the server has given %d", answered, given)
	}
}

var _ = sockettest.Child("pipe-relisten", func() {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	answers, err := listenAgainAndAgain(os.Args[1], sync.OnceFunc(func() { fmt.Println("listening") }), stop)
	mustChild(err)
	fmt.Println(answers)
})

// The same with the server in another process.
func TestPipeConnectCloseCyclesBetweenProcesses(t *testing.T) {
	name := sockettest.Name(t)
	server := sockettest.Start(t, "pipe-relisten", name)
	server.Expect("listening")
	answered := askAgainAndAgain(t, name)
	rest, err := server.Wait()
	if err != nil || answered == 0 || len(rest) != 1 || rest[0] != fmt.Sprint(answered) {
		t.Errorf("%d answers were read; the server says %q, %v", answered, rest, err)
	}
}
