package local_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// pipes returns n descriptors of pipes' reading ends, that may be given away, and what they give.
func pipes(t testing.TB, n int) (ds []sock.Descriptor, contents []string) {
	t.Helper()
	for i := range n {
		var fds [2]int
		must(t, unix.Pipe2(fds[:], unix.O_CLOEXEC))
		contents = append(contents, fmt.Sprintf("pipe %d", i))
		_, err := unix.Write(fds[1], []byte(contents[i]))
		must(t, err)
		unix.Close(fds[1])
		ds = append(ds, sock.FromFd(uintptr(fds[0])))
	}
	return ds, contents
}

// wantContents fails the test unless the descriptors are closed on exec and give that. It closes them.
func wantContents(t testing.TB, ds []sock.Descriptor, contents ...string) {
	t.Helper()
	if len(ds) != len(contents) {
		t.Errorf("%d descriptors came; want %d", len(ds), len(contents))
	}
	for i, d := range ds {
		fd, ok := d.Fd()
		if !ok || d.IsLent() {
			t.Fatalf("descriptor %d is not ours", i)
		}
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d is not closed on exec: %v", i, err)
		}
		buf := make([]byte, 100)
		n, err := unix.Read(int(fd), buf)
		if err != nil || i < len(contents) && string(buf[:max(n, 0)]) != contents[i] {
			t.Errorf("descriptor %d gives %q, %v; want %q", i, buf[:max(n, 0)], err, contents[i])
		}
		d.Close()
	}
}

// leakCheck returns a function that fails the test if there are more or fewer descriptors than now.
func leakCheck(t testing.TB) func() {
	before := sockettest.OpenDescriptors()
	return func() {
		t.Helper()
		if !t.Failed() {
			sockettest.Eventually(t, fmt.Sprintf("%d descriptors are open", before), func() bool { return sockettest.OpenDescriptors() == before })
		}
	}
}

func wantOpen(t testing.TB, what string, open bool, ds ...sock.Descriptor) {
	t.Helper()
	for i, d := range ds {
		fd, ok := d.Fd()
		if ok {
			_, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
			ok = err == nil
		}
		if ok != open {
			t.Errorf("%s: descriptor %d is open: %v; want %v", what, i, ok, open)
		}
	}
}

func receive(t testing.TB, c *local.Socket, room int) (string, []sock.Descriptor) {
	t.Helper()
	buf := make([]byte, room)
	n, ds, err := c.ReceiveDescriptors(buf)
	must(t, err)
	return string(buf[:n]), ds
}

func TestPassDescriptors(t *testing.T) {
	a, b := pair(t)
	for _, n := range []int{1, 2, 17, local.MaxDescriptors} {
		check := leakCheck(t)
		ds, contents := pipes(t, n)
		must(t, a.SendDescriptors([]byte("x"), ds...))
		wantOpen(t, "after success", false, ds...)
		got, came := receive(t, b, 100)
		if got != "x" {
			t.Errorf("%q came", got)
		}
		wantContents(t, came, contents...)
		check()
	}
	// Several messages before the first is read stay apart, in order.
	check := leakCheck(t)
	var all []string
	for i := range 5 {
		ds, contents := pipes(t, i+1)
		all = append(all, contents...)
		must(t, a.SendDescriptors([]byte{byte('0' + i)}, ds...))
	}
	var bytes string
	var came []sock.Descriptor
	for len(bytes) < 5 {
		got, ds := receive(t, b, 100)
		bytes += got
		if len(ds) == 0 || len(ds) > 5 {
			t.Errorf("%d descriptors came at once", len(ds))
		}
		came = append(came, ds...)
	}
	if bytes != "01234" {
		t.Errorf("%q came", bytes)
	}
	wantContents(t, came, all...)
	check()
}

// Bytes before, with and after the descriptors arrive bit for bit, whatever the sizes.
func TestPassDescriptorsAmongBytes(t *testing.T) {
	for _, sizes := range [][3]int{{0, 1, 0}, {10, 5, 10}, {1 << 20, 1, 1 << 20}, {7, 1 << 20, 7}, {1 << 18, 1 << 19, 1 << 18}} {
		for _, buffered := range []bool{false, true} {
			a, b := pair(t)
			check := leakCheck(t)
			whole := make([]byte, sizes[0]+sizes[1]+sizes[2])
			for i := range whole {
				whole[i] = byte(i * 7 >> 3)
			}
			before, with, after := whole[:sizes[0]], whole[sizes[0]:sizes[0]+sizes[1]], whole[sizes[0]+sizes[1]:]
			ds, contents := pipes(t, 3)
			write := a.Write
			if buffered {
				write = a.WriteBuffered
			}
			sent := sockettest.Go(func() error {
				_, err := write(before)
				err = errors.Join(err, a.SendDescriptors(with, ds...))
				_, err2 := write(after)
				return errors.Join(err, err2)
			})
			var got []byte
			var came []sock.Descriptor
			buf := make([]byte, 60_000)
			b.SetReadDeadline(time.Now().Add(sockettest.Long()))
			for len(got) < len(whole) {
				n, ds, err := b.ReceiveDescriptors(buf)
				must(t, err)
				if len(ds) > 0 {
					at := len(got)
					if sizes[0] < at || sizes[0] >= at+n {
						t.Errorf("sizes %v: they came with bytes %d to %d", sizes, at, at+n)
					}
				}
				got = append(got, buf[:n]...)
				came = append(came, ds...)
			}
			must(t, sockettest.Done(t, "all is sent", sent))
			if !bytes.Equal(got, whole) {
				t.Errorf("sizes %v, buffered %v: the bytes differ", sizes, buffered)
			}
			wantContents(t, came, contents...)
			a.SetReadDeadline(time.Time{})
			check()
		}
	}
}

// A Write in another goroutine comes before or after, and never between.
func TestSendDescriptorsIsWholeAmongWrites(t *testing.T) {
	a, b := pair(t)
	const block, rounds, each = 300_000, 20, 3
	var all []<-chan error
	for range each {
		all = append(all, sockettest.Go(func() error {
			block := bytes.Repeat([]byte("w"), block)
			for range rounds {
				if _, err := a.Write(block); err != nil {
					return err
				}
			}
			return nil
		}), sockettest.Go(func() error {
			block := bytes.Repeat([]byte("s"), block)
			for range rounds {
				ds, _ := pipes(t, 1)
				if err := a.SendDescriptors(block, ds...); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	b.SetReadDeadline(time.Now().Add(sockettest.Long()))
	buf := make([]byte, 50_000)
	last, run, total, torn := byte(0), 0, 0, 0
	for total < 2*each*rounds*block {
		n, ds, err := b.ReceiveDescriptors(buf)
		must(t, err)
		for _, d := range ds {
			d.Close()
		}
		for _, c := range buf[:n] {
			if c != last {
				if run%block != 0 {
					torn++
				}
				last, run = c, 0
			}
			run++
		}
		total += n
	}
	for _, done := range all {
		must(t, sockettest.Done(t, "all is sent", done))
	}
	if torn > 0 {
		t.Errorf("%d times something came in between", torn)
	}
}

func TestSendDescriptorsRefuses(t *testing.T) {
	a, b := pair(t)
	ds, _ := pipes(t, local.MaxDescriptors+1)
	other, _ := net.Pipe()
	defer other.Close()
	for what, err := range map[string]error{
		"no bytes":         a.SendDescriptors(nil, ds[:1]...),
		"no descriptors":   a.SendDescriptors([]byte("x")),
		"too many":         a.SendDescriptors([]byte("x"), ds...),
		"an invalid one":   a.SendDescriptors([]byte("x"), ds[0], sock.Descriptor{}),
		"a lent one":       a.SendDescriptors([]byte("x"), ds[0], b.SocketDescriptor()),
		"one without any":  a.SendDescriptors([]byte("x"), ds[0], sock.FromConn(other)),
		"one that is shut": a.SendDescriptors([]byte("x"), ds[0], sock.FromFd(9999)),
	} {
		wantIs(t, what, err, sock.UnsupportedSocketOperationError)
		wantOpen(t, what, true, ds...)
	}
	wantIs(t, "not connected", new(local.Socket).SendDescriptors([]byte("x"), ds[0]), sock.OperationError)
	// The connection has not suffered, and nothing was sent.
	must(t, a.SendDescriptors([]byte("y"), ds[0]))
	got, came := receive(t, b, 10)
	if got != "y" || len(came) != 1 {
		t.Errorf("%q and %d descriptors came", got, len(came))
	}
	for _, d := range append(came, ds[1:]...) {
		d.Close()
	}
	_, _, err := b.ReceiveDescriptors(nil)
	wantIs(t, "no room", err, sock.UnsupportedSocketOperationError)
	_, _, err = new(local.Socket).ReceiveDescriptors(make([]byte, 1))
	wantIs(t, "not connected", err, sock.OperationError)
	// The peer has gone.
	ds, _ = pipes(t, 1)
	b.Abort()
	wantIs(t, "no peer", a.SendDescriptors([]byte("x"), ds...), sock.RemoteHostClosedError)
	wantOpen(t, "after an error", true, ds...)
	a.Close()
	wantIs(t, "after Close", a.SendDescriptors([]byte("x"), ds...), net.ErrClosed)
	_, _, err = a.ReceiveDescriptors(make([]byte, 1))
	wantIs(t, "after Close", err, net.ErrClosed)
	wantOpen(t, "after an error", true, ds...)
	ds[0].Close()
}

// Modes and half-closes bind these members as they bind Read and Write.
func TestPassDescriptorsModesAndHalfCloses(t *testing.T) {
	var r, w local.Socket
	pairWith(t, &r, sock.ReadOnly)
	wServer := pairWith(t, &w, sock.WriteOnly)
	ds, _ := pipes(t, 1)
	defer ds[0].Close()
	wantIs(t, "send on a socket that only reads", r.SendDescriptors([]byte("x"), ds...), sock.OperationError)
	_, err := wServer.Write([]byte("x"))
	must(t, err)
	_, readErr := w.Read(make([]byte, 1))
	_, _, err = w.ReceiveDescriptors(make([]byte, 1))
	if sock.CodeOf(err) != sock.CodeOf(readErr) {
		t.Errorf("receive on a socket that only writes: %v; Read says %v", err, readErr)
	}

	a, b := pair(t)
	must(t, a.CloseWrite())
	_, writeErr := a.Write([]byte("x"))
	if err := a.SendDescriptors([]byte("x"), ds...); sock.CodeOf(err) != sock.CodeOf(writeErr) {
		t.Errorf("send after CloseWrite: %v; Write says %v", err, writeErr)
	}
	if n, came, err := b.ReceiveDescriptors(make([]byte, 1)); n != 0 || came != nil || err != io.EOF {
		t.Errorf("at the end: %d, %v, %v; want io.EOF", n, came, err)
	}
	must(t, b.SendDescriptors([]byte("x"), ds...)) // the other direction is open
	got, came := receive(t, a, 10)
	if got != "x" || len(came) != 1 {
		t.Errorf("%q and %d descriptors came", got, len(came))
	}
	came[0].Close()
	wantState(t, b, sock.ConnectedState) // an end that only reading meets is Go's half-close
}

func TestReceiveDescriptorsWhenBytesAreBuffered(t *testing.T) {
	a, b := pair(t)
	check := leakCheck(t)
	ds, _ := pipes(t, 2)
	must(t, a.SendDescriptors([]byte("abc"), ds...))
	sockettest.Eventually(t, "it has arrived", func() bool { return b.BytesAvailable() == 3 })
	p, err := b.Peek(1)
	must(t, err)
	if string(p) != "a" {
		t.Errorf("Peek gives %q", p)
	}
	_, _, err = b.ReceiveDescriptors(make([]byte, 10))
	wantIs(t, "with bytes buffered", err, sock.OperationError)
	if n, err := io.ReadFull(b, make([]byte, 3)); n != 3 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	check() // the two were dropped, and closed
	ds, contents := pipes(t, 1)
	must(t, a.SendDescriptors([]byte("d"), ds...))
	got, came := receive(t, b, 10)
	if got != "d" {
		t.Errorf("%q came", got)
	}
	wantContents(t, came, contents...)
}

func TestPlainReadDropsDescriptorsAndLeaksNone(t *testing.T) {
	for name, read := range map[string]func(c *local.Socket) error{
		"Read":          func(c *local.Socket) error { _, err := io.ReadFull(c, make([]byte, 5)); return err },
		"ReadAvailable": func(c *local.Socket) error { _, err := c.ReadAvailable(make([]byte, 5)); return err },
		"ReadLine":      func(c *local.Socket) error { _, err := c.ReadLine(5); return err },
		"Skip":          func(c *local.Socket) error { _, err := c.Skip(5); return err },
		"closed unread": func(c *local.Socket) error { return c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			check := leakCheck(t)
			a, b := pair(t)
			for range 20 {
				ds, _ := pipes(t, 3)
				must(t, a.SendDescriptors([]byte("12345"), ds...))
				sockettest.Eventually(t, "it has arrived", func() bool { return b.BytesAvailable() == 5 })
				must(t, read(b))
				if name == "closed unread" {
					break
				}
				if n := b.BytesAvailable(); n != 0 {
					t.Errorf("%d bytes are left", n)
				}
			}
			a.Close()
			b.Close()
			check()
		})
	}
	check := leakCheck(t)
	a, b := pair(t)
	must(t, func() error { _, err := a.Write([]byte("before")); return err }())
	ds, _ := pipes(t, 1)
	must(t, a.SendDescriptors([]byte("x"), ds...))
	_, err := io.ReadFull(b, make([]byte, 7))
	must(t, err)
	ds, contents := pipes(t, 1)
	must(t, a.SendDescriptors([]byte("y"), ds...))
	_, came := receive(t, b, 1)
	wantContents(t, came, contents...)
	a.Abort()
	b.Abort()
	check()
}

func TestReceiveDescriptorsDeadlineAndClose(t *testing.T) {
	a, b := pair(t)
	receiving := func() <-chan error {
		return sockettest.Go(func() error {
			_, ds, err := b.ReceiveDescriptors(make([]byte, 1))
			for _, d := range ds {
				d.Close()
			}
			return err
		})
	}
	timeout := func(what string, err error) {
		t.Helper()
		var ne net.Error
		wantIs(t, what, err, sock.SocketTimeoutError, os.ErrDeadlineExceeded)
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v is no timeout", what, err)
		}
	}
	for _, d := range []time.Duration{-time.Second, small} {
		must(t, b.SetReadDeadline(time.Now().Add(d)))
		timeout("a deadline", sockettest.Done(t, "it returns", receiving()))
	}
	must(t, b.SetReadDeadline(time.Time{}))
	got := receiving()
	must(t, b.SetReadDeadline(time.Now())) // in the middle, or before
	timeout("a deadline in the middle", sockettest.Done(t, "it returns", got))
	must(t, b.SetReadDeadline(time.Time{}))
	// Waits neither end it nor stand behind it.
	got = receiving()
	wantIs(t, "a wait beside it", b.WaitForReadyRead(small), sock.SocketTimeoutError)
	select {
	case err := <-got:
		t.Errorf("a wait has ended it: %v", err)
	default:
	}
	ds, _ := pipes(t, 1)
	must(t, a.SendDescriptors([]byte("x"), ds...))
	must(t, sockettest.Done(t, "it returns", got))
	wantState(t, b, sock.ConnectedState)
	got = receiving()
	must(t, b.Close())
	wantIs(t, "Close in the middle", sockettest.Done(t, "it returns", got), net.ErrClosed)

	// The write side: no room, and the descriptors stay ours.
	c, _ := pair(t)
	_, err := c.WriteBuffered(make([]byte, large))
	must(t, err)
	ds, _ = pipes(t, 1)
	must(t, c.SetWriteDeadline(time.Now().Add(small)))
	timeout("no room", c.SendDescriptors([]byte("x"), ds...))
	wantOpen(t, "after a timeout", true, ds...)
	must(t, c.SetWriteDeadline(time.Time{}))
	sent := sockettest.Go(func() error { return c.SendDescriptors([]byte("x"), ds...) })
	c.Abort()
	wantIs(t, "Abort in the middle", sockettest.Done(t, "it returns", sent), net.ErrClosed)
	wantOpen(t, "after Abort", true, ds...)
	ds[0].Close()
}

// Two receivers and a sender: each message's descriptors come to one, with its byte.
func TestReceiveDescriptorsInManyGoroutines(t *testing.T) {
	check := leakCheck(t)
	a, b := pair(t)
	const messages = 200
	results := make(chan int, messages)
	for range 3 {
		go func() {
			for {
				n, ds, err := b.ReceiveDescriptors(make([]byte, 1))
				if err != nil {
					results <- -1
					return
				}
				if n != 1 || len(ds) != 1 {
					t.Errorf("%d bytes, %d descriptors", n, len(ds))
				}
				for _, d := range ds {
					d.Close()
				}
				results <- len(ds)
			}
		}()
	}
	for range messages {
		ds, _ := pipes(t, 1)
		must(t, a.SendDescriptors([]byte("x"), ds...))
	}
	a.Close()
	total, ended := 0, 0
	for ended < 3 {
		switch n := sockettest.Done(t, "a result comes", results); n {
		case -1:
			ended++
		default:
			total += n
		}
	}
	if total != messages {
		t.Errorf("%d descriptors came; want %d", total, messages)
	}
	b.Abort()
	check()
}
