package local_test

import (
	"bytes"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
)

func TestSocketWriteGoesAfterWhatIsBuffered(t *testing.T) {
	client, server := pair(t)
	received := sockettest.Go(func() []byte { b, _ := io.ReadAll(server); return b })
	var want []byte
	for i := range 300 {
		b := bytes.Repeat([]byte{byte(i)}, 1+i*37%5000)
		want = append(want, b...)
		if i%3 == 0 {
			if _, err := client.Write(b); err != nil {
				t.Fatal(err)
			}
		} else if _, err := client.WriteBuffered(b); err != nil {
			t.Fatal(err)
		}
	}
	must(t, client.Close())
	if got := sockettest.Done(t, "all is received", received); !bytes.Equal(got, want) {
		t.Errorf("%d bytes were received in another order; want %d", len(got), len(want))
	}
}

func TestSocketWritesDoNotMix(t *testing.T) {
	client, server := pair(t)
	const writers, size = 4, 300_000 // more than the system's buffer takes at once
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range 5 {
				if _, err := client.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range writers * 5 {
		b := make([]byte, size)
		if _, err := io.ReadFull(server, b); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(b, b[:1]) != size {
			t.Fatal("two Writes are mixed")
		}
	}
	wg.Wait()
}

func TestSocketWriteCountsWhatWasSent(t *testing.T) {
	client, server := pair(t)
	b := make([]byte, large)
	must(t, client.SetWriteDeadline(time.Now().Add(small)))
	n, err := client.Write(b)
	wantIs(t, "Write", err, os.ErrDeadlineExceeded)
	if n <= 0 || n >= large {
		t.Fatalf("Write: %d", n)
	}
	client.Abort()
	if got, err := io.Copy(io.Discard, server); got != int64(n) || err != nil {
		t.Errorf("the peer read %d, %v; want %d", got, err, n)
	}
}

func TestSocketWriteBufferedIsSentInTheBackground(t *testing.T) {
	client, server := pair(t)
	client.WriteBuffered([]byte("hello"))
	b := make([]byte, 5)
	server.SetReadDeadline(time.Now().Add(sockettest.Long()))
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "hello" { // nobody flushes, or waits
		t.Errorf("read %q, %v", b, err)
	}
	if n, err := client.WriteBuffered(nil); n != 0 || err != nil {
		t.Errorf("WriteBuffered of nothing: %d, %v", n, err)
	}
	p := []byte("abc")
	client.WriteBuffered(p)
	copy(p, "xyz") // it keeps a copy
	client.Flush()
	if _, err := io.ReadFull(server, b[:3]); err != nil || string(b[:3]) != "abc" {
		t.Errorf("read %q, %v", b[:3], err)
	}
}

func TestSocketWriteToAPeerThatHasGone(t *testing.T) {
	client, server := pair(t)
	server.Abort()
	sockettest.Eventually(t, "Write fails", func() bool { _, err := client.Write([]byte("x")); return err != nil })
	_, err := client.Write([]byte("x"))
	wantIs(t, "Write", err, local.PeerClosedError)
}
