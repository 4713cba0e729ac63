package local_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

func TestServerOnNewConnectionIsToldOfEach(t *testing.T) {
	srv := listen(t)
	var early, late atomic.Int64
	srv.OnNewConnection(func() { early.Add(1) })
	for range 3 {
		dial(t, srv)
	}
	sockettest.Eventually(t, "each was told", func() bool { return early.Load() == 3 })
	stop := srv.OnNewConnection(func() { late.Add(1) })
	sockettest.Eventually(t, "who comes late is told of each", func() bool { return late.Load() == 3 })
	dial(t, srv)
	sockettest.Eventually(t, "both are told", func() bool { return early.Load() == 4 && late.Load() == 4 })
	stop()
	dial(t, srv)
	sockettest.Eventually(t, "the one that stays is told", func() bool { return early.Load() == 5 })
	if late.Load() != 4 {
		t.Errorf("a callback that was stopped was told %d times; want 4", late.Load())
	}
	stop() // again: nothing
	for range 5 {
		next(t, srv)
	}
	srv.OnNewConnection(func() { t.Error("a callback is told of a connection that was taken") })()
}

func TestServerOnNewConnectionTakesInside(t *testing.T) {
	srv := listen(t)
	echoed := make(chan struct{}, 10)
	srv.OnNewConnection(func() {
		for c := srv.NextPendingConnection(); c != nil; c = srv.NextPendingConnection() {
			c.OnReadyRead(func() {
				b := make([]byte, 10)
				n, _ := c.ReadAvailable(b)
				c.WriteBuffered(b[:n])
			})
			c.OnDisconnected(func() { echoed <- struct{}{} })
		}
	})
	for range 5 {
		c := dial(t, srv)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Fatalf("read %q, %v", b, err)
		}
		must(t, c.Close())
		sockettest.Done(t, "the server's end is told of the disconnection", echoed)
	}
}

// Accept, AcceptContext, Connections, a callback that takes, and a poller share one server: each connection goes to exactly one of them.
func TestServerTakersShareEachConnectionOnce(t *testing.T) {
	srv := listen(t)
	srv.SetMaxPendingConnections(5)
	const clients = 300
	var taken [clients]atomic.Int32
	var served atomic.Int64
	var wg sync.WaitGroup
	serve := func(c net.Conn) {
		wg.Go(func() {
			defer c.Close()
			var id uint32
			if err := binary.Read(c, binary.BigEndian, &id); err != nil {
				t.Error(err)
				return
			}
			taken[id].Add(1)
			binary.Write(c, binary.BigEndian, id)
			if served.Add(1) == clients {
				srv.Close()
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for {
				c, err := srv.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		})
		wg.Go(func() {
			for c, err := range srv.Connections(t.Context()) {
				if err == nil {
					serve(c)
				}
			}
		})
		wg.Go(func() {
			for srv.IsListening() {
				if srv.WaitForNewConnection(time.Millisecond) == nil {
					if c := srv.NextPendingConnection(); c != nil {
						serve(c)
					}
				}
			}
		})
	}
	srv.OnNewConnection(func() {
		if c := srv.NextPendingConnection(); c != nil {
			serve(c)
		}
	})
	for i := range uint32(clients) {
		wg.Go(func() {
			c, err := local.Dial(srv.FullServerName())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			binary.Write(c, binary.BigEndian, i)
			var got uint32
			if err := binary.Read(c, binary.BigEndian, &got); err != nil || got != i {
				t.Errorf("client %d: got %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	for i := range taken {
		if n := taken[i].Load(); n != 1 {
			t.Errorf("client %d was taken %d times", i, n)
		}
	}
}

func TestServerCloseInsideCallback(t *testing.T) {
	srv := listen(t)
	closed := make(chan error, 10)
	srv.OnNewConnection(func() { closed <- srv.Close() })
	accepted := sockettest.Go(func() error { _, err := srv.Accept(); return err })
	dialled := sockettest.Go(func() error {
		c, err := local.Dial(srv.FullServerName())
		if err == nil {
			c.Close()
		}
		return err
	})
	if err := sockettest.Done(t, "Close returns inside the callback", closed); err != nil {
		t.Error(err)
	}
	sockettest.Done(t, "Accept returns", accepted) // the connection, if it was quicker
	sockettest.Done(t, "Dial returns", dialled)
	if srv.IsListening() {
		t.Error("it listens still")
	}
}

func TestServerWaitInsideCallback(t *testing.T) {
	// A wait inside a callback works, and runs no callback of its own server.
	srv := listen(t)
	var depth, calls, deepest int
	done := make(chan struct{})
	srv.OnNewConnection(func() {
		depth++
		deepest = max(deepest, depth)
		if calls++; calls == 1 {
			closeLater(t, srv.NextPendingConnection())
			dial(t, srv)
			if err := srv.WaitForNewConnection(sockettest.Long()); err != nil {
				t.Errorf("a wait inside the callback: %v", err)
			}
		} else {
			close(done)
		}
		depth--
	})
	dial(t, srv)
	sockettest.Done(t, "the second callback", done)
	if deepest != 1 || calls != 2 {
		t.Errorf("%d calls, %d of them within each other", calls, deepest)
	}
}

func TestServerCallbackThatEndsItsGoroutineWedgesNothing(t *testing.T) {
	srv := listen(t)
	var calls atomic.Int64
	srv.OnNewConnection(func() {
		if calls.Add(1) <= 2 {
			runtime.Goexit()
		}
	})
	for i := range 5 {
		dial(t, srv)
		sockettest.Eventually(t, "the callback is told", func() bool { return calls.Load() == int64(i+1) })
	}
	for range 5 {
		closeLater(t, srv.NextPendingConnection())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var other local.Server
		other.OnNewConnection(func() { panic("from a callback") })
		defer func() {
			if r := recover(); r != "from a callback" {
				t.Errorf("recovered %v", r)
			}
			other.Close()
		}()
		c, _ := pair(t)
		other.AddPendingConnection(c)
	}()
	sockettest.Done(t, "the panic comes out of the call that caused it", ended)
	dial(t, srv)
	next(t, srv)
}

func TestServerIncomingConnectionKeeps(t *testing.T) {
	srv := listen(t)
	kept := make(chan sock.Descriptor, 10)
	srv.SetIncomingConnection(func(d sock.Descriptor) { kept <- d })
	srv.OnNewConnection(func() { t.Error("there is no new connection: the override has kept it") })
	client := dial(t, srv)
	d := sockettest.Done(t, "the override is given the descriptor", kept)
	if srv.HasPendingConnections() {
		t.Error("something is pending")
	}
	waited := sockettest.Go(func() error { return srv.WaitForNewConnection(sockettest.Long()) })
	var second sock.Descriptor
	sockettest.Eventually(t, "a client that comes while somebody waits", func() bool { // the wait may not have begun
		dial(t, srv)
		second = sockettest.Done(t, "the override is given the descriptor", kept)
		defer second.Close()
		return len(waited) > 0
	})
	if err := <-waited; err != nil {
		t.Errorf("a wait in which the override was given one: %v", err)
	}
	c := closeLater(t, new(local.Socket))
	must(t, c.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestServerIncomingConnectionAddsItsOwn(t *testing.T) {
	srv := listen(t)
	own := make(chan *local.Socket, 1)
	srv.SetIncomingConnection(func(d sock.Descriptor) {
		c := new(local.Socket)
		if err := c.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadOnly); err != nil {
			t.Error(err)
		}
		own <- c
		srv.AddPendingConnection(c)
	})
	var news atomic.Int64
	srv.OnNewConnection(func() { news.Add(1) })
	dial(t, srv)
	c := next(t, srv)
	if c != <-own {
		t.Error("another socket was pending than the override's")
	}
	_, err := c.Write([]byte("x"))
	wantIs(t, "Write on the override's ReadOnly socket", err, sock.OperationError)
	sockettest.Eventually(t, "the callback is told once", func() bool { return news.Load() == 1 })
}

func TestServerIncomingConnectionCallsTheBase(t *testing.T) {
	srv := listen(t)
	var hits atomic.Int64
	srv.SetIncomingConnection(func(d sock.Descriptor) {
		hits.Add(1)
		srv.IncomingConnection(d)
	})
	for range 3 {
		dial(t, srv)
	}
	for range 3 {
		c := next(t, srv)
		if c.FullServerName() != srv.FullServerName() {
			t.Errorf("its server is %q", c.FullServerName())
		}
	}
	srv.SetIncomingConnection(nil)
	dial(t, srv)
	next(t, srv)
	if hits.Load() != 3 {
		t.Errorf("the override was called %d times; want 3", hits.Load())
	}
}

func TestServerIncomingConnectionOverrideCountsForTheLimit(t *testing.T) {
	var srv local.Server
	srv.SetMaxPendingConnections(2)
	var hits atomic.Int64
	srv.SetIncomingConnection(func(d sock.Descriptor) { hits.Add(1); srv.IncomingConnection(d) })
	listenWith(t, &srv)
	for range 6 {
		dial(t, &srv)
	}
	sockettest.Eventually(t, "two were accepted", func() bool { return hits.Load() == 2 })
	sockettest.Stays(t, "no more are accepted", func() bool { return hits.Load() == 2 })
	next(t, &srv)
	sockettest.Eventually(t, "a third was accepted", func() bool { return hits.Load() == 3 })
	sockettest.Stays(t, "no more are accepted", func() bool { return hits.Load() == 3 })
}

func TestServerIncomingConnectionOfNoConnection(t *testing.T) {
	srv := listen(t)
	var told []error
	srv.OnAcceptError(func(err error) { told = append(told, err) })
	srv.IncomingConnection(sock.Descriptor{})
	if len(told) != 1 || !errors.Is(told[0], sock.UnsupportedSocketOperationError) {
		t.Errorf("told: %v", told)
	}
	if srv.ServerError() != sock.UnsupportedSocketOperationError || srv.HasPendingConnections() {
		t.Errorf("the error is %v, pending %v", srv.Err(), srv.HasPendingConnections())
	}
	dial(t, srv)
	next(t, srv)
}

func TestServerAdmitDecidesBeforePending(t *testing.T) {
	errNo := errors.New("not you")
	var srv local.Server
	var refuse atomic.Bool
	peers := make(chan local.Peer, 10)
	srv.SetAdmit(func(p local.Peer) error {
		peers <- p
		if refuse.Load() {
			return errNo
		}
		return nil
	})
	told := make(chan error, 10)
	srv.OnAcceptError(func(err error) { told <- err })
	listenWith(t, &srv)
	dial(t, &srv)
	next(t, &srv)
	if p := <-peers; !p.SameUser() {
		t.Errorf("the peer %+v is not said to be us", p)
	}
	refuse.Store(true)
	for range 3 {
		client := dial(t, &srv)
		client.SetReadDeadline(time.Now().Add(sockettest.Long()))
		if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, sock.SocketTimeoutError) {
			t.Errorf("a client that was refused: %v; want its end", err)
		}
		err := sockettest.Done(t, "OnAcceptError is told each time", told)
		wantIs(t, "told", err, sock.SocketAccessError, errNo)
	}
	if srv.HasPendingConnections() || srv.ServerError() != sock.SocketAccessError {
		t.Errorf("pending %v, error %v", srv.HasPendingConnections(), srv.Err())
	}
	refuse.Store(false)
	dial(t, &srv)
	next(t, &srv)
}

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
