package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
)

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

// What a Read has handed out is no news to a wait that begins after it, whether the Read has waited for it or found it.
func TestSocketWaitAfterARead(t *testing.T) {
	eachWay(t, func(t *testing.T, peer, c *local.Socket) {
		for _, waited := range []bool{true, false} {
			read := func() error { _, err := io.ReadFull(c, make([]byte, 5)); return err }
			if waited {
				done := sockettest.Go(read)
				waits(t, "local.(*Socket).Read")
				peer.Write([]byte("hello"))
				must(t, sockettest.Done(t, "Read returns", done))
			} else {
				peer.Write([]byte("hello"))
				must(t, read())
			}
			wantIs(t, "WaitForReadyRead", c.WaitForReadyRead(small), sock.SocketTimeoutError)
			peer.Write([]byte("x"))
			must(t, c.WaitForReadyRead(sockettest.Long()))
			must(t, func() error { _, err := c.Read(make([]byte, 1)); return err }())
		}
	})
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
	waits(t, "waitReadyRead")
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
	waits(t, "local.(*Socket).Read", "waitReadyRead")
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

// fillQuietly is fill, and has a wait say what was sent by that.
func fillQuietly(t *testing.T, c *local.Socket) {
	t.Helper()
	fill(t, c, large)
	must(t, c.WaitForBytesWritten(sock.Forever))
}

// A callback may wait for what comes of the step that is taken when it has returned: it is taken before.
func TestSocketWaitInACallbackThatStandsBeforeTheNextStep(t *testing.T) {
	for name, test := range map[string]struct {
		listen bool // there is a server, which ends the connection
		state  sock.State
		wait   func(*local.Socket, time.Duration) error
		want   error
	}{
		"for the connection, while connecting":      {true, sock.ConnectingState, (*local.Socket).WaitForConnected, nil},
		"for the end, at the error":                 {true, sock.ConnectedState, (*local.Socket).WaitForDisconnected, nil},
		"for bytes, at the error":                   {true, sock.ConnectedState, (*local.Socket).WaitForReadyRead, local.PeerClosedError},
		"for the end, at the end":                   {true, sock.ClosingState, (*local.Socket).WaitForDisconnected, nil},
		"for the end, when connecting has failed":   {false, sock.UnconnectedState, (*local.Socket).WaitForDisconnected, sock.HostNotFoundError},
		"for bytes, when connecting has failed":     {false, sock.UnconnectedState, (*local.Socket).WaitForReadyRead, sock.HostNotFoundError},
		"for the connection, when that has failed":  {false, sock.UnconnectedState, (*local.Socket).WaitForConnected, sock.HostNotFoundError},
		"for the end, while connecting, in failing": {false, sock.ConnectingState, (*local.Socket).WaitForDisconnected, sock.HostNotFoundError},
	} {
		for _, atLoop := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", loop ", atLoop), func(t *testing.T) {
				path := sockettest.Name(t)
				c := closeLater(t, new(local.Socket))
				if atLoop {
					must(t, c.SetLoop(runLoops(t, 1).Next()))
				}
				if test.listen {
					srv := new(local.Server)
					must(t, srv.Listen(path))
					defer srv.Close()
					srv.OnNewConnection(func() { srv.NextPendingConnection().Close() })
				}
				waited := make(chan error, 1)
				wait := func() {
					if len(waited) == 0 {
						waited <- test.wait(c, sockettest.Long())
					}
				}
				if test.state == sock.ConnectedState || test.state == sock.UnconnectedState {
					c.OnErrorOccurred(func(sock.SocketError) { wait() })
				} else {
					c.OnStateChanged(func(st sock.State) {
						if st == test.state {
							wait()
						}
					})
				}
				c.ConnectToServer(path, 0)
				if err := sockettest.Done(t, "the wait returns", waited); test.want == nil {
					must(t, err)
				} else {
					wantIs(t, "the wait", err, test.want)
				}
			})
		}
	}
}

// What was sent before the last bytes were queued is no news of those.
func TestSocketWaitForBytesWrittenIsForTheLastBytes(t *testing.T) {
	eachWay(t, func(t *testing.T, _, server *local.Socket) {
		fill(t, server, large)
		server.WriteBuffered([]byte("more"))
		wantIs(t, "WaitForBytesWritten", server.WaitForBytesWritten(small), sock.SocketTimeoutError)
	})
}

func TestSocketWaitForConnectedSaysWhatFailedAtOnce(t *testing.T) {
	srv := listen(t)
	var c local.Socket
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantIs(t, "ConnectContext", c.ConnectContext(ctx, srv.FullServerName()), context.Canceled)
	wantIs(t, "Err", c.Err(), context.Canceled)
	wantIs(t, "WaitForConnected", c.WaitForConnected(0), context.Canceled)
}

// Who waits for bytesWritten hears of what somebody else has sent, also where no event of the system's tells of room.
func TestSocketWaitForBytesWrittenHearsOfAFlush(t *testing.T) {
	client, server := pair(t)
	fillQuietly(t, client)
	waited := sockettest.Go(func() error { return client.WaitForBytesWritten(sock.Forever) })
	sockettest.Stays(t, "it waits", func() bool { return len(waited) == 0 })
	sockettest.Eventually(t, "a flush sends some", func() bool {
		io.ReadFull(server, make([]byte, 8000))
		return client.Flush()
	})
	must(t, sockettest.Done(t, "the wait returns", waited))
}

func TestSocketTwoWaitForBytesWritten(t *testing.T) {
	client, server := pair(t)
	fillQuietly(t, client)
	var waits []<-chan error
	for range 2 {
		waits = append(waits, sockettest.Go(func() error { return client.WaitForBytesWritten(sock.Forever) }))
	}
	sockettest.Stays(t, "they wait", func() bool { return len(waits[0])+len(waits[1]) == 0 })
	go io.Copy(io.Discard, server)
	for _, waited := range waits {
		must(t, sockettest.Done(t, "the wait returns", waited))
	}
}

func TestSocketCallsDoNotGoOnAtTheNextConnection(t *testing.T) { callsDoNotGoOn(t, nil) }

func TestLoopCallsDoNotGoOnAtTheNextConnection(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	callsDoNotGoOn(t, l)
}

// callsDoNotGoOn tests that what waits when its connection ends does not go on at the next one, also if that has begun before it comes to look.
func callsDoNotGoOn(t *testing.T, l *loop.Loop) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that it hardly ever comes to look before
	for name, call := range map[string]func(*local.Socket) error{
		"Read":                func(c *local.Socket) error { _, err := c.Read(make([]byte, 10)); return err },
		"Write":               func(c *local.Socket) error { _, err := c.Write(make([]byte, large)); return err },
		"WaitForReadyRead":    func(c *local.Socket) error { return c.WaitForReadyRead(sock.Forever) },
		"WaitForBytesWritten": func(c *local.Socket) error { return c.WaitForBytesWritten(sock.Forever) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := listen(t)
			c := closeLater(t, new(local.Socket))
			must(t, c.SetLoop(l))
			must(t, c.ConnectToServer(srv.FullServerName(), sock.ReadWrite))
			next(t, srv)
			if name == "WaitForBytesWritten" {
				fillQuietly(t, c)
			}
			ended := sockettest.Go(func() error { return call(c) })
			waits(t, "local.(*Socket)."+name) // on a slow machine not before it has its bytes to write
			sockettest.Stays(t, "it waits", func() bool { return len(ended) == 0 })
			c.Abort()
			must(t, c.ConnectToServer(srv.FullServerName(), sock.ReadWrite))
			wantIs(t, name, sockettest.Done(t, "it ends", ended), sock.OperationError, net.ErrClosed)
			if err := c.Err(); err != nil {
				t.Errorf("the next connection has an error: %v", err)
			}
			second := next(t, srv)
			sockettest.Stays(t, "the next connection gets nothing", func() bool { return second.BytesAvailable() == 0 })
		})
	}
}

// A callback may end the goroutine that waits.
func TestSocketCallbackThatEndsAWait(t *testing.T) {
	for name, wait := range map[string]func(*local.Socket, time.Duration) error{
		"WaitForReadyRead":    (*local.Socket).WaitForReadyRead,
		"WaitForDisconnected": (*local.Socket).WaitForDisconnected,
		"WaitForBytesWritten": (*local.Socket).WaitForBytesWritten,
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // it may also be the goroutine that watches on behalf of callbacks
				client, server := pair(t)
				if name == "WaitForBytesWritten" {
					fillQuietly(t, client)
				}
				client.OnErrorOccurred(func(sock.SocketError) { runtime.Goexit() })
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					wait(client, sock.Forever)
				}()
				server.Abort()
				sockettest.Done(t, "the goroutine ends", ended)
				client.Abort()
				wantState(t, client, sock.UnconnectedState)
			}
		})
	}
}
