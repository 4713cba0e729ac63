package local_test

// The cases of Qt's own test of its local servers and sockets, tst_qlocalsocket, one by one: what they do and what they expect, told in
// this package's words. Each comment says where we differ on purpose. Where Qt says false, we return an error; where Qt's error() is
// UnknownSocketError though nothing went wrong, ours is NoError.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/datastream"
	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

// A qtServer notes what it is given, as that of Qt's test does.
type qtServer struct {
	local.Server
	hits, news atomic.Int64
}

func newQtServer(t *testing.T) *qtServer {
	s := new(qtServer)
	s.SetIncomingConnection(func(d sock.Descriptor) {
		s.hits.Add(1)
		s.IncomingConnection(d)
	})
	s.OnNewConnection(func() {
		s.news.Add(1)
		if s.hits.Load() == 0 {
			t.Error("newConnection, and nothing has come in")
		}
	})
	t.Cleanup(func() { s.Close() })
	return s
}

// qtPair returns the two ends of a connection to a server that stays.
func qtPair(t *testing.T) (srv *qtServer, client, server *local.Socket) {
	t.Helper()
	srv = newQtServer(t)
	must(t, srv.Listen(sockettest.Name(t)))
	client = closeLater(t, new(local.Socket))
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	must(t, client.WaitForConnected(sockettest.Long()))
	return srv, client, next(t, &srv.Server)
}

// waitLine waits until a whole line has arrived, in Qt's way.
func waitLine(c *local.Socket) error {
	for !c.CanReadLine() {
		if err := c.WaitForReadyRead(sockettest.Long()); err != nil {
			return err
		}
	}
	return nil
}

// waiting begins a wait in another goroutine. It returns when the wait has begun, in a function of package core with that name: what happens
// from then on cannot be met first by callbacks, which run without a wait, and which Qt's event loop leaves until one is called.
func waiting(t testing.TB, function string, wait func(time.Duration) error) <-chan error {
	t.Helper()
	done := sockettest.Go(func() error { return wait(sockettest.Long()) })
	waits(t, "core.(*Socket)."+function)
	return done
}

// 1. Ours says NoError where Qt says UnknownSocketError, and the wait's error says why.
func TestQLocalSocket_server_basic(t *testing.T) {
	srv := newQtServer(t)
	must(t, srv.Close())
	if srv.ErrorString() != "" || srv.HasPendingConnections() || srv.IsListening() || srv.MaxPendingConnections() != 30 ||
		srv.NextPendingConnection() != nil || srv.ServerName() != "" || srv.FullServerName() != "" || srv.ServerError() != sock.NoError {
		t.Errorf("the defaults are others: %q, %d, %q", srv.ErrorString(), srv.MaxPendingConnections(), srv.ServerName())
	}
	srv.SetMaxPendingConnections(20)
	start := time.Now()
	err := srv.WaitForNewConnection(sockettest.Long())
	if err == nil || errors.Is(err, sock.SocketTimeoutError) || time.Since(start) > sockettest.Long()/2 {
		t.Errorf("WaitForNewConnection: %v", err)
	}
	wantIs(t, "Listen", srv.Listen(""), sock.HostNotFoundError)
	if srv.hits.Load() != 0 || srv.news.Load() != 0 {
		t.Error("there was a connection")
	}
}

// 2.
func TestQLocalSocket_server_connectionsCount(t *testing.T) {
	srv := newQtServer(t)
	if srv.SetMaxPendingConnections(10); srv.MaxPendingConnections() != 10 {
		t.Errorf("MaxPendingConnections: %d", srv.MaxPendingConnections())
	}
}

// 3. Qt's errorString is "Unknown error" before there is one; ours is "".
func TestQLocalSocket_socket_basic(t *testing.T) {
	var c local.Socket
	log := watchOnce(t, &c)
	if c.ServerName() != "" || c.FullServerName() != "" {
		t.Errorf("names %q, %q", c.ServerName(), c.FullServerName())
	}
	c.Abort()
	if c.BytesAvailable() != 0 || c.BytesToWrite() != 0 || c.CanReadLine() {
		t.Error("there are bytes")
	}
	must(t, c.Close())
	c.DisconnectFromServer()
	if c.SocketError() != sock.NoError || c.ErrorString() != "" || c.Flush() || c.IsValid() || c.ReadBufferSize() != 0 {
		t.Errorf("error %v, flush %v, valid %v, read buffer %d", c.Err(), c.Flush(), c.IsValid(), c.ReadBufferSize())
	}
	c.SetReadBufferSize(0)
	wantState(t, &c, sock.UnconnectedState)
	for name, err := range map[string]error{
		"WaitForConnected": c.WaitForConnected(0), "WaitForDisconnected": c.WaitForDisconnected(0), "WaitForReadyRead": c.WaitForReadyRead(0),
	} {
		wantIs(t, name, err, sock.OperationError)
	}
	log.want(t)
}

// 4. A successful Listen has no error; a second one fails without a word on stderr.
func TestQLocalSocket_listen(t *testing.T) {
	for name, test := range map[string]struct{ canListen, close bool }{
		"null":              {},
		"tst_localsocket":   {true, true},
		"tst_localsocket/2": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", sockettest.Dir(t))
			name := ""
			if test.canListen {
				name = "tst_localsocket"
			}
			srv := newQtServer(t)
			err := srv.Listen(name)
			if (err == nil) != test.canListen {
				t.Fatal(err)
			}
			if srv.ServerName() != name || !strings.Contains(srv.FullServerName(), name) || srv.IsListening() != test.canListen {
				t.Errorf("names %q, %q, listening %v", srv.ServerName(), srv.FullServerName(), srv.IsListening())
			}
			if srv.HasPendingConnections() || srv.NextPendingConnection() != nil || srv.hits.Load() != 0 || srv.news.Load() != 0 {
				t.Error("there is a connection")
			}
			if test.canListen {
				if srv.ErrorString() != "" || srv.ServerError() != sock.NoError {
					t.Errorf("the error is %v", srv.Err())
				}
				wantIs(t, "a second Listen", srv.Listen(name), sock.OperationError)
			} else {
				wantIs(t, "Err", srv.Err(), sock.HostNotFoundError)
			}
			if srv.SocketDescriptor().IsValid() != test.canListen || srv.MaxPendingConnections() != 30 {
				t.Errorf("descriptor %v, limit %d", srv.SocketDescriptor(), srv.MaxPendingConnections())
			}
			if err := srv.WaitForNewConnection(small); err == nil || errors.Is(err, sock.SocketTimeoutError) != test.canListen {
				t.Errorf("WaitForNewConnection: %v", err)
			}
			if test.close {
				must(t, srv.Close())
			}
		})
	}
}

// 5. On failure our names are those of an unconnected socket at once, as Qt's are in the end; its test asks for "" in that row.
func TestQLocalSocket_listenAndConnect(t *testing.T) {
	for _, connections := range []int{0, 1, 5} {
		for _, name := range []string{"", "tst_localsocket"} {
			t.Run(fmt.Sprintf("%q %d", name, connections), func(t *testing.T) {
				t.Setenv("TMPDIR", sockettest.Dir(t))
				canListen := name != ""
				srv := newQtServer(t)
				if err := srv.Listen(name); (err == nil) != canListen || !canListen && srv.ServerError() != sock.HostNotFoundError {
					t.Fatal(err)
				}
				for i := range connections {
					c := closeLater(t, new(local.Socket))
					log := watchOnce(t, c)
					if err := c.ConnectToServer(name, 0); (err == nil) != canListen {
						t.Fatal(err)
					}
					if c.ServerName() != name || !strings.Contains(c.FullServerName(), name) {
						t.Errorf("names %q, %q", c.ServerName(), c.FullServerName())
					}
					if canListen {
						must(t, c.WaitForConnected(sockettest.Long()))
						if c.ErrorString() != "" || c.SocketError() != sock.NoError {
							t.Errorf("the error is %v", c.Err())
						}
						wantState(t, c, sock.ConnectedState)
						log.want(t, "ConnectingState", "ConnectedState", "connected")
					} else {
						wantIs(t, "Err", c.Err(), local.ServerNotFoundError)
						wantState(t, c, sock.UnconnectedState)
						log.want(t, "ConnectingState", "HostNotFoundError", "UnconnectedState")
					}
					if c.BytesAvailable() != 0 || c.BytesToWrite() != 0 || c.CanReadLine() || c.Flush() || c.IsValid() != canListen || c.ReadBufferSize() != 0 {
						t.Error("it has bytes, or is not valid")
					}
					if err := c.WaitForConnected(0); (err == nil) != canListen {
						t.Errorf("WaitForConnected(0): %v", err)
					}
					if err := c.WaitForReadyRead(0); err == nil {
						t.Error("WaitForReadyRead(0) succeeded")
					}
					if canListen {
						log.want(t, "ConnectingState", "ConnectedState", "connected", "SocketTimeoutError")
					} else {
						log.want(t, "ConnectingState", "HostNotFoundError", "UnconnectedState")
					}

					if err := srv.WaitForNewConnection(sockettest.Long()); (err == nil) != canListen || errors.Is(err, sock.SocketTimeoutError) {
						t.Errorf("WaitForNewConnection: %v", err)
					}
					if srv.HasPendingConnections() != canListen || srv.IsListening() != canListen || srv.ServerName() != name {
						t.Errorf("pending %v, listening %v, name %q", srv.HasPendingConnections(), srv.IsListening(), srv.ServerName())
					}
					if !canListen {
						if srv.NextPendingConnection() != nil || srv.news.Load() != 0 || srv.hits.Load() != 0 || srv.ServerError() != sock.HostNotFoundError {
							t.Error("there is a connection")
						}
						continue
					}
					closeLater(t, srv.NextPendingConnection())
					sockettest.Eventually(t, "each was counted", func() bool { return srv.hits.Load() == int64(i+1) && srv.news.Load() == int64(i+1) })
					if srv.ErrorString() != "" || srv.ServerError() != sock.NoError {
						t.Errorf("the server's error is %v", srv.Err())
					}
				}
				must(t, srv.Close())
				want := int64(0)
				if canListen {
					want = int64(connections)
				}
				if srv.hits.Load() != want || srv.news.Load() != want {
					t.Errorf("%d hits, %d signals; want %d", srv.hits.Load(), srv.news.Load(), want)
				}
			})
		}
	}
}

// 6.
func TestQLocalSocket_listenAndConnectAbstractNamespace(t *testing.T) {
	for _, test := range []struct {
		name           string
		server, client local.SocketOptions
		success        bool
	}{
		{"abs_abs", local.AbstractNamespaceOption, local.AbstractNamespaceOption, true},
		{"reg_reg", local.NoOptions, local.NoOptions, true},
		{"reg_abs", local.UserAccessOption, local.AbstractNamespaceOption, false},
		{"abs_reg", local.AbstractNamespaceOption, local.NoOptions, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := sockettest.AbstractName(t)
			t.Setenv("TMPDIR", sockettest.Dir(t))
			srv := newQtServer(t)
			srv.SetSocketOptions(test.server)
			must(t, srv.Listen(name))
			c := closeLater(t, new(local.Socket))
			must(t, c.SetSocketOptions(test.client))
			must(t, c.SetServerName(name))
			if err := c.ConnectToServer("", 0); (err == nil) != test.success {
				t.Errorf("ConnectToServer: %v", err)
			}
			if err := srv.WaitForNewConnection(small); test.success && err != nil || !test.success && !errors.Is(err, sock.SocketTimeoutError) {
				t.Errorf("WaitForNewConnection: %v", err)
			}
		})
	}
}

// 7.
func TestQLocalSocket_listenAndConnectAbstractNamespaceTrailingZeros(t *testing.T) {
	for _, test := range []struct{ server, client string }{{"\x00", "\x00"}, {"", "\x00"}, {"\x00", ""}, {"", ""}} {
		t.Run(fmt.Sprintf("srv%d_cli%d", len(test.server), len(test.client)), func(t *testing.T) {
			name := sockettest.AbstractName(t)
			srv := newQtServer(t)
			srv.SetSocketOptions(local.AbstractNamespaceOption)
			must(t, srv.Listen(name+test.server))
			if srv.FullServerName() != name+test.server {
				t.Errorf("FullServerName: %q", srv.FullServerName())
			}
			c := closeLater(t, new(local.Socket))
			c.SetSocketOptions(local.AbstractNamespaceOption)
			c.SetServerName(name + test.client)
			success := test.server == test.client
			if err := c.ConnectToServer("", 0); success {
				must(t, err)
				if c.FullServerName() != name+test.client {
					t.Errorf("the client's FullServerName: %q", c.FullServerName())
				}
				must(t, srv.WaitForNewConnection(sockettest.Long()))
			} else {
				wantIs(t, "ConnectToServer", err, sock.ConnectionRefusedError)
				if c.FullServerName() != "" {
					t.Errorf("the client's FullServerName: %q", c.FullServerName())
				}
				wantIs(t, "WaitForNewConnection", srv.WaitForNewConnection(0), sock.SocketTimeoutError)
			}
		})
	}
}

// 8. There is no aboutToClose: Close is a call of the program's own, which knows of it. Its signals come once.
func TestQLocalSocket_connectWithOpen(t *testing.T) {
	srv := newQtServer(t)
	must(t, srv.Listen(sockettest.Name(t)))
	c := closeLater(t, new(local.Socket))
	log := watchOnce(t, c)
	must(t, c.SetServerName(srv.FullServerName()))
	must(t, c.ConnectToServer("", sock.ReadWrite))
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	must(t, c.Close())
	must(t, srv.Close())
	if log.count("ClosingState") != 1 || log.count("disconnected") != 1 {
		t.Errorf("events: %q", log.all())
	}
}

// 9. Go has no overriding: a type that embeds a Socket and has another Close connects as a Socket does.
func TestQLocalSocket_connectWithOldOpen(t *testing.T) {
	type overridden struct{ *local.Socket }
	srv := newQtServer(t)
	must(t, srv.Listen(sockettest.Name(t)))
	c := overridden{Socket: closeLater(t, new(local.Socket))}
	must(t, c.ConnectToServer(srv.FullServerName(), 0))
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	must(t, c.Close())
}

// 10. The line may come in more than one piece, and so with more than one readyRead.
func TestQLocalSocket_sendData(t *testing.T) {
	for _, canListen := range []bool{false, true} {
		t.Run(fmt.Sprint(canListen), func(t *testing.T) {
			name := ""
			if canListen {
				name = sockettest.Name(t)
			}
			srv := newQtServer(t)
			if err := srv.Listen(name); (err == nil) != canListen {
				t.Fatal(err)
			}
			c := closeLater(t, new(local.Socket))
			log := watchOnce(t, c)
			c.ConnectToServer(name, 0)
			if err := srv.WaitForNewConnection(sockettest.Long()); (err == nil) != canListen || errors.Is(err, sock.SocketTimeoutError) {
				t.Fatal(err)
			}
			if canListen {
				wantState(t, c, sock.ConnectedState)
				line := "test" + strings.Repeat("a", 50000) + "\n"
				server := closeLater(t, srv.NextPendingConnection())
				wantState(t, server, sock.ConnectedState)
				server.WriteBuffered([]byte(line))
				must(t, server.WaitForBytesWritten(sockettest.Long()))
				must(t, waitLine(c))
				if c.BytesToWrite() != 0 || c.Flush() || !c.IsValid() || c.ReadBufferSize() != 0 {
					t.Error("it has something to write, or is not valid")
				}
				sockettest.Eventually(t, "readyRead is told", func() bool { return log.count("readyRead") > 0 })
				if got, err := c.ReadLine(0); string(got) != line || err != nil {
					t.Errorf("ReadLine: %d bytes, %v", len(got), err)
				}
				if server.Err() != nil || c.Err() != nil {
					t.Errorf("errors %v, %v", server.Err(), c.Err())
				}
			} else {
				wantState(t, c, sock.UnconnectedState)
			}
			c.DisconnectFromServer()
			// A readyRead that is being told keeps its goroutine, which then tells the rest.
			sockettest.Eventually(t, "the end is told", func() bool { return !canListen || log.count("disconnected") > 0 })
			states := slices.DeleteFunc(log.all(), func(e string) bool { return e == "readyRead" })
			want := []string{"ConnectingState", "HostNotFoundError", "UnconnectedState"}
			if canListen {
				want = []string{"ConnectingState", "ConnectedState", "connected", "ClosingState", "UnconnectedState", "disconnected"}
			}
			if !slices.Equal(states, want) {
				t.Errorf("events: %q; want %q", states, want)
			}
			must(t, srv.Close())
			if (srv.hits.Load() == 1) != canListen || (srv.news.Load() == 1) != canListen {
				t.Errorf("%d hits, %d signals", srv.hits.Load(), srv.news.Load())
			}
		})
	}
}

// 11. After the end there is io.EOF where Qt says -1, and before it nothing and nil where Qt says 0.
func TestQLocalSocket_readLine(t *testing.T) {
	for i, test := range []struct {
		input, output []string
		max           int
		wholeLines    bool
	}{
		{[]string{"\n", "A", "\n", "B", "B", "A", "\n"}, []string{"\n", "", "", "A\n", "", "", "", "", "BBA\n", "", ""}, 80, true},
		{[]string{"A", "\n", "\n", "B", "B", "\n", "A", "A"}, []string{"", "A\n", "", "\n", "", "", "", "BB\n", "", "", "", "AA", ""}, 80, true},
		{[]string{"\nA\nA\n"}, []string{"\n", "A", "\n", "A", "\n", "", ""}, 1, false},
		{[]string{"A\n\n\nA", "A"}, []string{"A\n", "\n", "\n", "A", "", "A", "", ""}, 2, false},
		{[]string{"He", "ll", "o\n", " \n", "wo", "rl", "d", "!\n"}, []string{"", "Hel", "", "lo\n", "", " \n", "", "", "wor", "", "", "ld!", "\n", "", ""}, 3, true},
		{[]string{"Hello\n world!"}, []string{"Hello\n", "", " world!", ""}, 80, true},
		{[]string{"\nHello", " \n", " wor", "ld!\n"}, []string{"\n", "Hell", "o", "", " \n", "", " wor", "", "ld!\n", "", ""}, 4, false},
		{[]string{"Hello\n world", "!"}, []string{"Hello\n", " world", "", "!", "", ""}, 80, false},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			_, client, server := qtPair(t)
			var output []string
			for pos := range len(test.input) + 1 {
				last := pos == len(test.input)
				if !last {
					server.WriteBuffered([]byte(test.input[pos]))
					must(t, server.WaitForBytesWritten(sockettest.Long()))
					if server.BytesToWrite() != 0 {
						t.Fatal("it is not all written")
					}
					must(t, client.WaitForReadyRead(sockettest.Long()))
				} else {
					server.Close()
					wantIs(t, "WaitForReadyRead", client.WaitForReadyRead(sockettest.Long()), local.PeerClosedError)
				}
				for !test.wholeLines || client.BytesAvailable() >= int64(test.max) || client.CanReadLine() || last {
					emptied := client.BytesAvailable() == 0
					line, err := client.ReadLine(test.max)
					if emptied {
						if len(line) != 0 || last != (err == io.EOF) || !last && err != nil {
							t.Fatalf("ReadLine with nothing there: %q, %v", line, err)
						}
						break
					}
					if len(line) == 0 || len(line) > test.max || err != nil {
						t.Fatalf("ReadLine(%d): %q, %v", test.max, line, err)
					}
					output = append(output, string(line))
				}
				output = append(output, "")
			}
			wantState(t, client, sock.UnconnectedState)
			if !slices.Equal(output, test.output) {
				t.Errorf("got\n\t%q\nwant\n\t%q", output, test.output)
			}
		})
	}
}

// 12.
func TestQLocalSocket_skip(t *testing.T) {
	big := bytes.Repeat([]byte("a"), 20000)
	big[10001] = 'x'
	for _, test := range []struct {
		name          string
		data          []byte
		read          int
		skip, skipped int64
		next          string
	}{
		{"small_data", []byte("abcdefghij"), 3, 6, 6, "j"},
		{"big_data", big, 1, 10000, 10000, "x"},
		{"beyond_the_end", big, 1, 20000, 19999, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, client, server := qtPair(t)
			server.WriteBuffered(test.data)
			for server.WaitForBytesWritten(sockettest.Long()) == nil {
				must(t, client.WaitForReadyRead(sockettest.Long()))
			}
			if server.BytesToWrite() != 0 {
				t.Fatal("it is not all written")
			}
			must(t, server.Close())
			must(t, client.WaitForDisconnected(sockettest.Long()))
			if n, err := client.ReadAvailable(make([]byte, test.read)); n != test.read || err != nil {
				t.Errorf("ReadAvailable: %d, %v", n, err)
			}
			if n, err := client.Skip(test.skip); n != test.skipped || err != nil {
				t.Errorf("Skip: %d, %v; want %d", n, err, test.skipped)
			}
			b := make([]byte, 1)
			if n, err := client.ReadAvailable(b); string(b[:n]) != test.next || (err == io.EOF) != (test.next == "") {
				t.Errorf("what follows: %q, %v; want %q", b[:n], err, test.next)
			}
		})
	}
}

// 13.
func TestQLocalSocket_readBufferOverflow(t *testing.T) {
	const size = 128
	srv := newQtServer(t)
	must(t, srv.Listen(sockettest.Name(t)))
	client := closeLater(t, new(local.Socket))
	client.SetReadBufferSize(size)
	must(t, client.ConnectToServer(srv.FullServerName(), 0))
	server := next(t, &srv.Server)
	server.WriteBuffered(make([]byte, 2*size))
	must(t, server.WaitForBytesWritten(sockettest.Long()))
	for range 2 {
		must(t, client.WaitForReadyRead(sockettest.Long()))
		if n, err := client.ReadAvailable(make([]byte, size)); n != size || err != nil {
			t.Errorf("ReadAvailable: %d, %v", n, err)
		}
	}
	if client.BytesAvailable() != 0 {
		t.Errorf("%d bytes are available", client.BytesAvailable())
	}
}

// A command of the two protocols: Qt's QVariant of a QRect is, on the wire, its type's number, a flag, and four numbers.
type command struct{ x, y, w, h int32 }

func writeCommand(c *local.Socket, n int32, cmd command) (size int64, err error) {
	var block bytes.Buffer
	w := datastream.NewWriter(&block)
	w.Int32(n)
	w.Uint32(19) // QMetaType::QRect
	w.Int8(0)
	for _, v := range []int32{cmd.x, cmd.y, cmd.x + cmd.w - 1, cmd.y + cmd.h - 1} {
		w.Int32(v)
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	var out bytes.Buffer
	w = datastream.NewWriter(&out)
	w.Int64(int64(block.Len()))
	w.Raw(block.Bytes())
	if err := w.Flush(); err != nil {
		return 0, err
	}
	_, err = c.WriteBuffered(out.Bytes())
	return int64(out.Len()), err
}

func readCommand(r *datastream.Reader) (n int32, cmd command, err error) {
	n = r.Int32()
	typ, null := r.Uint32(), r.Int8()
	left, top, right, bottom := r.Int32(), r.Int32(), r.Int32(), r.Int32()
	if typ != 19 || null != 0 {
		return n, cmd, fmt.Errorf("type %d, null %d", typ, null)
	}
	return n, command{left, top, right - left + 1, bottom - top + 1}, r.Err()
}

// 14.
func TestQLocalSocket_simpleCommandProtocol1(t *testing.T) {
	_, writer, reader := qtPair(t)
	var counter int32
	for i := range int32(2000) {
		cmd := command{counter, i, 10, 10}
		size, err := writeCommand(writer, i, cmd)
		must(t, err)
		for writer.BytesToWrite() > 0 {
			must(t, writer.WaitForBytesWritten(sockettest.Long()))
		}
		for reader.BytesAvailable() < size {
			must(t, reader.WaitForReadyRead(sockettest.Long()))
		}
		in := datastream.NewReader(datastream.ReaderFunc(reader.ReadAvailable))
		if in.Int64() != size-8 {
			t.Fatal("another size than was written")
		}
		n, got, err := readCommand(in)
		if counter = n; n != i || got != cmd || err != nil {
			t.Fatalf("command %d: %d, %v, %v; want %v", i, n, got, err, cmd)
		}
	}
}

// 15. The partial commands are left to a transaction of the data stream's. The wait begins before the end, which the reader's callback would
// meet without it.
func TestQLocalSocket_simpleCommandProtocol2(t *testing.T) {
	_, writer, reader := qtPair(t)
	log := watch(t, writer)
	var counter int32
	in := datastream.NewReader(datastream.ReaderFunc(reader.ReadAvailable))
	reader.OnReadyRead(func() {
		for {
			in.StartTransaction()
			size := in.Int64()
			n, cmd, err := readCommand(in)
			if !in.CommitTransaction() {
				return
			}
			if size != 25 || n != counter || cmd != (command{0, n, 10, 10}) || err != nil {
				t.Errorf("command %d: size %d, %d, %v, %v", counter, size, n, cmd, err)
			}
			counter++
		}
	})
	for i := range int32(500) {
		if _, err := writeCommand(writer, i, command{0, i, 10, 10}); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			writer.Flush() // where Qt's test lets the event loop run
		}
	}
	ended := waiting(t, "waitDisconnected", reader.WaitForDisconnected)
	writer.Abort()
	wantState(t, writer, sock.UnconnectedState)
	if writer.BytesToWrite() != 0 || writer.IsValid() {
		t.Errorf("%d bytes to write", writer.BytesToWrite())
	}
	// Another goroutine may be telling of bytesWritten, and then tells of this, too.
	sockettest.Eventually(t, "disconnected is told", func() bool { return log.count("disconnected") == 1 })
	must(t, sockettest.Done(t, "the reader's wait returns", ended))
	wantState(t, reader, sock.UnconnectedState)
}

// 16.
func TestQLocalSocket_fullPath(t *testing.T) {
	srv := newQtServer(t)
	name := filepath.Join(sockettest.Dir(t), "qlocalsocket_pathtest")
	if !sockettest.HasFiles {
		name = sockettest.FullName(sockettest.Name(t))
	}
	must(t, srv.Listen(name))
	c := closeLater(t, new(local.Socket))
	must(t, c.ConnectToServer(name, 0))
	for _, got := range []string{srv.ServerName(), srv.FullServerName(), c.ServerName(), c.FullServerName()} {
		if got != name {
			t.Errorf("a name is %q; want %q", got, name)
		}
	}
	c.DisconnectFromServer()
	if c.ServerName() != "" || c.FullServerName() != "" {
		t.Errorf("after the end the names are %q, %q", c.ServerName(), c.FullServerName())
	}
}

// 17. Ours accepts as many as it says, and Qt two more.
func TestQLocalSocket_hitMaximumConnections(t *testing.T) {
	for _, limit := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			srv := newQtServer(t)
			srv.SetMaxPendingConnections(limit)
			must(t, srv.Listen(sockettest.Name(t)))
			for range limit + 1 {
				must(t, closeLater(t, new(local.Socket)).ConnectToServer(srv.FullServerName(), 0))
			}
			must(t, srv.WaitForNewConnection(sockettest.Long()))
			if n := srv.hits.Load(); n < 1 || n > int64(max(limit, 1)) {
				t.Errorf("%d connections have come in", n)
			}
		})
	}
}

// 18. A descriptor that is none is refused, and changes nothing: Qt takes over the state and mode all the same.
func TestQLocalSocket_setSocketDescriptor(t *testing.T) {
	var c local.Socket
	wantIs(t, "SetSocketDescriptor", c.SetSocketDescriptor(sock.FromFd(^uintptr(0)), sock.ConnectingState, sock.WriteOnly), sock.UnsupportedSocketOperationError)
	if c.SocketDescriptor().IsValid() {
		t.Error("it has a descriptor")
	}
	wantState(t, &c, sock.UnconnectedState)
}

// 19. Callbacks need no wait to be called, so that readyRead may be told before there is one.
func TestQLocalSocket_threadedConnection(t *testing.T) {
	for _, clients := range []int{1, 2, 5, 10, 20} {
		t.Run(fmt.Sprint(clients), func(t *testing.T) {
			srv := newQtServer(t)
			srv.SetMaxPendingConnections(10)
			must(t, srv.Listen(sockettest.Name(t)))
			served := sockettest.Go(func() error {
				for range clients {
					if err := srv.WaitForNewConnection(sockettest.Long()); err != nil {
						return err
					}
					c := srv.NextPendingConnection()
					defer c.Abort()
					c.WriteBuffered([]byte("test\n"))
					if c.State() != sock.ConnectedState {
						return fmt.Errorf("the state is %v", c.State())
					}
					if err := c.WaitForBytesWritten(sockettest.Long()); err != nil {
						return err
					}
					if c.Err() != nil {
						return c.Err()
					}
					c.Close()
				}
				return nil
			})
			var done []<-chan error
			told := make([]atomic.Int64, clients)
			for i := range clients {
				c := closeLater(t, new(local.Socket))
				c.OnReadyRead(func() { told[i].Add(1) })
				done = append(done, sockettest.Go(func() error {
					if err := c.ConnectToServer(srv.FullServerName(), 0); err != nil {
						return err
					}
					if err := c.WaitForConnected(sockettest.Long()); err != nil {
						return err
					}
					if err := waitLine(c); err != nil {
						return err
					}
					line, err := c.ReadLine(0)
					if err == nil && string(line) != "test\n" {
						err = fmt.Errorf("read %q", line)
					}
					return err
				}))
			}
			must(t, sockettest.Done(t, "the server is done", served))
			for _, d := range done {
				must(t, sockettest.Done(t, "a client is done", d))
			}
			for i := range told {
				sockettest.Eventually(t, "readyRead is told", func() bool { return told[i].Load() > 0 })
			}
			sockettest.Stays(t, "readyRead is told once to each", func() bool {
				all := int64(0)
				for i := range told {
					all += told[i].Load()
				}
				return all == int64(clients)
			})
			if n := srv.hits.Load(); n != int64(clients) {
				t.Errorf("%d hits; want %d", n, clients)
			}
		})
	}
}

var _ = sockettest.Child("qt server", func() {
	var clients int
	fmt.Sscan(os.Args[2], &clients)
	mustChild(local.RemoveServer(os.Args[1]))
	var srv local.Server
	mustChild(srv.Listen(os.Args[1]))
	for range clients {
		mustChild(srv.WaitForNewConnection(sock.DefaultWait))
		c := srv.NextPendingConnection()
		c.WriteBuffered([]byte("test\n"))
		mustChild(c.WaitForBytesWritten(sock.DefaultWait))
		mustChild(c.Err())
		c.Close()
	}
})

var _ = sockettest.Child("qt client", func() {
	var c local.Socket
	for end := time.Now().Add(sockettest.Long()); ; time.Sleep(5 * time.Millisecond) { // the server may not be there yet
		err := c.ConnectToServer(os.Args[1], 0)
		if err == nil {
			break
		}
		if e := c.SocketError(); e != local.ServerNotFoundError && e != local.ConnectionRefusedError || time.Now().After(end) {
			mustChild(err)
		}
	}
	mustChild(c.WaitForConnected(sock.DefaultWait))
	for !c.CanReadLine() {
		mustChild(c.WaitForReadyRead(sock.DefaultWait))
	}
	line, err := c.ReadLine(0)
	mustChild(err)
	fmt.Printf("%q\n", line)
	mustChild(c.Close())
})

// 20.
func TestQLocalSocket_processConnection(t *testing.T) {
	for _, clients := range []int{1, 2, 5, 30} {
		t.Run(fmt.Sprint(clients), func(t *testing.T) {
			name := sockettest.Name(t)
			server := sockettest.Start(t, "qt server", name, fmt.Sprint(clients))
			var all []*sockettest.Process
			for range clients {
				all = append(all, sockettest.Start(t, "qt client", name))
			}
			for _, c := range all {
				if rest, err := c.Wait(); err != nil || !slices.Equal(rest, []string{`"test\n"`}) {
					t.Errorf("a client has ended with %v, and said %q", err, rest)
				}
			}
			if rest, err := server.Wait(); err != nil {
				t.Errorf("the server has ended with %v, and said %q", err, rest)
			}
		})
	}
}

// 21. The error says which path, how long it is, and the limit.
func TestQLocalSocket_longPath(t *testing.T) {
	name := strings.Repeat("a", 256)
	wantIs(t, "Listen", new(local.Server).Listen(name), sock.HostNotFoundError)
	var c local.Socket
	wantIs(t, "ConnectToServer", c.ConnectToServer(name, 0), local.ServerNotFoundError)
	wantState(t, &c, sock.UnconnectedState)
}

// 22.
func TestQLocalSocket_waitForDisconnect(t *testing.T) {
	_, client, server := qtPair(t)
	client.DisconnectFromServer()
	start := time.Now()
	must(t, server.WaitForDisconnected(sockettest.Long()))
	if took := time.Since(start); took > sockettest.Scale(2*time.Second) {
		t.Errorf("it took %v", took)
	}
}

// 23. The wait begins before the end: the callback's goroutine would meet that without it, and a wait that comes late says so.
func TestQLocalSocket_waitForDisconnectByServer(t *testing.T) {
	_, client, server := qtPair(t)
	var told atomic.Int64
	client.OnDisconnected(func() { told.Add(1) })
	ended := waiting(t, "waitDisconnected", client.WaitForDisconnected)
	must(t, server.Close())
	wantState(t, server, sock.UnconnectedState)
	must(t, sockettest.Done(t, "the wait returns", ended))
	sockettest.Eventually(t, "disconnected is told", func() bool { return told.Load() > 0 })
	sockettest.Stays(t, "disconnected is told once", func() bool { return told.Load() == 1 })
}

// 24. The wait begins before there is a byte, which the callback would read without it; then there would be none to wait for.
func TestQLocalSocket_waitForReadyReadOnDisconnected(t *testing.T) {
	_, client, server := qtPair(t)
	inner := make(chan error, 1)
	client.OnReadyRead(func() {
		if n, err := client.ReadAvailable(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("ReadAvailable: %d, %v", n, err)
		}
		inner <- client.WaitForReadyRead(sockettest.Long())
	})
	outer := waiting(t, "waitReadyRead", client.WaitForReadyRead)
	start := time.Now()
	server.WriteBuffered([]byte{0})
	must(t, server.WaitForBytesWritten(sockettest.Long()))
	must(t, server.Close())
	must(t, sockettest.Done(t, "the wait returns", outer))
	wantIs(t, "the wait in the callback", sockettest.Done(t, "the wait in the callback returns", inner), local.PeerClosedError)
	if took := time.Since(start); took > sockettest.Scale(2*time.Second) {
		t.Errorf("it took %v", took)
	}
}

// 25. What has arrived stays readable until Close. More is sent than Qt's one byte, which the background may have sent before the state was
// looked at: the rest goes when the server reads, and it reads all but one byte.
func TestQLocalSocket_delayedDisconnect(t *testing.T) {
	_, client, server := qtPair(t)
	fill(t, client, large)
	client.DisconnectFromServer()
	wantState(t, client, sock.ClosingState)
	ended := waiting(t, "waitDisconnected", client.WaitForDisconnected)
	if _, err := io.ReadFull(server, make([]byte, large-1)); err != nil {
		t.Fatal(err)
	}
	must(t, sockettest.Done(t, "the wait returns", ended))
	wantState(t, client, sock.UnconnectedState)
	must(t, server.WaitForReadyRead(sockettest.Long()))
	if n := server.BytesAvailable(); n != 1 {
		t.Errorf("%d bytes are available; want 1", n)
	}
	must(t, server.Close())
	wantState(t, server, sock.UnconnectedState)
	if server.BytesAvailable() != 0 || server.IsValid() {
		t.Errorf("after Close %d bytes are available, valid %v", server.BytesAvailable(), server.IsValid())
	}
}

// 26.
func TestQLocalSocket_removeServer(t *testing.T) {
	name := sockettest.Name(t)
	var first, second local.Server
	defer first.Close()
	defer second.Close()
	must(t, local.RemoveServer(name))
	must(t, first.Listen(name))
	if sockettest.HasExclusiveNames {
		wantIs(t, "a second Listen", second.Listen(name), sock.AddressInUseError)
	}
	must(t, local.RemoveServer(name))
	must(t, second.Listen(name))
	must(t, first.Close()) // which leaves the other's file
	dial(t, &second)
}

// 27.
func TestQLocalSocket_recycleServer(t *testing.T) {
	srv := newQtServer(t)
	client := closeLater(t, new(local.Socket))
	for range 2 {
		must(t, srv.Listen(sockettest.Name(t)))
		must(t, client.ConnectToServer(srv.FullServerName(), 0))
		must(t, client.WaitForConnected(sockettest.Long()))
		must(t, srv.WaitForNewConnection(sockettest.Long()))
		closeLater(t, srv.NextPendingConnection())
		must(t, srv.Close())
		client.DisconnectFromServer()
	}
}

// 28.
func TestQLocalSocket_recycleClientSocket(t *testing.T) {
	srv := newQtServer(t)
	must(t, srv.Listen(sockettest.Name(t)))
	client := closeLater(t, new(local.Socket))
	defer client.OnErrorOccurred(func(e sock.SocketError) { t.Errorf("an error: %v", e) })()
	news := make(chan struct{}, 100)
	client.OnReadyRead(func() { news <- struct{}{} })
	for _, line := range []string{"Have you heard of that new band", `"1023 Megabytes"?`, "They haven't made it to a gig yet."} {
		client.Abort()
		for len(news) > 0 {
			<-news
		}
		must(t, client.ConnectToServer(srv.FullServerName(), 0))
		must(t, client.WaitForConnected(sockettest.Long()))
		server := next(t, &srv.Server)
		server.WriteBuffered([]byte(line))
		server.Flush()
		sockettest.Done(t, "readyRead is told", news)
		if got := readAvailable(t, client); string(got) != line {
			t.Errorf("read %q; want %q", got, line)
		}
	}
}

// 29.
func TestQLocalSocket_multiConnect(t *testing.T) {
	srv := newQtServer(t)
	must(t, srv.Listen(sockettest.Name(t)))
	var clients [3]*local.Socket
	for i := range clients {
		clients[i] = closeLater(t, new(local.Socket))
		must(t, clients[i].ConnectToServer(srv.FullServerName(), 0))
	}
	for _, c := range clients {
		must(t, c.WaitForConnected(sockettest.Long()))
	}
	for range clients {
		next(t, &srv.Server)
	}
}

// 30.
func TestQLocalSocket_writeOnlySocket(t *testing.T) {
	client := new(local.Socket)
	server := pairWith(t, client, sock.WriteOnly)
	if client.BytesAvailable() != 0 {
		t.Errorf("%d bytes are available", client.BytesAvailable())
	}
	wantState(t, client, sock.ConnectedState)
	server.Abort()
	must(t, client.WaitForDisconnected(sock.Forever))
	wantState(t, client, sock.UnconnectedState)
}

// 31. There is no readChannelFinished: disconnected is told once, and what was sent is readable after it. Small chunks are sent within
// Close; a wait that comes after that finds the connection ended, and says so.
func TestQLocalSocket_writeToClientAndDisconnect(t *testing.T) {
	for _, chunks := range []int{1, 20} {
		t.Run(fmt.Sprint(chunks), func(t *testing.T) {
			srv, client, server := qtPair(t)
			must(t, srv.Close())
			for range chunks {
				if n, err := server.WriteBuffered(make([]byte, 100)); n != 100 || err != nil {
					t.Fatal(n, err)
				}
			}
			must(t, server.Close())
			if err := server.WaitForDisconnected(sockettest.Long()); err != nil {
				wantIs(t, "WaitForDisconnected", err, sock.OperationError, net.ErrClosed)
			}
			wantState(t, server, sock.UnconnectedState)
			must(t, client.WaitForDisconnected(sockettest.Long()))
			var told int
			client.OnDisconnected(func() { told++ })
			if got := readAvailable(t, client); len(got) != 100*chunks || told != 1 {
				t.Errorf("%d bytes were read, and disconnected told %d times", len(got), told)
			}
			wantState(t, client, sock.UnconnectedState)
		})
	}
}

// 32. Our background may try to send first; then the wait says that the peer has gone, too.
func TestQLocalSocket_writeToDisconnected(t *testing.T) {
	_, client, server := qtPair(t)
	server.Abort()
	wantState(t, client, sock.ConnectedState)
	if n, err := client.WriteBuffered([]byte{0}); n != 1 || err != nil {
		t.Errorf("WriteBuffered: %d, %v", n, err)
	}
	wantIs(t, "WaitForBytesWritten", client.WaitForBytesWritten(sockettest.Long()), local.PeerClosedError)
	wantState(t, client, sock.UnconnectedState)
	wantIs(t, "Err", client.Err(), local.PeerClosedError)
}

// 33. Qt prints "QLocalSocket::ConnectionRefusedError QLocalSocket::UnconnectedState".
func TestQLocalSocket_debug(t *testing.T) {
	if got := fmt.Sprint(local.ConnectionRefusedError.Name(), " ", sock.UnconnectedState); got != "ConnectionRefusedError UnconnectedState" {
		t.Errorf("%q", got)
	}
}

// 34.
func TestQLocalSocket_bytesWrittenSignal(t *testing.T) {
	srv := newQtServer(t)
	must(t, srv.Listen(sockettest.Name(t)))
	written := make(chan int64, 10)
	go func() {
		c := closeLater(t, new(local.Socket))
		c.ConnectToServer(srv.FullServerName(), 0)
		c.OnBytesWritten(func(n int64) { written <- n })
		c.WriteBuffered([]byte("testing\n"))
	}()
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	if n := sockettest.Done(t, "bytesWritten is told", written); n != 8 {
		t.Errorf("bytesWritten(%d); want 8", n)
	}
}

// 35.
func TestQLocalSocket_syncDisconnectNotify(t *testing.T) {
	_, client, server := qtPair(t)
	watchOnce(t, client) // checks the state
	server.Abort()
	wantIs(t, "WaitForReadyRead", client.WaitForReadyRead(sockettest.Long()), local.PeerClosedError)
	_, err := client.WriteBuffered([]byte{0})
	wantIs(t, "WriteBuffered", err, local.PeerClosedError)
}

// 36. As 31: disconnected is told once.
func TestQLocalSocket_asyncDisconnectNotify(t *testing.T) {
	_, client, server := qtPair(t)
	log := watchOnce(t, client)
	server.Abort()
	sockettest.Eventually(t, "disconnected is told", func() bool { return log.last() == "disconnected" })
	log.want(t, "RemoteHostClosedError", "ClosingState", "UnconnectedState", "disconnected")
}

// 37. Ours hold under any umask, and the name is never another file's for a while: see TestServerAccessOptionsGiveTheirModes.
func TestQLocalSocket_verifySocketOptions(t *testing.T) {
	if !sockettest.HasModes {
		t.Skip("the file has no mode to look at")
	}
	for name, test := range map[string]struct {
		options local.SocketOptions
		mode    os.FileMode
	}{
		"user": {local.UserAccessOption, 0o700}, "group": {local.GroupAccessOption, 0o070},
		"other": {local.OtherAccessOption, 0o007}, "all": {local.WorldAccessOption, 0o777},
	} {
		t.Run(name, func(t *testing.T) {
			bare := sockettest.BareName(t)
			srv := newQtServer(t)
			srv.SetSocketOptions(test.options)
			must(t, srv.Listen(bare))
			info, err := os.Lstat(filepath.Join(os.TempDir(), bare))
			if err != nil || info.Mode().Perm() != test.mode {
				t.Errorf("the mode is %v, %v; want %v", info.Mode(), err, test.mode)
			}
		})
	}
}

// 39. Go has no bindings: a property reads back what was set.
func TestQLocalSocket_serverBindingsAndProperties(t *testing.T) {
	var srv local.Server
	for _, o := range []local.SocketOptions{local.GroupAccessOption, local.OtherAccessOption, local.NoOptions} {
		if srv.SetSocketOptions(o); srv.SocketOptions() != o {
			t.Errorf("set %d, read %d", o, srv.SocketOptions())
		}
	}
}

// 40.
func TestQLocalSocket_socketBindings(t *testing.T) {
	var c local.Socket
	for _, o := range []local.SocketOptions{local.AbstractNamespaceOption, local.NoOptions} {
		if err := c.SetSocketOptions(o); err != nil || c.SocketOptions() != o {
			t.Errorf("set %d, read %d, %v", o, c.SocketOptions(), err)
		}
	}
}
