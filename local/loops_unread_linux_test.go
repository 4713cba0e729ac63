package local_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// readSome reads once.
func readSome(c *local.Socket) []byte {
	b := make([]byte, 100)
	n, _ := c.ReadAvailable(b)
	return b[:n]
}

// readings has a socket read once each time that it is told, and returns what it reads.
func readings(c *local.Socket) <-chan string {
	got := make(chan string, 100)
	c.OnReadyRead(func() { got <- string(readSome(c)) })
	return got
}

// wantRead waits until what is read adds up to want.
func wantRead(t testing.TB, got <-chan string, want string) {
	t.Helper()
	for all := ""; all != want; {
		all += sockettest.Done(t, "more is read than "+all, got)
	}
}

// sendWithDescriptor sends bytes at which a read stops.
func sendWithDescriptor(t testing.TB, c *local.Socket, s string) {
	t.Helper()
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	must(t, c.SendDescriptors([]byte(s), sock.FromFd(uintptr(null))))
}

// Who leaves bytes unread is told once of each arrival, and not again and again.
func TestLoopUnreadIsToldOnce(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	var told, reading atomic.Int64
	got := make(chan string, 10)
	c.OnReadyRead(func() {
		told.Add(1)
		if reading.Load() > 0 {
			got <- string(readSome(c))
		}
	})
	for i, s := range []string{"a", "b", "c"} {
		peer.Write([]byte(s))
		sockettest.Eventually(t, "it is told", func() bool { return told.Load() > int64(i) })
		sockettest.Stays(t, "it is told once", func() bool { return told.Load() == int64(i)+1 })
	}
	reading.Store(1)
	peer.Write([]byte("d"))
	if s := sockettest.Done(t, "it reads", got); s != "abcd" {
		t.Errorf("it has read %q; want abcd", s)
	}
	peer.Write([]byte("e"))
	if s := sockettest.Done(t, "it reads on", got); s != "e" {
		t.Errorf("it has read %q; want e", s)
	}
	if n := told.Load(); n != 5 {
		t.Errorf("it was told %d times; want 5", n)
	}
}

// A read stops where descriptors came with the bytes, which are no bytes of the stream; what follows them is told of all the same.
func TestLoopBytesBehindDescriptors(t *testing.T) {
	for _, how := range []string{"read at once", "once left unread"} {
		t.Run(how, func(t *testing.T) {
			l := newLoop(t)
			run(t, l)
			c, peer := loopPair(t, l)
			var told atomic.Int64
			got := make(chan string, 100)
			c.OnReadyRead(func() {
				if told.Add(1) == 1 && how == "once left unread" {
					return
				}
				got <- string(readSome(c))
			})
			peer.Write([]byte("<"))
			sockettest.Eventually(t, "it is told", func() bool { return told.Load() > 0 })
			release := busy(t, l)
			for range 5 {
				sendWithDescriptor(t, peer, "fd")
				peer.Write([]byte("."))
			}
			peer.Write([]byte(">"))
			release()
			var all strings.Builder
			for want := "<fd.fd.fd.fd.fd.>"; all.Len() < len(want); {
				all.WriteString(sockettest.Done(t, "more is read than "+all.String(), got))
			}
			if all.String() != "<fd.fd.fd.fd.fd.>" {
				t.Errorf("it has read %q", all.String())
			}
		})
	}
}

// So it is if a callback has another goroutine read, or a function that it posts, and if that receives descriptors, one message each time.
func TestLoopBytesBehindDescriptorsReadElsewhere(t *testing.T) {
	elsewhere := map[string]func(*loop.Loop, func()){
		"goroutine": func(_ *loop.Loop, f func()) { go f() },
		"posted":    func(l *loop.Loop, f func()) { l.Post(f) },
	}
	reads := map[string]func(*local.Socket) []byte{
		"": readSome,
		", ReceiveDescriptors": func(c *local.Socket) []byte {
			b := make([]byte, 100)
			n, ds, _ := c.ReceiveDescriptors(b)
			for _, d := range ds {
				d.Close()
			}
			return b[:n]
		},
	}
	for how, call := range elsewhere {
		for with, read := range reads {
			for _, first := range []string{"", "<"} {
				t.Run(how+with+first, func(t *testing.T) {
					l := newLoop(t)
					run(t, l)
					c, peer := loopPair(t, l)
					got := make(chan string, 100)
					var one sync.Mutex // goroutine reads, and tells of that, at a time
					c.OnReadyRead(func() {
						call(l, func() {
							one.Lock()
							got <- string(read(c))
							one.Unlock()
						})
					})
					if first != "" { // which is read otherwise than what follows
						peer.Write([]byte(first))
						wantRead(t, got, first)
					}
					release := busy(t, l)
					for range 3 {
						sendWithDescriptor(t, peer, "fd")
					}
					peer.Write([]byte(">"))
					release()
					wantRead(t, got, "fdfdfd>")
				})
			}
		}
	}
}

// A peer that sends a descriptor in the middle of each request gets all its answers, beside others whose requests come without.
func TestLoopDescriptorsInEachRequest(t *testing.T) {
	const requests = 200
	l := newLoop(t)
	run(t, l)
	echo := func() (peer *local.Socket) {
		c, peer := loopPair(t, l)
		c.OnReadyRead(func() { c.WriteBuffered(readSome(c)) })
		return peer
	}
	peer := echo()
	// Others keep the loop from sleeping until one event comes.
	for range 2 {
		peer := echo()
		go func() {
			b := make([]byte, 1)
			for {
				if _, err := peer.Write(b); err != nil {
					return
				}
				if _, err := peer.Read(b); err != nil {
					return
				}
			}
		}()
	}
	peer.SetDeadline(time.Now().Add(sockettest.Long()))
	for i := range requests {
		sendWithDescriptor(t, peer, "1")
		if _, err := peer.Write([]byte("2")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, make([]byte, 2)); err != nil {
			t.Fatalf("answer %d: %v", i+1, err)
		}
	}
}

// A read stops at an urgent byte, which is no byte of the stream here; what follows it is told of all the same.
func TestLoopBytesBehindAnUrgentOne(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	got := readings(c)
	peer.Write([]byte("<"))
	if s := sockettest.Done(t, "it is told", got); s != "<" {
		t.Fatalf("it has read %q", s)
	}
	raw, err := peer.SyscallConn()
	must(t, err)
	release := busy(t, l)
	peer.Write([]byte("before"))
	must(t, raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }))
	if err != nil {
		t.Skip("needs a system whose Unix-domain sockets know urgent bytes:", err)
	}
	peer.Write([]byte("after>"))
	release()
	wantRead(t, got, "beforeafter>")
}

// A buffer may be bigger than what one system call copies: what that leaves is told of.
func TestLoopBigBuffers(t *testing.T) {
	const size = 150_000
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	got := make(chan int, 100)
	buf := make([]byte, size)
	c.OnReadyRead(func() {
		n, _ := c.ReadAvailable(buf)
		got <- n
	})
	release := busy(t, l)
	peer.SetWriteDeadline(time.Now().Add(sockettest.Long()))
	if _, err := peer.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	release()
	for n := 0; n < size; {
		n += sockettest.Done(t, fmt.Sprintf("more is told of than %d bytes", n), got)
	}
}

// Callbacks that read a part of what another goroutine has buffered are told of the rest, though no edge tells of it.
func TestLoopBytesThatAnotherGoroutineHasBuffered(t *testing.T) {
	const size = 1000
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	told := make(chan struct{}, 1)
	got := make(chan int, size)
	first := true
	c.OnReadyRead(func() {
		if first { // and reads nothing: the edge is gone
			first = false
			told <- struct{}{}
			return
		}
		n, _ := c.ReadAvailable(make([]byte, 10))
		got <- n
	})
	peer.Write(make([]byte, size))
	sockettest.Done(t, "it is told", told)
	if n := c.BytesAvailable(); n != size {
		t.Fatalf("%d bytes are available, want %d", n, size)
	}
	for n := 0; n < size; {
		n += sockettest.Done(t, fmt.Sprintf("more is told of than %d bytes", n), got)
	}
}

// The same, if they ask how much there is on the loop's goroutine, in nobody's callback.
func TestLoopBytesAvailableInNobodysCallback(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	told := make(chan int64, 10)
	c.OnReadyRead(func() { told <- c.BytesAvailable() })
	onLoop(t, l, func() {
		peer.Write([]byte("hello"))
		sockettest.Eventually(t, "something is available", func() bool { return c.BytesAvailable() > 0 })
	})
	if n := sockettest.Done(t, "readyRead is told", told); n != 5 {
		t.Errorf("%d bytes are available, want 5", n)
	}
}

// Bytes behind descriptors are told of on a loop that is never idle, too.
func TestLoopBytesBehindDescriptorsOfABusyLoop(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	got := readings(c)
	var stop atomic.Bool
	var again func()
	again = func() {
		if !stop.Load() {
			l.Post(again)
		}
	}
	defer stop.Store(true)
	l.Post(again)
	release := busy(t, l)
	sendWithDescriptor(t, peer, "fd")
	peer.Write([]byte("."))
	release()
	var all strings.Builder
	for all.Len() < 3 {
		all.WriteString(sockettest.Done(t, "more is read than "+all.String(), got))
	}
	if all.String() != "fd." {
		t.Errorf("it has read %q", all.String())
	}
}

// Who is told of what others know, and looks at it without reading, is not told again.
func TestLoopLookingIsNotReading(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	first := make(chan struct{}, 10)
	c.OnReadyRead(func() { first <- struct{}{} })
	peer.Write([]byte("no line"))
	sockettest.Done(t, "it is told", first)
	var told atomic.Int64
	c.OnReadyRead(func() { told.Add(1); c.CanReadLine() })
	sockettest.Eventually(t, "it is told", func() bool { return told.Load() > 0 })
	sockettest.Stays(t, "it is told once", func() bool { return told.Load() == 1 })
}
