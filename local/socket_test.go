package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
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
	waits(t, "awaitRaw")
	server.Write([]byte("x"))
	must(t, sockettest.Done(t, "the raw Read sees the bytes", read))
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	must(t, raw.Write(func(uintptr) bool { return true }))
	read = sockettest.Go(func() error { return raw.Read(func(uintptr) bool { return false }) })
	waits(t, "awaitRaw")
	must(t, client.Close())
	if sockettest.Done(t, "the raw Read ends with the connection", read) == nil {
		t.Error("a raw Read that Close has ended returns nil")
	}
	if raw.Control(func(uintptr) {}) == nil {
		t.Error("Control works after Close")
	}
}

// A function that panics in a raw Read, whoever leads then, leaves the socket as it was.
func TestSocketSyscallConnPanics(t *testing.T) {
	client, server := pair(t)
	raw, err := client.SyscallConn()
	must(t, err)
	panics := func() (v any) {
		defer func() { v = recover() }()
		raw.Read(func(uintptr) bool { panic("from a raw Read") })
		return nil
	}
	if panics() == nil {
		t.Error("the panic does not come through")
	}
	reads := sockettest.Go(func() error {
		_, err := client.Read(make([]byte, 1))
		return err
	})
	for range 100 { // at first nobody waits, then the other Read
		if panics() == nil {
			t.Error("the panic does not come through")
		}
		time.Sleep(10 * time.Microsecond)
	}
	server.Write([]byte("x"))
	must(t, sockettest.Done(t, "Read goes on", reads))
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
