package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// The situations that a socket can be in, and how it gets there.
var situations = map[string]func(t *testing.T) *local.Socket{
	"new": func(*testing.T) *local.Socket { return new(local.Socket) },
	"connecting": func(t *testing.T) *local.Socket {
		srv, _ := queueFull(t)
		return connecting(t, srv)
	},
	"connected": func(t *testing.T) *local.Socket {
		c, _ := pair(t)
		return c
	},
	"closing": func(t *testing.T) *local.Socket { // by DisconnectFromServer
		c, _ := pair(t)
		fill(t, c, 1<<20)
		c.DisconnectFromServer()
		return c
	},
	"ended": func(t *testing.T) *local.Socket { // by the peer, with bytes unread
		c, peer := pair(t)
		peer.Write([]byte("one\ntwo"))
		peer.Close()
		must(t, c.WaitForDisconnected(sockettest.Long()))
		return c
	},
	"closed": func(t *testing.T) *local.Socket {
		c, peer := pair(t)
		peer.Write([]byte("one\ntwo"))
		must(t, c.Close())
		return c
	},
	"disconnected": func(t *testing.T) *local.Socket { // by us, with bytes unread
		c, peer := pair(t)
		peer.Write([]byte("one\ntwo"))
		c.DisconnectFromServer()
		return c
	},
	"failed": func(t *testing.T) *local.Socket {
		c := new(local.Socket)
		if c.ConnectToServer(sockettest.Name(t), 0) == nil {
			t.Fatal("it has connected to nothing")
		}
		return c
	},
}

// Every member's answer in every situation.
func TestSocketMembersInEverySituation(t *testing.T) {
	type answers map[string]string // by situation; "" stands for all others
	code := func(err error) string {
		switch {
		case err == nil:
			return "nil"
		case err == io.EOF:
			return "EOF"
		case errors.Is(err, net.ErrClosed):
			return sock.CodeOf(err).Name() + " closed"
		}
		return sock.CodeOf(err).Name()
	}
	const (
		never   = "OperationError"        // there was no connection
		closed  = "OperationError closed" // there is none any more, by our doing
		peer    = "RemoteHostClosedError" // nor by the peer's
		timeout = "SocketTimeoutError"
		refused = "HostNotFoundError"
	)
	past := time.Unix(1, 0)
	half := "nil"
	if !sockettest.HasHalfClose {
		half = "UnsupportedSocketOperationError"
	}
	for _, test := range []struct {
		member string
		ask    func(c *local.Socket) string
		want   answers
	}{
		{"State", func(c *local.Socket) string { return c.State().String() },
			answers{"": "UnconnectedState", "connecting": "ConnectingState", "connected": "ConnectedState", "closing": "ClosingState"}},
		{"IsValid", func(c *local.Socket) string { return fmt.Sprint(c.IsValid()) },
			answers{"": "false", "connected": "true", "closing": "true"}},
		{"SocketDescriptor", func(c *local.Socket) string { return fmt.Sprint(c.SocketDescriptor().IsValid()) },
			answers{"": "false", "connected": "true", "closing": "true"}},
		{"SocketError", func(c *local.Socket) string { return c.SocketError().Name() },
			answers{"": "NoError", "ended": peer, "failed": refused}},
		{"Err", func(c *local.Socket) string { return code(c.Err()) },
			answers{"": "nil", "ended": peer, "failed": refused}},
		{"ErrorString", func(c *local.Socket) string { return fmt.Sprint(c.ErrorString() != "") },
			answers{"": "false", "ended": "true", "failed": "true"}},
		{"ServerName", func(c *local.Socket) string { return fmt.Sprint(c.ServerName() != "") },
			answers{"": "false", "connecting": "true", "connected": "true", "closing": "true"}},
		{"FullServerName", func(c *local.Socket) string { return fmt.Sprint(c.FullServerName() != "") },
			answers{"": "false", "connecting": "true", "connected": "true", "closing": "true"}},
		{"LocalAddr", func(c *local.Socket) string { return c.LocalAddr().Network() }, answers{"": sockettest.LocalNetwork}},
		{"RemoteAddr", func(c *local.Socket) string { return fmt.Sprint(c.RemoteAddr().String() != "") },
			answers{"": "true", "new": "false"}},
		{"BytesAvailable", func(c *local.Socket) string { return fmt.Sprint(c.BytesAvailable()) },
			answers{"": "0", "ended": "7", "disconnected": "7"}},
		{"BytesToWrite", func(c *local.Socket) string { return fmt.Sprint(c.BytesToWrite() > 0) },
			answers{"": "false", "closing": "true"}},
		{"CanReadLine", func(c *local.Socket) string { return fmt.Sprint(c.CanReadLine()) },
			answers{"": "false", "ended": "true", "disconnected": "true"}},
		{"Flush", func(c *local.Socket) string { return fmt.Sprint(c.Flush()) }, answers{"": "false"}},
		{"WaitForConnected", func(c *local.Socket) string { return code(c.WaitForConnected(0)) },
			answers{"new": never, "connecting": timeout, "connected": "nil", "closing": closed, "ended": peer, "closed": closed, "disconnected": closed, "failed": refused}},
		{"WaitForReadyRead", func(c *local.Socket) string { return code(c.WaitForReadyRead(0)) },
			answers{"new": never, "connecting": timeout, "connected": timeout, "closing": closed, "closed": closed, "failed": refused}},
		{"WaitForReadyRead, then again", func(c *local.Socket) string { c.WaitForReadyRead(0); return code(c.WaitForReadyRead(0)) },
			answers{"new": never, "connecting": timeout, "connected": timeout, "closing": closed, "ended": peer, "closed": closed, "disconnected": closed, "failed": refused}},
		{"WaitForBytesWritten", func(c *local.Socket) string { c.WaitForBytesWritten(0); return code(c.WaitForBytesWritten(0)) },
			answers{"new": never, "connecting": never, "connected": never, "closing": timeout, "ended": peer, "closed": closed, "disconnected": closed}},
		{"WaitForDisconnected", func(c *local.Socket) string { return code(c.WaitForDisconnected(0)) },
			answers{"new": never, "connecting": timeout, "connected": timeout, "closing": timeout, "closed": closed, "disconnected": closed}},
		{"small WaitForDisconnected", func(c *local.Socket) string { return code(c.WaitForDisconnected(time.Millisecond)) },
			answers{"new": never, "connecting": timeout, "connected": timeout, "closing": timeout, "closed": closed, "disconnected": closed}},
		{"ReadAvailable", func(c *local.Socket) string {
			n, err := c.ReadAvailable(make([]byte, 3))
			return fmt.Sprintf("%d %s", n, code(err))
		},
			answers{"new": "0 " + never, "connecting": "0 " + never, "connected": "0 nil", "closing": "0 EOF", "ended": "3 nil", "closed": "0 " + closed, "disconnected": "3 nil", "failed": "0 " + never}},
		{"ReadAvailable of nothing", func(c *local.Socket) string { n, _ := c.ReadAvailable(nil); return fmt.Sprint(n) }, answers{"": "0"}},
		{"Peek", func(c *local.Socket) string { b, err := c.Peek(2); return fmt.Sprintf("%s %s", b, code(err)) },
			answers{"new": " " + never, "connecting": " " + never, "connected": " nil", "closing": " EOF", "disconnected": "on nil", "ended": "on nil", "closed": " " + closed, "failed": " " + never}},
		{"ReadLine", func(c *local.Socket) string { b, err := c.ReadLine(0); return fmt.Sprintf("%q %s", b, code(err)) },
			answers{"new": `"" ` + never, "connecting": `"" ` + never, "connected": `"" nil`, "closing": `"" EOF`, "disconnected": `"one\n" nil`, "ended": `"one\n" nil`, "closed": `"" ` + closed, "failed": `"" ` + never}},
		{"Skip", func(c *local.Socket) string { n, err := c.Skip(5); return fmt.Sprintf("%d %s", n, code(err)) },
			answers{"new": "0 " + never, "connecting": "0 " + never, "connected": "0 nil", "closing": "0 EOF", "disconnected": "5 nil", "ended": "5 nil", "closed": "0 " + closed, "failed": "0 " + never}},
		{"Read with a deadline", func(c *local.Socket) string {
			c.SetReadDeadline(past)
			n, err := c.Read(make([]byte, 3))
			return fmt.Sprintf("%d %s", n, code(err))
		}, answers{"new": "0 " + never, "connecting": "0 " + never, "connected": "0 " + timeout, "disconnected": "3 nil", "ended": "3 nil", "closed": "0 " + closed, "failed": "0 " + never}},
		{"Write", func(c *local.Socket) string {
			n, err := c.Write([]byte("x"))
			return fmt.Sprintf("%d %s", n, code(err))
		},
			answers{"new": "0 " + never, "connecting": "0 " + never, "connected": "1 nil", "closing": "0 " + closed, "disconnected": "0 " + closed, "ended": "0 " + peer, "closed": "0 " + closed, "failed": "0 " + never}},
		{"WriteBuffered", func(c *local.Socket) string {
			n, err := c.WriteBuffered([]byte("x"))
			return fmt.Sprintf("%d %s", n, code(err))
		},
			answers{"new": "0 " + never, "connecting": "0 " + never, "connected": "1 nil", "closing": "1 nil", "disconnected": "0 " + closed, "ended": "0 " + peer, "closed": "0 " + closed, "failed": "0 " + never}},
		{"SetReadDeadline", func(c *local.Socket) string { return code(c.SetReadDeadline(past)) },
			answers{"": never, "connected": "nil", "closing": "nil", "ended": peer, "closed": closed, "disconnected": closed}},
		{"CloseRead", func(c *local.Socket) string { return code(c.CloseRead()) },
			answers{"": never, "connected": half, "closing": half, "ended": peer, "closed": closed, "disconnected": closed}},
		{"CloseWrite", func(c *local.Socket) string { return code(c.CloseWrite()) },
			answers{"": never, "connected": half, "closing": half, "ended": peer, "closed": closed, "disconnected": closed}},
		{"SyscallConn", func(c *local.Socket) string { _, err := c.SyscallConn(); return code(err) },
			answers{"": never, "connected": "nil", "closing": "nil", "ended": peer, "closed": closed, "disconnected": closed}},
		{"Peer", func(c *local.Socket) string { _, err := c.Peer(); return code(err) },
			answers{"": never, "connected": "nil", "closing": "nil", "ended": peer, "closed": closed, "disconnected": closed}},
		{"SetServerName", func(c *local.Socket) string { return code(c.SetServerName("x")) },
			answers{"": "nil", "connecting": never, "connected": never, "closing": never}},
		{"SetSocketOptions", func(c *local.Socket) string { return code(c.SetSocketOptions(local.NoOptions)) },
			answers{"": "nil", "connecting": never, "connected": never, "closing": never}},
		{"ConnectToServer", func(c *local.Socket) string { return code(c.ConnectToServer("none", 0)) },
			answers{"": refused, "connecting": never, "connected": never, "closing": never}},
		{"Close", func(c *local.Socket) string {
			return code(c.Close()) + " " + code(c.Close()) + " " + c.State().String()
		},
			answers{"": "nil nil UnconnectedState", "closing": "nil nil ClosingState"}},
		{"Abort", func(c *local.Socket) string {
			c.Abort()
			c.Abort()
			return fmt.Sprint(c.State(), c.BytesToWrite(), c.BytesAvailable())
		},
			answers{"": "UnconnectedState 0 0"}},
		{"DisconnectFromServer", func(c *local.Socket) string {
			c.DisconnectFromServer()
			c.DisconnectFromServer()
			return c.State().String()
		}, answers{"": "UnconnectedState", "closing": "ClosingState"}},
	} {
		for situation, make := range situations {
			want, ok := test.want[situation]
			if !ok {
				if want, ok = test.want[""]; !ok {
					continue // its documentation leaves that open
				}
			}
			t.Run(test.member+" when "+situation, func(t *testing.T) {
				c := make(t)
				t.Cleanup(c.Abort)
				if got := test.ask(c); got != want {
					t.Errorf("%s; want %s", got, want)
				}
			})
		}
	}
}

func TestSocketWaitsLastAsLongAsTheyAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		wait func(*local.Socket, time.Duration) error
		end  func(client, server *local.Socket)
	}{
		"WaitForReadyRead":                 {(*local.Socket).WaitForReadyRead, func(_, server *local.Socket) { server.Write([]byte("x")) }},
		"WaitForDisconnected, peer's end":  {(*local.Socket).WaitForDisconnected, func(_, server *local.Socket) { server.Close() }},
		"WaitForDisconnected, our own end": {(*local.Socket).WaitForDisconnected, func(client, _ *local.Socket) { client.Abort() }},
	} {
		t.Run(name, func(t *testing.T) {
			for _, forever := range []time.Duration{sock.Forever, -5 * time.Hour} {
				client, server := pair(t)
				for _, d := range []time.Duration{0, time.Millisecond, small} {
					start := time.Now()
					wantIs(t, "the wait", test.wait(client, d), sock.SocketTimeoutError, os.ErrDeadlineExceeded)
					if took := time.Since(start); took < d {
						t.Errorf("a wait of %v took %v", d, took)
					}
					wantIs(t, "Err", client.Err(), sock.SocketTimeoutError)
					wantState(t, client, sock.ConnectedState)
				}
				waited := sockettest.Go(func() error { return test.wait(client, forever) })
				sockettest.Stays(t, "it waits", func() bool { return len(waited) == 0 })
				test.end(client, server)
				must(t, sockettest.Done(t, "the wait returns", waited))
			}
		})
	}
}

func TestSocketWaitForReadyReadDoesNotCountWhatReadHasTaken(t *testing.T) {
	client, server := pair(t)
	for name, read := range map[string]func([]byte) (int, error){"Read": client.Read, "ReadAvailable": client.ReadAvailable} {
		server.Write([]byte("xyz"))
		sockettest.Eventually(t, "all is read", func() bool { n, _ := read(make([]byte, 3)); return n == 3 })
		if err := client.WaitForReadyRead(0); !errors.Is(err, sock.SocketTimeoutError) {
			t.Errorf("WaitForReadyRead after %s has taken everything: %v; want a timeout", name, err)
		}
		called := make(chan struct{}, 10)
		stop := client.OnReadyRead(func() { called <- struct{}{} })
		sockettest.Stays(t, "readyRead is not told of what was taken", func() bool { return len(called) == 0 })
		stop()
	}
}

func TestSocketWaitForReadyReadIsForNewBytes(t *testing.T) {
	client, server := pair(t)
	for i := range 3 {
		server.Write([]byte("x"))
		must(t, client.WaitForReadyRead(sockettest.Long()))
		wantIs(t, "a wait for bytes that a wait was told of", client.WaitForReadyRead(0), sock.SocketTimeoutError)
		if n := client.BytesAvailable(); n != int64(i+1) {
			t.Errorf("%d bytes are available; want %d", n, i+1)
		}
	}
	server.Write([]byte("more"))
	server.Close()
	must(t, client.WaitForReadyRead(sockettest.Long())) // the bytes first
	wantIs(t, "the wait after the last bytes", client.WaitForReadyRead(sockettest.Long()), local.PeerClosedError, io.EOF)
	if got := readAvailable(t, client); string(got) != "xxxmore" {
		t.Errorf("%q can be read", got)
	}
	_, err := client.ReadAvailable(make([]byte, 1))
	if err != io.EOF {
		t.Errorf("after the end: %v; want io.EOF", err)
	}
}

func TestSocketWaitForReadyReadAfterACallbackWasTold(t *testing.T) {
	// What a callback was told of counts for a wait still: a program looks, finds no line, and waits, while the bytes arrive.
	client, server := pair(t)
	told := make(chan struct{}, 10)
	client.OnReadyRead(func() { told <- struct{}{} })
	server.Write([]byte("hello\n"))
	sockettest.Done(t, "the callback is told", told)
	must(t, client.WaitForReadyRead(sockettest.Long()))
	wantIs(t, "a second wait", client.WaitForReadyRead(0), sock.SocketTimeoutError)
}

func TestSocketWaitForConnectedOfAConnectionThatHasEndedAlready(t *testing.T) {
	// The connection was made, and the first wait says so, even if the peer was quick to end it; the next one says how it ended.
	srv := listen(t)
	client := closeLater(t, new(local.Socket))
	ended := make(chan struct{})
	client.OnDisconnected(func() { close(ended) })
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	next(t, srv).Close()
	sockettest.Done(t, "the end is told", ended)
	must(t, client.WaitForConnected(sockettest.Long()))
	wantIs(t, "a second wait", client.WaitForConnected(sockettest.Long()), local.PeerClosedError)
}

func TestSocketWaitForBytesWrittenTellsOfSome(t *testing.T) {
	client, server := pair(t)
	wantIs(t, "with nothing queued", client.WaitForBytesWritten(sock.Forever), sock.OperationError)
	client.WriteBuffered([]byte("hello"))
	must(t, client.WaitForBytesWritten(sockettest.Long()))
	if client.BytesToWrite() != 0 || client.Flush() {
		t.Error("something is queued still")
	}
	client.WriteBuffered(make([]byte, large))
	must(t, client.WaitForBytesWritten(sockettest.Long())) // the first of them
	sockettest.Eventually(t, "the system's buffers are full", func() bool { return errors.Is(client.WaitForBytesWritten(5*time.Millisecond), sock.SocketTimeoutError) })
	if n := client.BytesToWrite(); n == 0 || n >= large {
		t.Errorf("%d bytes are queued", n)
	}
	received := sockettest.Go(func() int64 { n, _ := io.Copy(io.Discard, server); return n })
	for client.BytesToWrite() > 0 {
		if err := client.WaitForBytesWritten(sockettest.Long()); err != nil && client.BytesToWrite() > 0 {
			t.Fatal(err)
		}
	}
	client.Close()
	if n := sockettest.Done(t, "all is received", received); n != large+5 {
		t.Errorf("%d bytes were received", n)
	}
}

func TestSocketReadingWithoutWaiting(t *testing.T) {
	client, server := pair(t)
	put := func(s string) {
		t.Helper()
		before := client.BytesAvailable()
		server.Write([]byte(s))
		sockettest.Eventually(t, "the bytes arrive", func() bool { return client.BytesAvailable() == before+int64(len(s)) })
	}
	put("one\ntwo")
	for range 2 {
		if b, err := client.Peek(100); string(b) != "one\ntwo" || err != nil {
			t.Errorf("Peek: %q, %v", b, err)
		}
	}
	if b, _ := client.Peek(2); string(b) != "on" {
		t.Errorf("Peek(2): %q", b)
	}
	if b, err := client.Peek(0); b != nil || err != nil {
		t.Errorf("Peek(0): %q, %v", b, err)
	}
	if b, err := client.Peek(-1); b != nil || err != nil {
		t.Errorf("Peek(-1): %q, %v", b, err)
	}
	if !client.CanReadLine() {
		t.Error("CanReadLine is false")
	}
	if b, _ := client.ReadLine(2); string(b) != "on" {
		t.Errorf("ReadLine(2): %q", b)
	}
	if b, _ := client.ReadLine(0); string(b) != "e\n" {
		t.Errorf("ReadLine(0): %q", b)
	}
	if client.CanReadLine() {
		t.Error("CanReadLine is true without a newline")
	}
	if b, _ := client.ReadLine(0); string(b) != "two" {
		t.Errorf("ReadLine(0): %q", b)
	}
	put("0123456789")
	if n, err := client.Skip(0); n != 0 || err != nil {
		t.Errorf("Skip(0): %d, %v", n, err)
	}
	if n, err := client.Skip(-3); n != 0 || err != nil {
		t.Errorf("Skip(-3): %d, %v", n, err)
	}
	if n, err := client.Skip(4); n != 4 || err != nil {
		t.Errorf("Skip(4): %d, %v", n, err)
	}
	b := make([]byte, 3)
	if n, err := client.ReadAvailable(b); n != 3 || err != nil || string(b) != "456" {
		t.Errorf("ReadAvailable: %q, %v", b[:n], err)
	}
	client.Peek(1)                                                          // what is buffered
	put("abc")                                                              // and what is not
	if n, err := client.Read(b); string(b[:n]) != "789"[:n] || err != nil { // come in order
		t.Errorf("Read: %q, %v", b[:n], err)
	}
	rest, _ := client.Peek(100)
	if !strings.HasSuffix("789abc", string(rest)) || len(rest) == 0 {
		t.Errorf("Peek: %q", rest)
	}
	if n, err := client.Skip(1 << 40); n != int64(len(rest)) || err != nil {
		t.Errorf("Skip: %d, %v", n, err)
	}
	if n, err := client.ReadAvailable(b); n != 0 || err != nil {
		t.Errorf("with nothing there: %d, %v", n, err)
	}
	put("end")
	server.Close()
	sockettest.Eventually(t, "the last bytes and the end", func() bool {
		b, err := client.Peek(100)
		return string(b) == "end" && err == nil
	})
	if n, err := client.Skip(100); n != 3 || err != nil {
		t.Errorf("Skip: %d, %v", n, err)
	}
	sockettest.Eventually(t, "the end", func() bool { _, err := client.Skip(1); return err == io.EOF })
	for name, err := range map[string]error{
		"Peek":          func() error { _, err := client.Peek(1); return err }(),
		"ReadLine":      func() error { _, err := client.ReadLine(0); return err }(),
		"Read":          func() error { _, err := client.Read(b); return err }(),
		"ReadAvailable": func() error { _, err := client.ReadAvailable(b); return err }(),
	} {
		if err != io.EOF {
			t.Errorf("%s after the end: %v; want io.EOF as it is", name, err)
		}
	}
}

func TestSocketReadBufferSizeBoundsWhatIsToldAndBuffered(t *testing.T) {
	client, server := pair(t)
	client.SetReadBufferSize(128)
	if client.ReadBufferSize() != 128 {
		t.Errorf("ReadBufferSize: %d", client.ReadBufferSize())
	}
	server.Write(bytes.Repeat([]byte("x"), 1000))
	server.Close()
	must(t, client.WaitForReadyRead(sockettest.Long()))
	wantIs(t, "the wait while the buffer is full", client.WaitForDisconnected(small), sock.SocketTimeoutError)
	if n := client.BytesAvailable(); n != 128 {
		t.Errorf("%d bytes are available; want 128", n)
	}
	if b, _ := client.Peek(500); len(b) != 128 {
		t.Errorf("Peek has found %d bytes; want 128", len(b))
	}
	wantState(t, client, sock.ConnectedState) // the end comes after the rest
	total := 0
	for client.State() == sock.ConnectedState {
		n, err := client.ReadAvailable(make([]byte, 50))
		if total += n; err != nil || n == 0 {
			break
		}
	}
	if total != 1000 {
		t.Errorf("%d bytes were read; want 1000", total)
	}
	if client.WaitForDisconnected(sockettest.Long()); client.State() != sock.UnconnectedState {
		t.Error("it has not ended")
	}
	client.SetReadBufferSize(-5)
	if client.ReadBufferSize() != 0 {
		t.Errorf("ReadBufferSize: %d; want 0, no limit", client.ReadBufferSize())
	}
}

func TestSocketReadBufferSizeWaitsDoNotSpin(t *testing.T) {
	client, server := pair(t)
	client.SetReadBufferSize(10)
	server.Write(make([]byte, 1000))
	must(t, client.WaitForReadyRead(sockettest.Long()))
	before, known := sockettest.CPUTime()
	start := time.Now()
	wantIs(t, "WaitForReadyRead", client.WaitForReadyRead(sockettest.Scale(100*time.Millisecond)), sock.SocketTimeoutError)
	wantIs(t, "WaitForDisconnected", client.WaitForDisconnected(sockettest.Scale(100*time.Millisecond)), sock.SocketTimeoutError)
	after, _ := sockettest.CPUTime()
	if took := time.Since(start); known && after-before > took/4 {
		t.Errorf("waits of %v have cost %v of processor time", took, after-before)
	}
}

func TestSocketWriteOnlyThrowsAwayWhatArrives(t *testing.T) {
	client := new(local.Socket)
	server := pairWith(t, client, sock.WriteOnly)
	client.OnReadyRead(func() { t.Error("readyRead is told") })
	ended := make(chan struct{})
	client.OnDisconnected(func() { close(ended) })
	server.SetWriteDeadline(time.Now().Add(sockettest.Long()))
	if _, err := server.Write(make([]byte, large)); err != nil { // more than fits: somebody takes it
		t.Errorf("the peer's Write: %v", err)
	}
	if n := client.BytesAvailable(); n != 0 || client.CanReadLine() {
		t.Errorf("%d bytes are available", n)
	}
	_, err := client.Read(make([]byte, 1))
	wantIs(t, "Read", err, sock.OperationError)
	_, err = client.ReadAvailable(make([]byte, 1))
	wantIs(t, "ReadAvailable", err, sock.OperationError)
	wantIs(t, "WaitForReadyRead", client.WaitForReadyRead(sock.Forever), sock.OperationError)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	server.Abort()
	sockettest.Done(t, "the end is told", ended)
}

func TestSocketReadOnlyDoesNotWrite(t *testing.T) {
	client := new(local.Socket)
	server := pairWith(t, client, sock.ReadOnly)
	_, err := client.Write([]byte("x"))
	wantIs(t, "Write", err, sock.OperationError)
	_, err = client.WriteBuffered([]byte("x"))
	wantIs(t, "WriteBuffered", err, sock.OperationError)
	server.Write([]byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(client, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
}

// What only Read and Write meet is Go's half-close.
func TestSocketHalfCloseByReadAndWrite(t *testing.T) {
	sockettest.NeedHalfClose(t)
	client, server := pair(t)
	client.Write([]byte("question"))
	must(t, client.CloseWrite())
	question, err := io.ReadAll(server)
	if string(question) != "question" || err != nil {
		t.Errorf("the server read %q, %v", question, err)
	}
	wantState(t, server, sock.ConnectedState)
	if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("a second Read at the end: %d, %v", n, err)
	}
	if _, err := server.Write([]byte("answer")); err != nil {
		t.Errorf("Write after the peer's half-close: %v", err)
	}
	_, err = client.Write([]byte("x"))
	wantIs(t, "Write after CloseWrite", err, syscall.EPIPE)
	server.Close()
	answer, err := io.ReadAll(client)
	if string(answer) != "answer" || err != nil {
		t.Errorf("the client read %q, %v", answer, err)
	}
}

func TestSocketCloseWriteComesAfterWhatIsQueued(t *testing.T) {
	sockettest.NeedHalfClose(t)
	client, server := pair(t)
	fill(t, client, large)
	must(t, client.CloseWrite())
	_, err := client.WriteBuffered([]byte("x"))
	wantIs(t, "WriteBuffered after CloseWrite", err, syscall.EPIPE)
	if n, err := io.Copy(io.Discard, server); n != large || err != nil {
		t.Errorf("the peer read %d, %v; want %d", n, err, large)
	}
	wantState(t, client, sock.ConnectedState)
}

// What a wait, a callback or a never-waiting member meets is Qt's end.
func TestSocketEndMetInQtsWay(t *testing.T) {
	for name, meet := range map[string]func(*local.Socket) bool{
		"WaitForReadyRead":    func(c *local.Socket) bool { return c.WaitForReadyRead(sockettest.Long()) != nil },
		"WaitForDisconnected": func(c *local.Socket) bool { return c.WaitForDisconnected(sockettest.Long()) == nil },
		"ReadAvailable": func(c *local.Socket) bool {
			for {
				if _, err := c.ReadAvailable(make([]byte, 1)); err != nil {
					return err == io.EOF
				}
			}
		},
		"Peek": func(c *local.Socket) bool {
			for {
				if _, err := c.Peek(1); err != nil {
					return err == io.EOF
				}
			}
		},
		"callback": func(c *local.Socket) bool {
			told := make(chan struct{})
			c.OnDisconnected(func() { close(told) })
			<-told
			return true
		},
		"CanReadLine": func(c *local.Socket) bool {
			for c.State() == sock.ConnectedState {
				c.CanReadLine()
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			if sockettest.HasHalfClose {
				must(t, server.CloseWrite())
			} else {
				must(t, server.Close())
			}
			if !meet(client) {
				t.Error("it does not meet the end")
			}
			wantState(t, client, sock.UnconnectedState)
			wantIs(t, "Err", client.Err(), local.PeerClosedError, io.EOF)
			_, err := client.Write([]byte("x"))
			wantIs(t, "Write", err, local.PeerClosedError)
			if client.IsValid() || client.SocketDescriptor().IsValid() {
				t.Error("a descriptor is held")
			}
			server.SetReadDeadline(time.Now().Add(sockettest.Long()))
			if _, err := server.Read(make([]byte, 1)); sockettest.HasHalfClose && err != io.EOF {
				t.Errorf("the peer, whose connection is closed on both sides, read %v", err)
			}
		})
	}
}

func TestSocketEndingWithBytesQueued(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(*local.Socket)
		state sock.State // right after
		all   bool       // whether everything arrives
	}{
		"DisconnectFromServer": {(*local.Socket).DisconnectFromServer, sock.ClosingState, true},
		"Close":                {func(c *local.Socket) { c.Close() }, sock.ClosingState, true},
		"Abort":                {(*local.Socket).Abort, sock.UnconnectedState, false},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			fill(t, client, large)
			ended := make(chan struct{})
			client.OnDisconnected(func() { close(ended) })
			start := time.Now()
			test.end(client)
			if took := time.Since(start); took > sockettest.Long()/2 {
				t.Errorf("%s took %v", name, took)
			}
			wantState(t, client, test.state)
			if queued := client.BytesToWrite(); (queued > 0) != test.all {
				t.Errorf("%d bytes are queued", queued)
			}
			n, err := io.Copy(io.Discard, server)
			if err != nil || (n == large) != test.all {
				t.Errorf("the peer read %d, %v", n, err)
			}
			sockettest.Done(t, "disconnected is told", ended)
			wantState(t, client, sock.UnconnectedState)
			if client.BytesToWrite() != 0 {
				t.Error("bytes are queued still")
			}
		})
	}
}

func TestSocketAbortEndsClosing(t *testing.T) {
	client, _ := pair(t)
	fill(t, client, large)
	must(t, client.Close())
	wantState(t, client, sock.ClosingState)
	waited := sockettest.Go(func() error { return client.WaitForDisconnected(sock.Forever) })
	client.Abort()
	if err := sockettest.Done(t, "the wait returns", waited); err != nil && !errors.Is(err, net.ErrClosed) { // it may have begun too late
		t.Error(err)
	}
	wantState(t, client, sock.UnconnectedState)
}

func TestSocketWriteDeadlineEndsClosing(t *testing.T) {
	client, _ := pair(t)
	fill(t, client, large)
	ended := make(chan struct{})
	client.OnDisconnected(func() { close(ended) })
	must(t, client.SetWriteDeadline(time.Now().Add(small)))
	must(t, client.Close())
	sockettest.Done(t, "disconnected is told", ended)
	wantIs(t, "Err", client.Err(), sock.SocketTimeoutError)
}

func TestSocketPeerGoesWhileClosing(t *testing.T) {
	client, server := pair(t)
	fill(t, client, large)
	ended := make(chan struct{})
	client.OnDisconnected(func() { close(ended) })
	must(t, client.Close())
	server.Abort()
	sockettest.Done(t, "disconnected is told", ended)
	wantIs(t, "Err", client.Err(), local.PeerClosedError)
}

func TestSocketCloseEndsWhoWaits(t *testing.T) {
	for name, wait := range map[string]func(*local.Socket) error{
		"Read":                func(c *local.Socket) error { _, err := c.Read(make([]byte, 1)); return err },
		"Write":               func(c *local.Socket) error { _, err := c.Write(make([]byte, 64<<20)); return err },
		"WaitForReadyRead":    func(c *local.Socket) error { return c.WaitForReadyRead(sock.Forever) },
		"WaitForDisconnected": func(c *local.Socket) error { return c.WaitForDisconnected(sock.Forever) },
	} {
		for endName, end := range map[string]func(*local.Socket){
			"Close": func(c *local.Socket) { c.Close() },
			"Abort": (*local.Socket).Abort,
		} {
			t.Run(endName+" ends "+name, func(t *testing.T) {
				client, _ := pair(t)
				waiting := []<-chan error{sockettest.Go(func() error { return wait(client) }), sockettest.Go(func() error { return wait(client) })}
				time.Sleep(time.Millisecond)
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() { end(client) })
				}
				wg.Wait()
				for _, w := range waiting {
					err := sockettest.Done(t, name+" returns", w)
					if err == nil && name == "WaitForDisconnected" {
						continue
					}
					wantIs(t, name, err, net.ErrClosed)
				}
				wantState(t, client, sock.UnconnectedState)
			})
		}
	}
}

func TestSocketDeadlinesAndWaitsAreApart(t *testing.T) {
	client, server := pair(t)
	must(t, client.SetDeadline(time.Unix(1, 0)))
	wantIs(t, "Read", func() error { _, err := client.Read(make([]byte, 1)); return err }(), os.ErrDeadlineExceeded)
	wantIs(t, "Write", func() error { _, err := client.Write(make([]byte, 1)); return err }(), os.ErrDeadlineExceeded)
	if client.Err() != nil {
		t.Errorf("what Read and Write return is no error of the socket's: %v", client.Err())
	}
	waited := sockettest.Go(func() error { return client.WaitForReadyRead(sockettest.Long()) })
	time.Sleep(2 * time.Millisecond)
	server.Write([]byte("hello"))
	if err := sockettest.Done(t, "the wait returns", waited); err != nil {
		t.Errorf("a wait with a deadline that has passed: %v", err)
	}
	if got := readAvailable(t, client); string(got) != "hello" { // nor do the never-waiting members care
		t.Errorf("%q can be read", got)
	}
	must(t, client.SetDeadline(time.Time{}))
	server.Write([]byte("x"))
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}

	// A deadline in the middle of a Read that stands beside a wait ends the Read alone, and the other way round.
	read := sockettest.Go(func() error { _, err := client.Read(make([]byte, 1)); return err })
	wait := sockettest.Go(func() error { return client.WaitForReadyRead(sock.Forever) })
	time.Sleep(time.Millisecond)
	must(t, client.SetReadDeadline(time.Now()))
	wantIs(t, "Read", sockettest.Done(t, "Read returns", read), os.ErrDeadlineExceeded)
	if len(wait) > 0 {
		t.Errorf("the wait has returned, too: %v", <-wait)
	}
	must(t, client.SetReadDeadline(time.Time{}))
	server.Write([]byte("x"))
	must(t, sockettest.Done(t, "the wait returns", wait))
}

func TestSocketBlockedReadWhileWaitsComeAndGo(t *testing.T) {
	client, server := pair(t)
	const rounds = 50
	var total atomic.Int64
	reader := sockettest.Go(func() error {
		b := make([]byte, 10)
		for {
			n, err := client.Read(b)
			total.Add(int64(n))
			if err != nil {
				return err
			}
		}
	})
	for i := range rounds {
		for range 5 {
			client.WaitForReadyRead(100 * time.Microsecond)
			client.WaitForDisconnected(0)
		}
		wantState(t, client, sock.ConnectedState)
		server.Write([]byte("x"))
		sockettest.Eventually(t, "the blocked Read gets the byte", func() bool { return total.Load() == int64(i+1) })
	}
	server.Close()
	if err := sockettest.Done(t, "Read returns", reader); err != io.EOF {
		t.Errorf("Read: %v", err)
	}
}

// A member that looks ahead moves bytes from the system to the read buffer, perhaps before the poller has seen them; who waits for them
// at the poller must be told all the same.
func TestSocketBytesThatWereBufferedWakeWhoWaits(t *testing.T) {
	look := map[string]func(*local.Socket){
		"CanReadLine":    func(c *local.Socket) { c.CanReadLine() },
		"BytesAvailable": func(c *local.Socket) { c.BytesAvailable() },
		"Peek":           func(c *local.Socket) { c.Peek(1) },
	}
	wait := map[string]func(*local.Socket) <-chan error{
		"Read": func(c *local.Socket) <-chan error {
			return sockettest.Go(func() error { _, err := c.Read(make([]byte, 1)); return err })
		},
		"WaitForReadyRead": func(c *local.Socket) <-chan error {
			return sockettest.Go(func() error { return c.WaitForReadyRead(sock.Forever) })
		},
		"OnReadyRead": func(c *local.Socket) <-chan error {
			told := make(chan error, 1)
			stop := c.OnReadyRead(func() {
				select {
				case told <- nil:
				default:
				}
			})
			return sockettest.Go(func() error {
				defer stop()
				return <-told
			})
		},
	}
	for lookName, look := range look {
		for waitName, wait := range wait {
			t.Run(lookName+" and "+waitName, func(t *testing.T) {
				client, server := pair(t)
				for range 200 {
					waiting := wait(client)
					time.Sleep(20 * time.Microsecond)
					server.Write([]byte("x"))
					look(client)
					must(t, sockettest.Done(t, waitName+" wakes", waiting))
					readAvailable(t, client)
				}
			})
		}
	}
}

func TestSocketWaitsForEachOtherWithoutALoss(t *testing.T) {
	// Many waits at once: one edge wakes them all.
	client, server := pair(t)
	for range 20 {
		var waits []<-chan error
		for range 4 {
			waits = append(waits, sockettest.Go(func() error { return client.WaitForReadyRead(sockettest.Long()) }))
		}
		var early, late []<-chan error
		early, late = waits[:2], waits[2:]
		time.Sleep(200 * time.Microsecond)
		server.Write([]byte("x"))
		for _, w := range slices.Concat(early, late) {
			sockettest.Eventually(t, "the wait returns", func() bool {
				select {
				case err := <-w:
					must(t, err)
					return true
				case <-time.After(sockettest.Short()): // it began after the edge: it waits for the next one
					server.Write([]byte("y"))
					return false
				}
			})
		}
		readAvailable(t, client)
	}
}

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

func TestSocketSyscallConn(t *testing.T) {
	client, server := pair(t)
	raw, err := client.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		if d, _ := client.SocketDescriptor().Fd(); d != fd {
			t.Errorf("the descriptors are %d and %d", d, fd)
		}
	}))
	must(t, client.SetReadDeadline(time.Now().Add(small)))
	wantIs(t, "a raw Read with a deadline", raw.Read(func(uintptr) bool { return false }), os.ErrDeadlineExceeded)
	must(t, client.SetReadDeadline(time.Time{}))
	read := sockettest.Go(func() error {
		calls := 0
		return raw.Read(func(uintptr) bool { calls++; return calls > 1 })
	})
	time.Sleep(time.Millisecond)
	server.Write([]byte("x"))
	must(t, sockettest.Done(t, "the raw Read sees the bytes", read))
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	must(t, raw.Write(func(uintptr) bool { return true }))
	read = sockettest.Go(func() error { return raw.Read(func(uintptr) bool { return false }) })
	time.Sleep(time.Millisecond)
	must(t, client.Close())
	if sockettest.Done(t, "the raw Read ends with the connection", read) == nil {
		t.Error("a raw Read that Close has ended returns nil")
	}
	if raw.Control(func(uintptr) {}) == nil {
		t.Error("Control works after Close")
	}
}

func TestSocketIsUsedAgain(t *testing.T) {
	srv := listen(t)
	client := closeLater(t, new(local.Socket))
	log := watch(t, client)
	for i, end := range []func(){
		client.DisconnectFromServer, client.Abort, func() { client.Close() }, client.DisconnectFromServer,
	} {
		must(t, client.SetServerName(srv.FullServerName()))
		if client.ServerName() != srv.FullServerName() {
			t.Errorf("SetServerName: %q", client.ServerName())
		}
		must(t, client.ConnectToServer("", 0))
		server := next(t, srv)
		server.Write([]byte("left over"))
		sockettest.Eventually(t, "the bytes arrive", func() bool { return client.BytesAvailable() > 0 })
		client.SetReadDeadline(time.Unix(1, 0))
		if i%2 == 0 {
			client.WriteBuffered([]byte("bye"))
		}
		end()
		must(t, func() error {
			if client.State() == sock.UnconnectedState {
				return nil
			}
			return client.WaitForDisconnected(sockettest.Long())
		}())
	}
	sockettest.Eventually(t, "each connection and each end is told", func() bool { return log.count("connected") == 4 && log.count("disconnected") == 4 })
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	server := next(t, srv)
	if n := client.BytesAvailable(); n != 0 || client.Err() != nil {
		t.Errorf("%d bytes and %v are left of an earlier connection", n, client.Err())
	}
	server.Write([]byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(client, b); err != nil || string(b) != "hello" { // no deadline is left either
		t.Errorf("read %q, %v", b, err)
	}
}

func TestSocketAfterAbortDisconnectStillSends(t *testing.T) { // in Qt an abort makes the next connection lose data
	srv := listen(t)
	client := closeLater(t, new(local.Socket))
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	next(t, srv)
	client.Abort()
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	server := next(t, srv)
	fill(t, client, large)
	client.DisconnectFromServer()
	if n, err := io.Copy(io.Discard, server); n != large || err != nil {
		t.Errorf("the peer read %d, %v", n, err)
	}
}

func TestSocketConnectContextEnded(t *testing.T) {
	srv := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := closeLater(t, new(local.Socket))
	err := c.ConnectContext(ctx, srv.FullServerName())
	wantIs(t, "ConnectContext", err, context.Canceled, sock.SocketTimeoutError)
	wantState(t, c, sock.UnconnectedState)
	_, err = local.DialContext(ctx, srv.FullServerName())
	wantIs(t, "DialContext", err, context.Canceled)
	must(t, c.ConnectContext(t.Context(), srv.FullServerName()))
}

func TestSocketPeer(t *testing.T) {
	client, server := pair(t)
	for name, c := range map[string]*local.Socket{"client": client, "server": server} {
		p, err := c.Peer()
		if errors.Is(err, sock.UnsupportedSocketOperationError) {
			t.Skip(err)
		}
		uid, gid := os.Geteuid(), os.Getegid()
		if p.SID != "" {
			uid, gid = -2, -2
		}
		if err != nil || p.UID != uid || p.GID != gid || !p.SameUser() || p.PID != 0 && p.PID != os.Getpid() {
			t.Errorf("the peer of the %s is %+v, %v", name, p, err)
		}
	}
}

func TestSocketCloseOfManyAtOnce(t *testing.T) {
	for range 20 {
		client, server := pair(t)
		client.OnReadyRead(func() {})
		client.WriteBuffered(make([]byte, 300_000))
		var wg sync.WaitGroup
		for _, f := range []func(){
			func() { client.Close() }, func() { client.Close() }, client.DisconnectFromServer,
			func() { client.Flush() }, func() { client.WaitForDisconnected(sockettest.Long()) }, func() { client.Read(make([]byte, 1)) },
			func() { client.WaitForBytesWritten(sockettest.Long()) }, func() { io.Copy(io.Discard, server) },
			func() { client.CanReadLine(); client.BytesAvailable(); client.ErrorString() },
		} {
			wg.Go(f)
		}
		wg.Wait()
		eventuallyState(t, client, sock.UnconnectedState)
	}
}

// A reader that takes a part of what there is at each signal, or after each wait, must not keep a peer waiting whose message is larger than
// the system's buffer.
func TestSocketReadingInPartsGetsAll(t *testing.T) {
	for name, read := range map[string]func(c *local.Socket, got *atomic.Int64){
		"OnReadyRead": func(c *local.Socket, got *atomic.Int64) {
			c.OnReadyRead(func() {
				n, _ := c.ReadAvailable(make([]byte, 64<<10))
				got.Add(int64(n))
			})
		},
		"BytesAvailable": func(c *local.Socket, got *atomic.Int64) {
			c.OnReadyRead(func() { // takes nothing before all is there
				if n := c.BytesAvailable(); n == large {
					got.Store(n)
				}
			})
		},
		"WaitForReadyRead": func(c *local.Socket, got *atomic.Int64) {
			for c.BytesAvailable() < large {
				must(t, c.WaitForReadyRead(sockettest.Long()))
			}
			got.Store(c.BytesAvailable())
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			sent := sockettest.Go(func() error { _, err := server.Write(make([]byte, large)); return err })
			var got atomic.Int64
			read(client, &got)
			must(t, sockettest.Done(t, "all is sent", sent))
			sockettest.Eventually(t, "all has arrived", func() bool { return got.Load() == large })
		})
	}
}
