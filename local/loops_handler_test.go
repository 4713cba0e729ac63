package local_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// A handler serves all sockets of a server; a socket's own callbacks come first.
func TestLoopHandler(t *testing.T) {
	g, l := oneLoop(t)
	run(t, l)
	srv := new(local.Server)
	srv.SetLoops(g)
	log := new(eventLog)
	note := func(format string, args ...any) {
		if !l.OnLoop() {
			t.Error("a callback runs elsewhere")
		}
		log.add(format, args...)
	}
	var own *local.Socket
	same := func(c *local.Socket) {
		if c != own {
			t.Error("the handler is given another socket")
		}
	}
	srv.SetHandler(local.Handler{
		ReadyRead: func(c *local.Socket) {
			same(c)
			b := make([]byte, 10)
			n, _ := c.ReadAvailable(b)
			note("read %s", b[:n])
			c.WriteBuffered(b[:n])
		},
		BytesWritten:  func(c *local.Socket, n int64) { same(c); note("written %d", n) },
		ErrorOccurred: func(c *local.Socket, e sock.SocketError) { same(c); note("error %s", e.Name()) },
		Disconnected:  func(c *local.Socket) { same(c); note("disconnected"); c.Close() },
	})
	srv.OnNewConnection(func() {
		own = srv.NextPendingConnection()
		own.OnReadyRead(func() { note("own readyRead") })
		own.OnDisconnected(func() { note("own disconnected") })
	})
	listenWith(t, srv)
	srv.SetHandler(local.Handler{}) // counts from the next Listen
	c := dial(t, srv)
	c.Write([]byte("hello"))
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	log.comes(t, "own readyRead", "read hello", "written 5")
	c.Close()
	log.comes(t, "own readyRead", "read hello", "written 5", "error RemoteHostClosedError", "own disconnected", "disconnected")

	must(t, srv.Close())
	must(t, srv.Listen(sockettest.Name(t)))
	dial(t, srv).Write([]byte("x"))
	sockettest.Eventually(t, "a connection without a handler is told", func() bool { return log.count("own readyRead") == 2 })
	onLoop(t, l, func() { own.Abort() })
	if log.count("read x") != 0 {
		t.Error("the handler of the last Listen is told")
	}
}

// However a handler reads and answers, and whatever it does beside, each byte is answered once.
func TestLoopHandlerAnswersAll(t *testing.T) {
	var sent []byte
	for i := range 3000 {
		sent = fmt.Appendf(sent, "%d %s\n", i, bytes.Repeat([]byte("x"), i%100))
	}
	answer := func(c *local.Socket, b []byte) { c.WriteBuffered(b) }
	some := func(c *local.Socket, n int) []byte {
		b := make([]byte, n)
		n, _ = c.ReadAvailable(b)
		return b[:n]
	}
	for name, readyRead := range map[string]func(*local.Socket){
		"all at once":      func(c *local.Socket) { answer(c, some(c, 64<<10)) },
		"few bytes a time": func(c *local.Socket) { answer(c, some(c, 7)) },
		"until there is none": func(c *local.Socket) {
			for b := some(c, 100); len(b) > 0; b = some(c, 100) {
				answer(c, b)
			}
		},
		"line by line": func(c *local.Socket) {
			for line, err := c.ReadLine(0); len(line) > 0 && err == nil; line, err = c.ReadLine(0) {
				answer(c, line)
			}
		},
		"a line a time": func(c *local.Socket) {
			line, _ := c.ReadLine(0)
			answer(c, line)
		},
		"after a look": func(c *local.Socket) {
			c.Peek(3)
			answer(c, some(c, int(c.BytesAvailable())))
		},
		"flushed": func(c *local.Socket) { answer(c, some(c, 1000)); c.Flush() },
		"waiting": func(c *local.Socket) { c.Write(some(c, 1000)) },
		"in parts": func(c *local.Socket) {
			for _, b := range some(c, 1000) {
				answer(c, []byte{b})
			}
		},
		"on another goroutine": func(c *local.Socket) {
			done := make(chan struct{})
			go func() { defer close(done); answer(c, some(c, 1000)) }()
			<-done
		},
		"with callbacks that come and go": func(c *local.Socket) {
			end := c.OnReadyRead(func() {})
			answer(c, some(c, 1000))
			end()
		},
		"with a deadline and a small buffer": func(c *local.Socket) {
			c.SetWriteDeadline(time.Now().Add(sockettest.Long()))
			c.SetReadBufferSize(300)
			answer(c, some(c, 1000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, l := oneLoop(t)
			run(t, l)
			srv := new(local.Server)
			srv.SetLoops(g)
			srv.SetHandler(local.Handler{ReadyRead: readyRead})
			srv.OnNewConnection(func() { closeLater(t, srv.NextPendingConnection()) })
			listenWith(t, srv)
			c := dial(t, srv)
			c.SetDeadline(time.Now().Add(sockettest.Long()))
			wrote := sockettest.Go(func() error {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+len(rest)%2000)
					if _, err := c.Write(rest[:n]); err != nil {
						return err
					}
					rest = rest[n:]
				}
				return nil
			})
			got := make([]byte, len(sent))
			if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes were answered, rightly: %v; %v", n, len(sent), bytes.Equal(got[:n], sent[:n]), err)
			}
			must(t, sockettest.Done(t, "all is written", wrote))
			c.SetReadDeadline(time.Now())
			if n, _ := c.Read(got); n > 0 {
				t.Errorf("%d bytes were answered twice", n)
			}
		})
	}
}

// A handler may end its own connection, in any way, and another's; those hear of it that are to.
func TestLoopHandlerThatEndsConnections(t *testing.T) {
	for name, end := range map[string]func(*local.Socket){
		"Close":                func(c *local.Socket) { c.Close() },
		"Abort":                (*local.Socket).Abort,
		"DisconnectFromServer": (*local.Socket).DisconnectFromServer,
		"Close after a write":  func(c *local.Socket) { c.WriteBuffered([]byte("bye")); c.Close() },
		"Close and SetLoop":    func(c *local.Socket) { c.Close(); c.SetLoop(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			g, l := oneLoop(t)
			run(t, l)
			srv := new(local.Server)
			srv.SetLoops(g)
			gone := make(chan *local.Socket, 10)
			var first *local.Socket
			srv.SetHandler(local.Handler{
				ReadyRead: func(c *local.Socket) {
					if first == nil {
						first = c
						return
					}
					end(c)
					end(first)
				},
				Disconnected: func(c *local.Socket) { gone <- c },
			})
			srv.OnNewConnection(func() { closeLater(t, srv.NextPendingConnection()) })
			listenWith(t, srv)
			var clients []*local.Socket
			for range 2 {
				c := dial(t, srv)
				c.SetDeadline(time.Now().Add(sockettest.Long()))
				c.Write([]byte("x"))
				clients = append(clients, c)
			}
			want := ""
			if name == "Close after a write" {
				want = "bye"
			}
			for i, c := range clients {
				if b, _ := io.ReadAll(c); string(b) != want {
					t.Errorf("client %d has read %q; want %q", i, b, want)
				}
			}
			if name == "Close and SetLoop" {
				return // it has left those who would have told
			}
			for range clients {
				sockettest.Done(t, "the end is told", gone)
			}
			onLoop(t, l, func() {})
			if n := len(gone); n != 0 {
				t.Errorf("%d ends are told twice", n)
			}
		})
	}
}

// An end that is met when what a handler has written is sent is told before anything that was posted meanwhile runs.
func TestLoopHandlerThatWritesInVain(t *testing.T) {
	sockettest.NeedHalfClose(t)
	g, l := oneLoop(t)
	run(t, l)
	srv := new(local.Server)
	srv.SetLoops(g)
	log := new(eventLog)
	refused := make(chan struct{})
	srv.SetHandler(local.Handler{
		ReadyRead: func(c *local.Socket) {
			if n, _ := c.ReadAvailable(make([]byte, 10)); n == 0 {
				return
			}
			<-refused
			c.WriteBuffered([]byte("hello"))
			l.Post(func() { log.add("%v", c.State()) })
		},
		ErrorOccurred: func(_ *local.Socket, e sock.SocketError) { log.add("error %s", e.Name()) },
		Disconnected:  func(*local.Socket) { log.add("disconnected") },
	})
	srv.OnNewConnection(func() { closeLater(t, srv.NextPendingConnection()) })
	listenWith(t, srv)
	c := dial(t, srv)
	c.Write([]byte("x"))
	must(t, c.CloseRead())
	close(refused)
	log.comes(t, "error RemoteHostClosedError", "disconnected", "UnconnectedState")
}
