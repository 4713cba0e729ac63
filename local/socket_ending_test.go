package local_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

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

// CloseRead ends one direction: what is queued is sent, whoever looks for what has arrived, and the peer is not said to have ended anything.
func TestSocketCloseReadLeavesTheConnection(t *testing.T) {
	sockettest.NeedHalfClose(t)
	for name, look := range map[string]func(*local.Socket){
		"a callback":          func(c *local.Socket) { c.OnReadyRead(func() {}) },
		"ReadAvailable":       func(c *local.Socket) { c.ReadAvailable(make([]byte, 1)) },
		"Peek":                func(c *local.Socket) { c.Peek(1) },
		"WaitForReadyRead":    func(c *local.Socket) { c.WaitForReadyRead(small) },
		"WaitForDisconnected": func(c *local.Socket) { c.WaitForDisconnected(small) },
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, client, server *local.Socket) {
				fill(t, server, large)
				must(t, server.CloseRead())
				look(server)
				read := sockettest.Go(func() error { _, err := io.CopyN(io.Discard, client, large); return err })
				must(t, sockettest.Done(t, "the peer has read everything", read))
				if n, err := server.ReadAvailable(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("ReadAvailable: %d, %v", n, err)
				}
				wantState(t, server, sock.ConnectedState)
				if server.Err() != nil && !errors.Is(server.Err(), sock.SocketTimeoutError) {
					t.Errorf("Err: %v", server.Err())
				}
				ended := make(chan struct{})
				server.OnDisconnected(func() { close(ended) })
				client.Close()
				sockettest.Done(t, "the peer's end is told", ended)
			})
		})
	}
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

// With both directions ended here nothing is left of the connection: that it is over is told at once.
func TestSocketBothDirectionsEnded(t *testing.T) {
	sockettest.NeedHalfClose(t)
	eachWay(t, func(t *testing.T, _, server *local.Socket) {
		must(t, server.CloseRead())
		must(t, server.CloseWrite())
		must(t, server.WaitForDisconnected(sockettest.Long()))
	})
}

// The write deadline is a Write's. What is queued goes on being sent after it, and a connection that is closed sends what there is room for.
func TestSocketWriteDeadlineThatHasPassed(t *testing.T) {
	eachWay(t, func(t *testing.T, client, server *local.Socket) {
		must(t, client.SetReadDeadline(time.Now().Add(sockettest.Long())))
		must(t, server.SetWriteDeadline(time.Now().Add(-time.Second)))
		server.WriteBuffered([]byte("x"))
		b := make([]byte, 1)
		if _, err := client.Read(b); b[0] != 'x' {
			t.Errorf("read %q, %v", b, err)
		}
		server.WriteBuffered([]byte("y"))
		server.DisconnectFromServer()
		if _, err := client.Read(b); b[0] != 'y' {
			t.Errorf("read %q, %v", b, err)
		}
	})
}

// Close ends the connection that it has begun with, and not one that a callback makes while it is at work.
func TestLoopCloseLeavesTheNextConnectionAlone(t *testing.T) {
	l := runLoops(t, 1).Next()
	srv := listen(t)
	c := closeLater(t, new(local.Socket))
	must(t, c.SetLoop(l))
	must(t, c.ConnectToServer(srv.FullServerName(), 0))
	server := next(t, srv)
	c.OnErrorOccurred(func(sock.SocketError) {
		c.Abort()
		must(t, c.ConnectToServer(srv.FullServerName(), 0))
	})
	closed := make(chan struct{})
	l.Post(func() {
		c.WriteBuffered([]byte("bye"))
		server.Abort()
		c.Close() // meets the end
		close(closed)
	})
	sockettest.Done(t, "Close has returned", closed)
	wantState(t, c, sock.ConnectedState)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
}

func TestSocketDisconnectKeepsWhatHasArrived(t *testing.T) {
	eachWay(t, func(t *testing.T, client, server *local.Socket) {
		server.SetReadBufferSize(4)
		client.Write([]byte("0123456789"))
		server.DisconnectFromServer()
		if b := readAvailable(t, server); string(b) != "0123456789" {
			t.Errorf("of what had arrived %q stayed readable", b)
		}
	})
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
