package local_test

import (
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// comes waits until exactly these events have happened, in this order.
func (l *eventLog) comes(t testing.TB, events ...string) {
	t.Helper()
	sockettest.Eventually(t, strings.Join(events, ", ")+" happen", func() bool { return len(l.all()) >= len(events) })
	l.want(t, events...)
}

func TestLoopCallbacksInOrder(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	srv := listen(t)
	client := loopSocket(t, l)
	log := watch(t, client)
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	log.comes(t, "ConnectingState", "ConnectedState", "connected")
	server := next(t, srv)
	server.Write([]byte("hello"))
	sockettest.Eventually(t, "readyRead is told", func() bool { return log.count("readyRead") == 1 })
	must(t, server.Close())
	sockettest.Eventually(t, "disconnected is told", func() bool { return log.count("disconnected") == 1 })
	// Once for each time new data is available; the hang-up may tell of what is unread again.
	var events []string
	for _, e := range log.all() {
		if e != "readyRead" || events[len(events)-1] != "readyRead" {
			events = append(events, e)
		}
	}
	if got := strings.Join(events, " "); got != "ConnectingState ConnectedState connected readyRead RemoteHostClosedError ClosingState UnconnectedState disconnected" {
		t.Errorf("the events were %q", got)
	}
	if got := readAvailable(t, client); string(got) != "hello" {
		t.Errorf("after the end %q can be read; want hello", got)
	}
	wantIs(t, "Err", client.Err(), local.PeerClosedError, io.EOF)
	_, err := client.WriteBuffered([]byte("x"))
	wantIs(t, "WriteBuffered after the end", err, local.PeerClosedError)
}

func TestLoopCallbacksOfOwnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*local.Socket)
		want []string
	}{
		"DisconnectFromServer": {(*local.Socket).DisconnectFromServer, []string{"ClosingState", "UnconnectedState", "disconnected"}},
		"Close":                {func(c *local.Socket) { c.Close() }, []string{"ClosingState", "UnconnectedState", "disconnected"}},
		"Abort":                {(*local.Socket).Abort, []string{"UnconnectedState", "disconnected"}},
	} {
		for _, where := range []string{"elsewhere", "on the loop"} {
			t.Run(name+" "+where, func(t *testing.T) {
				l := newLoop(t)
				run(t, l)
				client, _ := loopPair(t, l)
				log := watch(t, client)
				if where == "on the loop" {
					onLoop(t, l, func() {
						test.end(client)
						log.want(t, test.want...) // before it returned
						test.end(client)
					})
				} else {
					test.end(client)
					wantState(t, client, sock.UnconnectedState)
					test.end(client)
					log.comes(t, test.want...)
				}
				onLoop(t, l, func() {})
				onLoop(t, l, func() {})
				log.want(t, test.want...) // once
				if client.Err() != nil {
					t.Errorf("the error is %v; want none", client.Err())
				}
			})
		}
	}
}

func TestLoopCallbacksRegisteredLate(t *testing.T) {
	t.Run("OnReadyRead", func(t *testing.T) {
		l := newLoop(t)
		run(t, l)
		client, server := loopPair(t, l)
		server.Write([]byte("hello"))
		onLoop(t, l, func() {}) // the edge has come, and nobody has heard of it
		onLoop(t, l, func() {})
		first := make(chan int64, 10)
		client.OnReadyRead(func() { first <- client.BytesAvailable() })
		if n := sockettest.Done(t, "OnReadyRead is told", first); n != 5 {
			t.Errorf("in it %d bytes are available", n)
		}
		second := make(chan struct{}, 10)
		client.OnReadyRead(func() { second <- struct{}{} })
		sockettest.Done(t, "a second one is told, too", second)
		server.Write([]byte("more"))
		for sockettest.Done(t, "the first is told of more", first) != 9 {
		}
		sockettest.Done(t, "the second is told of more", second)
	})
	t.Run("OnReadyRead after the end", func(t *testing.T) {
		l := newLoop(t)
		run(t, l)
		client, server := loopPair(t, l)
		server.Write([]byte("hello"))
		server.Close()
		must(t, client.WaitForDisconnected(sockettest.Long()))
		called := make(chan struct{}, 10)
		client.OnReadyRead(func() { called <- struct{}{} })
		sockettest.Done(t, "OnReadyRead is told: bytes are unread", called)
	})
	t.Run("OnDisconnected", func(t *testing.T) {
		l := newLoop(t)
		run(t, l)
		client, server := loopPair(t, l)
		server.Close()
		must(t, client.WaitForDisconnected(sockettest.Long()))
		called := make(chan struct{}, 10)
		client.OnDisconnected(func() { called <- struct{}{} })
		client.OnDisconnected(func() { t.Error("a second one is told of an end that one was told of") })
		sockettest.Done(t, "OnDisconnected is told", called)
		onLoop(t, l, func() {})
	})
	t.Run("OnDisconnected of an end that nobody has met", func(t *testing.T) {
		l := newLoop(t)
		run(t, l)
		client, server := loopPair(t, l)
		server.Write([]byte("hello"))
		server.Close()
		onLoop(t, l, func() {})
		onLoop(t, l, func() {})
		wantState(t, client, sock.ConnectedState)
		called := make(chan struct{})
		client.OnDisconnected(func() { close(called) })
		sockettest.Done(t, "OnDisconnected is told", called)
		if got := readAvailable(t, client); string(got) != "hello" {
			t.Errorf("%q can be read; want hello", got)
		}
	})
}

// The peer's end that only Read meets is Go's half-close on a loop, too.
func TestLoopHalfCloseWithoutCallbacks(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	client, server := loopPair(t, l)
	server.Write([]byte("hello"))
	must(t, server.CloseWrite())
	client.SetReadDeadline(time.Now().Add(sockettest.Long()))
	if got, err := io.ReadAll(client); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	wantState(t, client, sock.ConnectedState)
	if _, err := client.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 6)); err != nil {
		t.Error(err)
	}
	gone := make(chan struct{})
	client.OnDisconnected(func() { close(gone) })
	sockettest.Done(t, "who hears of it makes it Qt's end", gone)
	wantState(t, client, sock.UnconnectedState)
}

func TestLoopEndInsideCallback(t *testing.T) {
	ends := map[string]func(*local.Socket){
		"Close":                func(c *local.Socket) { c.Close() },
		"Abort":                (*local.Socket).Abort,
		"DisconnectFromServer": (*local.Socket).DisconnectFromServer,
		"Write and Close":      func(c *local.Socket) { c.WriteBuffered([]byte("x")); c.Close() },
		"Write and Abort":      func(c *local.Socket) { c.WriteBuffered([]byte("x")); c.Abort() },
		"Write much and Close": func(c *local.Socket) { c.WriteBuffered(make([]byte, large)); c.Close() },
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
				l := newLoop(t)
				run(t, l)
				srv := listen(t)
				client := loopSocket(t, l)
				called := make(chan struct{}, 100)
				var disconnected atomic.Int64
				client.OnDisconnected(func() { disconnected.Add(1) })
				on(client, func() { end(client); called <- struct{}{} })
				client.ConnectToServer(srv.FullServerName(), 0)
				if srv.WaitForNewConnection(sockettest.Short()) == nil {
					server := closeLater(t, srv.NextPendingConnection())
					client.WriteBuffered([]byte("x"))
					client.Flush()
					server.Write([]byte("hello"))
					server.Close()
				}
				sockettest.Done(t, "the callback", called)
				sockettest.Eventually(t, "the socket is unconnected", func() bool { return client.State() == sock.UnconnectedState })
				onLoop(t, l, func() {})
				onLoop(t, l, func() {})
				if n := disconnected.Load(); n > 1 {
					t.Errorf("disconnected is told %d times", n)
				}
			})
		}
	}
}

// A socket that connects again in its callback of the end, again and again, on the same loop.
func TestLoopReconnectInsideCallback(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	srv := listen(t)
	client := loopSocket(t, l)
	const rounds = 200
	log := new(eventLog)
	done := make(chan struct{})
	ends := 0
	client.OnStateChanged(func(st sock.State) { log.add("%v", st) })
	client.OnConnected(func() { log.add("connected"); client.WriteBuffered([]byte("hello")) })
	client.OnReadyRead(func() {
		b := make([]byte, 10)
		if n, _ := client.ReadAvailable(b); string(b[:n]) != "hello" {
			t.Errorf("read %q", b[:n])
		}
		client.Close()
	})
	client.OnDisconnected(func() {
		log.add("disconnected")
		if ends++; ends == rounds {
			close(done)
			return
		}
		if err := client.ConnectToServer(srv.FullServerName(), 0); err != nil {
			t.Error(err)
		}
	})
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	var serving sync.WaitGroup
	for range rounds {
		c, err := srv.Accept()
		must(t, err)
		serving.Go(func() { sockettest.Answer(c) })
	}
	sockettest.Done(t, "the last end", done)
	serving.Wait()
	all := log.all()
	one := []string{"ConnectingState", "ConnectedState", "connected", "ClosingState", "UnconnectedState", "disconnected"}
	if len(all) != rounds*len(one) {
		t.Fatalf("%d events; want %d", len(all), rounds*len(one))
	}
	for i, e := range all {
		if e != one[i%len(one)] {
			t.Fatalf("event %d is %s; want %s", i, e, one[i%len(one)])
		}
	}
}

func TestLoopWaitInsideCallback(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	client, server := loopPair(t, l)
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
			if n := client.BytesToWrite(); n != 0 {
				t.Errorf("%d bytes are to be written; want 0", n)
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

func TestLoopCallbackStopTakesEffectAtOnce(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	client, server := loopPair(t, l)
	var calls, others atomic.Int64
	var stop func()
	stop = client.OnReadyRead(func() { calls.Add(1); stop() })
	client.OnReadyRead(func() { client.ReadAvailable(make([]byte, 10)); others.Add(1) })
	for i := range 3 {
		server.Write([]byte("x"))
		sockettest.Eventually(t, "the other is told", func() bool { return others.Load() == int64(i+1) })
	}
	if calls.Load() != 1 {
		t.Errorf("it was told %d times; want 1", calls.Load())
	}
}

// Callbacks of one socket run one at a time, and on the loop, whoever causes them.
func TestLoopCallbacksRunOneAtATime(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	client, server := loopPair(t, l)
	var running, calls atomic.Int64
	enter := func() {
		if !l.OnLoop() {
			t.Error("a callback runs elsewhere")
		}
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
	onLoop(t, l, func() {})
	if calls.Load() == 0 {
		t.Error("no callback was called")
	}
}

// Modes are kept on a loop: who only writes throws away what comes, and hears of the end; who only reads cannot write.
func TestLoopModes(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	writer := loopSocket(t, l)
	writer.OnReadyRead(func() { t.Error("readyRead is told of a socket that only writes") })
	gone := make(chan struct{})
	writer.OnDisconnected(func() { close(gone) })
	peer := pairWith(t, writer, sock.WriteOnly)
	if _, err := peer.Write(make([]byte, large)); err != nil { // nobody reads it, but it has room
		t.Error(err)
	}
	if _, err := writer.WriteBuffered([]byte("x")); err != nil {
		t.Error(err)
	}
	io.ReadFull(peer, make([]byte, 1))
	peer.Close()
	sockettest.Done(t, "the end is told", gone)

	reader := loopSocket(t, l)
	peer = pairWith(t, reader, sock.ReadOnly)
	_, err := reader.WriteBuffered([]byte("x"))
	wantIs(t, "WriteBuffered of a socket that only reads", err, sock.OperationError)
	_, err = reader.Write([]byte("x"))
	wantIs(t, "Write of a socket that only reads", err, sock.OperationError)
	peer.Write([]byte("x"))
	must(t, reader.WaitForReadyRead(sockettest.Long()))
}

// A connection that is reset tells so, and its unread bytes stay readable.
func TestLoopReset(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	client, server := loopPair(t, l)
	ends := make(chan error, 10)
	client.OnErrorOccurred(func(sock.SocketError) { ends <- client.Err() })
	client.Write([]byte("unread")) // so that the peer's end is a reset
	server.Write([]byte("hello"))
	server.Close()
	err := sockettest.Done(t, "the error is told", ends)
	wantIs(t, "the error", err, local.PeerClosedError)
	eventuallyState(t, client, sock.UnconnectedState)
	if got := readAvailable(t, client); string(got) != "hello" {
		t.Errorf("%q can be read; want hello", got)
	}
	if len(ends) > 0 {
		t.Errorf("another error is told: %v", <-ends)
	}
}
