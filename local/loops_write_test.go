package local_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
)

// What a callback writes in small pieces is sent in one: bytesWritten tells of all of it once.
func TestLoopSmallWritesGoTogether(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	client, server := loopPair(t, l)
	log := new(eventLog)
	client.OnBytesWritten(func(n int64) { log.add("%d", n) })
	client.OnReadyRead(func() {
		client.ReadAvailable(make([]byte, 10))
		for i := range 1000 {
			client.WriteBuffered([]byte("hello"))
			if n := client.BytesToWrite(); n != int64(5*(i+1)) {
				t.Errorf("%d bytes are to be written; want %d", n, 5*(i+1))
			}
		}
	})
	for range 3 {
		log.want(t)
		server.Write([]byte("x"))
		if _, err := io.ReadFull(server, make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
		log.comes(t, "5000")
		log = new(eventLog)
		onLoop(t, l, func() {})
	}
}

// What is staged keeps its place among what others write, and what Flush and the waits say of it is true.
func TestLoopStagedWritesKeepTheirPlace(t *testing.T) {
	for name, test := range map[string]struct {
		then func(*local.Socket)
		left int64
	}{
		"Flush":               {func(c *local.Socket) { c.Flush() }, 0},
		"WaitForBytesWritten": {func(c *local.Socket) { c.WaitForBytesWritten(sockettest.Long()) }, 0},
		"Write":               {func(c *local.Socket) { c.Write([]byte("b")) }, 0},
		"WriteBuffered":       {func(c *local.Socket) { c.WriteBuffered([]byte("b")) }, 2},
		"elsewhere": {func(c *local.Socket) {
			<-sockettest.Go(func() error { _, err := c.WriteBuffered([]byte("b")); return err })
		}, 1},
		"Write elsewhere": {func(c *local.Socket) { <-sockettest.Go(func() error { _, err := c.Write([]byte("b")); return err }) }, 0},
		"Flush elsewhere": {func(c *local.Socket) { <-sockettest.Go(c.Flush) }, 0},
		"much":            {func(c *local.Socket) { c.WriteBuffered(make([]byte, 100_000)) }, 100_000},
		"CloseWrite":      {func(c *local.Socket) { c.CloseWrite() }, 0},
		"Disconnect":      {(*local.Socket).DisconnectFromServer, 0},
		"Close":           {func(c *local.Socket) { c.Close() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			run(t, l)
			client, server := loopPair(t, l)
			var written atomic.Int64
			client.OnBytesWritten(func(n int64) { written.Add(n) })
			client.OnReadyRead(func() {
				client.ReadAvailable(make([]byte, 10))
				client.WriteBuffered([]byte("a"))
				test.then(client)
				if n := client.BytesToWrite(); n > test.left { // the kernel may have taken some of much
					t.Errorf("%d bytes are to be written; want %d", n, test.left)
				}
				client.WriteBuffered([]byte("c")) // fails after an end
				client.Close()
			})
			server.Write([]byte("x"))
			server.SetReadDeadline(time.Now().Add(sockettest.Long()))
			got, err := io.ReadAll(server)
			if err != nil {
				t.Fatal(err)
			}
			switch name {
			case "CloseWrite", "Disconnect", "Close":
				if string(got) != "a" {
					t.Errorf("the peer read %q; want what was written before the end", got)
				}
			case "much":
				if len(got) != 100_002 || got[0] != 'a' || got[len(got)-1] != 'c' {
					t.Errorf("the peer read %d bytes", len(got))
				}
			default:
				want := "abc"
				if strings.HasPrefix(name, "Flush") || strings.HasPrefix(name, "Wait") {
					want = "ac"
				}
				if string(got) != want {
					t.Errorf("the peer read %q; want %q", got, want)
				}
			}
		})
	}
}

// Who writes more than the peer takes sees it in BytesToWrite; bytesWritten tells of each byte of WriteBuffered's once.
func TestLoopBackPressure(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	client, server := loopPair(t, l)
	const piece, pieces = 10_000, 300
	var written int64 // for the loop alone
	sent := 0
	done := make(chan struct{})
	more := func() {
		for sent < pieces && client.BytesToWrite() < 4*piece {
			if _, err := client.WriteBuffered(make([]byte, piece)); err != nil {
				t.Error(err)
			}
			sent++
		}
	}
	client.OnReadyRead(func() { client.ReadAvailable(make([]byte, 10)); more() })
	client.OnBytesWritten(func(n int64) {
		written += n
		if n <= 0 || written+client.BytesToWrite() != int64(sent)*piece {
			t.Errorf("%d were written now, %d in all, %d are left of %d", n, written, client.BytesToWrite(), sent*piece)
		}
		if more(); written == pieces*piece {
			close(done)
		}
	})
	server.Write([]byte("x"))
	sockettest.Eventually(t, "the peer's buffer is full, and nothing more is sent", func() bool { return client.BytesToWrite() >= 4*piece })
	sockettest.Stays(t, "it is bounded", func() bool { return client.BytesToWrite() < 5*piece })
	if n, err := io.CopyN(io.Discard, server, pieces*piece); err != nil {
		t.Fatal(n, err)
	}
	sockettest.Done(t, "all is told written", done)
	if n := client.BytesToWrite(); n != 0 {
		t.Errorf("%d bytes are to be written", n)
	}
}
