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
