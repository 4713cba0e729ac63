package local_test

import (
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

func TestSocketCallbacksInOrder(t *testing.T) {
	srv := listen(t)
	client := closeLater(t, new(local.Socket))
	log := watch(t, client)
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	log.want(t, "ConnectingState", "ConnectedState", "connected")
	server := next(t, srv)
	if _, err := server.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	sockettest.Eventually(t, "readyRead is told", func() bool { return log.count("readyRead") == 1 })
	must(t, server.Close())
	sockettest.Eventually(t, "disconnected is told", func() bool { return log.count("disconnected") == 1 })
	log.want(t, "ConnectingState", "ConnectedState", "connected", "readyRead", "RemoteHostClosedError", "ClosingState", "UnconnectedState", "disconnected")
	if got := readAvailable(t, client); string(got) != "hello" {
		t.Errorf("after the end %q can be read; want hello", got)
	}
	wantIs(t, "Err", client.Err(), local.PeerClosedError, io.EOF)
	_, err := client.WriteBuffered([]byte("x"))
	wantIs(t, "WriteBuffered after the end", err, local.PeerClosedError)
}

func TestSocketCallbacksOfOwnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*local.Socket)
		want []string
	}{
		"DisconnectFromServer": {(*local.Socket).DisconnectFromServer, []string{"ClosingState", "UnconnectedState", "disconnected"}},
		"Close":                {func(c *local.Socket) { c.Close() }, []string{"ClosingState", "UnconnectedState", "disconnected"}},
		"Abort":                {(*local.Socket).Abort, []string{"UnconnectedState", "disconnected"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := pair(t)
			log := watch(t, client)
			test.end(client)
			log.want(t, test.want...) // before it returned
			test.end(client)
			log.want(t, test.want...) // once
			if client.Err() != nil {
				t.Errorf("the error is %v; want none", client.Err())
			}
		})
	}
}

func TestSocketCallbacksRegisteredLate(t *testing.T) {
	t.Run("OnReadyRead", func(t *testing.T) {
		client, server := pair(t)
		server.Write([]byte("hello"))
		sockettest.Eventually(t, "the bytes arrive", func() bool { return client.BytesAvailable() == 5 })
		first := make(chan int64, 10)
		client.OnReadyRead(func() { first <- client.BytesAvailable() })
		if n := sockettest.Done(t, "OnReadyRead is told", first); n != 5 {
			t.Errorf("in it %d bytes are available", n)
		}
		second := make(chan struct{}, 10)
		client.OnReadyRead(func() { second <- struct{}{} })
		sockettest.Done(t, "a second one is told, too", second)
		sockettest.Stays(t, "the first is not told again", func() bool { return len(first) == 0 && len(second) == 0 })
		server.Write([]byte("more"))
		if n := sockettest.Done(t, "the first is told of more", first); n != 9 {
			t.Errorf("in it %d bytes are available", n)
		}
		sockettest.Done(t, "the second is told of more", second)
	})
	t.Run("OnReadyRead of more than one reads", func(t *testing.T) {
		client, server := pair(t)
		const n = 4000 // the system has room for that
		if _, err := server.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		var got atomic.Int64
		client.OnReadyRead(func() {
			read, _ := client.ReadAvailable(make([]byte, n/10))
			got.Add(int64(read))
		})
		sockettest.Eventually(t, "all is told of", func() bool { return got.Load() == n })
	})
	t.Run("OnReadyRead after the end", func(t *testing.T) {
		client, server := pair(t)
		server.Write([]byte("hello"))
		server.Close()
		must(t, client.WaitForDisconnected(sockettest.Long()))
		called := 0
		client.OnReadyRead(func() { called++ })
		if called != 1 {
			t.Errorf("OnReadyRead was told %d times; want 1: bytes are unread", called)
		}
	})
	t.Run("OnDisconnected", func(t *testing.T) {
		client, server := pair(t)
		server.Close()
		must(t, client.WaitForDisconnected(sockettest.Long()))
		called := 0
		client.OnDisconnected(func() { called++ })
		client.OnDisconnected(func() { t.Error("a second one is told of an end that one was told of") })
		if called != 1 {
			t.Errorf("OnDisconnected was told %d times; want 1", called)
		}
	})
	t.Run("OnDisconnected of an end that nobody has met", func(t *testing.T) {
		client, server := pair(t)
		server.Close()
		called := make(chan struct{})
		client.OnDisconnected(func() { close(called) })
		sockettest.Done(t, "OnDisconnected is told", called)
	})
}

func TestSocketOnDisconnectedOfAnEndBehindUnreadBytes(t *testing.T) {
	client, server := pair(t)
	server.Write([]byte("hello"))
	server.Close()
	called := make(chan struct{})
	client.OnDisconnected(func() { close(called) })
	sockettest.Done(t, "OnDisconnected is told", called)
	if got := readAvailable(t, client); string(got) != "hello" {
		t.Errorf("%q can be read; want hello", got)
	}
}

func TestSocketCallbackStopTakesEffectAtOnce(t *testing.T) {
	client, server := pair(t)
	var calls, others atomic.Int64
	var stop func()
	stop = client.OnReadyRead(func() { calls.Add(1); stop() })
	client.OnReadyRead(func() { others.Add(1) })
	for i := range 3 {
		server.Write([]byte("x"))
		sockettest.Eventually(t, "the other is told", func() bool { return others.Load() == int64(i+1) })
	}
	if calls.Load() != 1 {
		t.Errorf("it was told %d times; want 1", calls.Load())
	}
}

func TestSocketWatcherEndsWithTheLastCallback(t *testing.T) {
	client, _ := pair(t)
	before := runtime.NumGoroutine()
	for range 20 {
		stop := client.OnReadyRead(func() {})
		also := client.OnDisconnected(func() {})
		stop()
		also()
	}
	sockettest.Eventually(t, "there are no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before+sockettest.PollerGoroutines })
	wantState(t, client, sock.ConnectedState)
}

func TestSocketWaitInsideCallback(t *testing.T) {
	client, server := pair(t)
	var depth, calls int
	done := make(chan struct{})
	client.OnReadyRead(func() {
		if depth++; depth > 1 {
			t.Error("a wait inside a callback runs a callback of its own socket")
		}
		if calls++; calls == 1 {
			server.Write([]byte("more"))
			if err := client.WaitForReadyRead(sockettest.Long()); err != nil {
				t.Errorf("WaitForReadyRead inside OnReadyRead: %v", err)
			}
			if n := client.BytesAvailable(); n != 9 {
				t.Errorf("%d bytes are available; want 9", n)
			}
			client.WriteBuffered([]byte("answer"))
			if err := client.WaitForBytesWritten(sockettest.Long()); err != nil {
				t.Errorf("WaitForBytesWritten inside OnReadyRead: %v", err)
			}
			server.Close()
			if err := client.WaitForDisconnected(sockettest.Long()); err != nil {
				t.Errorf("WaitForDisconnected inside OnReadyRead: %v", err)
			}
		}
		depth--
	})
	client.OnDisconnected(func() {
		if depth != 0 {
			t.Error("OnDisconnected is told inside OnReadyRead")
		}
		close(done)
	})
	server.Write([]byte("hello"))
	sockettest.Done(t, "OnDisconnected is told", done)
}

func TestSocketEndInsideCallback(t *testing.T) {
	ends := map[string]func(*local.Socket){
		"Close":                func(c *local.Socket) { c.Close() },
		"Abort":                (*local.Socket).Abort,
		"DisconnectFromServer": (*local.Socket).DisconnectFromServer,
	}
	ons := map[string]func(*local.Socket, func()){
		"OnConnected":     func(c *local.Socket, f func()) { c.OnConnected(f) },
		"OnReadyRead":     func(c *local.Socket, f func()) { c.OnReadyRead(f) },
		"OnBytesWritten":  func(c *local.Socket, f func()) { c.OnBytesWritten(func(int64) { f() }) },
		"OnStateChanged":  func(c *local.Socket, f func()) { c.OnStateChanged(func(sock.State) { f() }) },
		"OnErrorOccurred": func(c *local.Socket, f func()) { c.OnErrorOccurred(func(sock.SocketError) { f() }) },
		"OnDisconnected":  func(c *local.Socket, f func()) { c.OnDisconnected(f) },
	}
	for endName, end := range ends {
		for onName, on := range ons {
			t.Run(endName+" in "+onName, func(t *testing.T) {
				srv := listen(t)
				client := closeLater(t, new(local.Socket))
				called := make(chan struct{}, 100)
				var disconnected atomic.Int64
				client.OnDisconnected(func() { disconnected.Add(1) })
				on(client, func() { end(client); called <- struct{}{} })
				client.ConnectToServer(srv.FullServerName(), 0)
				if client.State() == sock.ConnectedState {
					server := next(t, srv)
					client.WriteBuffered([]byte("x"))
					client.Flush()
					server.Write([]byte("hello"))
					server.Close()
				}
				sockettest.Done(t, "the callback", called)
				sockettest.Eventually(t, "the socket is unconnected", func() bool { return client.State() == sock.UnconnectedState })
				sockettest.Stays(t, "disconnected is told at most once", func() bool { return disconnected.Load() <= 1 })
			})
		}
	}
}

func TestSocketCallbackThatEndsItsGoroutineWedgesNothing(t *testing.T) {
	client, server := pair(t)
	var calls atomic.Int64
	client.OnReadyRead(func() {
		if calls.Add(1) == 1 {
			runtime.Goexit()
		}
	})
	for i := range 3 {
		server.Write([]byte("x"))
		sockettest.Eventually(t, "the callback is told", func() bool { return calls.Load() == int64(i+1) })
	}
	if got := readAvailable(t, client); string(got) != "xxx" {
		t.Errorf("%q can be read; want xxx", got)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	must(t, client.Close())
}

func TestSocketCallbackThatPanicsWedgesNothing(t *testing.T) {
	client, server := pair(t)
	states := new(eventLog)
	client.OnStateChanged(func(st sock.State) {
		states.add("%v", st)
		if st == sock.ClosingState {
			panic("from a callback")
		}
	})
	func() {
		defer func() {
			if r := recover(); r != "from a callback" {
				t.Errorf("recovered %v", r)
			}
		}()
		client.DisconnectFromServer()
	}()
	// The step that was under way is lost with its goroutine's panic, but nothing hangs, and Abort ends it.
	client.Abort()
	wantState(t, client, sock.UnconnectedState)
	sockettest.Eventually(t, "the last state is told", func() bool { return states.last() == "UnconnectedState" })
	server.SetReadDeadline(time.Now().Add(sockettest.Long()))
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer read %v; want io.EOF", err)
	}
}

func TestSocketOnBytesWrittenSumsUp(t *testing.T) {
	client, server := pair(t)
	var written atomic.Int64
	client.OnBytesWritten(func(n int64) { written.Add(n) })
	received := sockettest.Go(func() int64 { n, _ := io.Copy(io.Discard, server); return n })
	const total = 200 * 7777
	for range 200 {
		if n, err := client.WriteBuffered(make([]byte, 7777)); n != 7777 || err != nil {
			t.Fatal(n, err)
		}
	}
	sockettest.Eventually(t, "all was told written", func() bool { return written.Load() == total })
	must(t, client.Close())
	if n := sockettest.Done(t, "all is received", received); n != total {
		t.Errorf("the peer received %d bytes; want %d", n, total)
	}
	if written.Load() != total {
		t.Errorf("%d bytes were told written; want %d", written.Load(), total)
	}
}

// Callbacks of one object run one at a time, whoever causes them.
func TestSocketCallbacksRunOneAtATime(t *testing.T) {
	client, server := pair(t)
	var running, calls atomic.Int64
	enter := func() {
		if running.Add(1) != 1 {
			t.Error("two callbacks run at once")
		}
		calls.Add(1)
		runtime.Gosched()
		running.Add(-1)
	}
	client.OnReadyRead(enter)
	client.OnReadyRead(enter)
	client.OnBytesWritten(func(int64) { enter() })
	client.OnErrorOccurred(func(sock.SocketError) { enter() })
	client.OnStateChanged(func(sock.State) { enter() })
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(io.Discard, server) })
	for range 3 {
		wg.Go(func() {
			for range 100 {
				client.WriteBuffered([]byte("abc"))
				client.Flush()
				client.WaitForReadyRead(0)
			}
		})
	}
	for range 100 {
		server.Write([]byte("x"))
		client.ReadAvailable(make([]byte, 10))
	}
	client.Close()
	wg.Wait()
	if calls.Load() == 0 {
		t.Error("no callback was called")
	}
}
