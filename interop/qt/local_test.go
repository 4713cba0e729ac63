//go:build unix

// Our local.Server and local.Socket against QLocalSocket and QLocalServer: the same names, the same bytes, the same ends, in both vocabularies.

package qt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"anteroom/datastream"
	"anteroom/local"
	"anteroom/sock"
)

// A place is a name as both sides write it.
type place struct {
	ours    string
	options local.SocketOptions
	qt      []string // the peer's NAME and options
}

// places are the ways to name a server. Each makes a free name; what it sets in the environment reaches us and the peer.
var places = []struct {
	name     string
	firstQt  int // the first Qt that knows it
	abstract bool
	make     func(t *testing.T) place
}{
	{"bare name", 5, false, func(t *testing.T) place {
		t.Setenv("TMPDIR", "") // so that it is put back
		os.Unsetenv("TMPDIR")
		name := bareName()
		t.Cleanup(func() { os.Remove(filepath.Join(os.TempDir(), name)) })
		return place{ours: name, qt: []string{name}}
	}},
	{"bare name and TMPDIR", 5, false, func(t *testing.T) place {
		t.Setenv("TMPDIR", shortDir(t))
		name := bareName() + "-ü"
		return place{ours: name, qt: []string{name}}
	}},
	{"path", 5, false, func(t *testing.T) place {
		path := socketPath(t)
		return place{ours: path, qt: []string{path}}
	}},
	{"abstract option", 6, true, func(t *testing.T) place {
		name := bareName()
		return place{ours: name, options: local.AbstractNamespaceOption, qt: []string{name, "--abstract"}}
	}},
	{"@name", 6, true, func(t *testing.T) place {
		name := bareName()
		return place{ours: "@" + name, qt: []string{name, "--abstract"}}
	}},
}

// A vocabulary is one of the two ways to use a server and a socket.
type vocabulary struct {
	name    string
	take    func(t *testing.T, srv *local.Server) *local.Socket
	connect func(t *testing.T, p place) *local.Socket
	send    func(t *testing.T, s *local.Socket, b []byte) // all of b, and then the end
	fetch   func(t *testing.T, s *local.Socket) string    // one QString
	receive func(t *testing.T, s *local.Socket) []byte    // up to the peer's end
}

var vocabularies = []vocabulary{
	{"net", acceptConn, connectContext, writeAndClose, readString, readConn},
	{"Qt", nextPending, connectToServer, writeBuffered, readTransaction, readAvailable},
}

func acceptConn(t *testing.T, srv *local.Server) *local.Socket {
	t.Helper()
	c := accept(t, srv)
	return c.(*local.Socket)
}

func connectContext(t *testing.T, p place) *local.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newSocket(t, p)
	if err := s.ConnectContext(ctx, p.ours); err != nil {
		t.Fatal(err)
	}
	return s
}

func writeAndClose(t *testing.T, s *local.Socket, b []byte) {
	t.Helper()
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func readString(t *testing.T, s *local.Socket) string {
	t.Helper()
	r := datastream.NewReader(s)
	text := r.String()
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return text
}

func readConn(t *testing.T, s *local.Socket) []byte {
	t.Helper()
	return readAll(t, s)
}

func nextPending(t *testing.T, srv *local.Server) *local.Socket {
	t.Helper()
	if err := srv.WaitForNewConnection(patience); err != nil {
		t.Fatal(err)
	}
	s := srv.NextPendingConnection()
	if s == nil {
		t.Fatal("WaitForNewConnection is nil, and so is NextPendingConnection")
	}
	t.Cleanup(s.Abort)
	return s
}

func connectToServer(t *testing.T, p place) *local.Socket {
	t.Helper()
	s := newSocket(t, p)
	if err := s.ConnectToServer(p.ours, sock.ReadWrite); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitForConnected(patience); err != nil {
		t.Fatal(err)
	}
	return s
}

func writeBuffered(t *testing.T, s *local.Socket, b []byte) {
	t.Helper()
	if n, err := s.WriteBuffered(b); n != len(b) || err != nil {
		t.Fatalf("WriteBuffered: got %d, %v, want %d", n, err, len(b))
	}
	s.DisconnectFromServer()
	waitForOurEnd(t, s)
	if n := s.BytesToWrite(); n != 0 {
		t.Errorf("disconnected with %d bytes to write", n)
	}
}

// readTransaction is the heart of Qt's local fortune client.
func readTransaction(t *testing.T, s *local.Socket) string {
	t.Helper()
	r := datastream.NewReader(datastream.ReaderFunc(s.ReadAvailable))
	for {
		r.StartTransaction()
		text := r.String()
		if r.CommitTransaction() {
			return text
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		waitForMore(t, s)
	}
}

// waitForMore waits for bytes or the peer's end; which it was the next read says.
func waitForMore(t *testing.T, s *local.Socket) {
	t.Helper()
	if err := s.WaitForReadyRead(patience); err != nil && !errors.Is(err, local.PeerClosedError) {
		t.Fatal(err)
	}
}

func readAvailable(t *testing.T, s *local.Socket) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := s.ReadAvailable(buf)
		all = append(all, buf[:n]...)
		switch {
		case err == io.EOF:
			if s.State() != sock.UnconnectedState || !errors.Is(s.Err(), local.PeerClosedError) {
				t.Errorf("after the peer's end: state %v, error %v", s.State(), s.Err())
			}
			return all
		case err != nil:
			t.Fatal(err)
		case n > 0:
			continue
		}
		waitForMore(t, s)
	}
}

func newSocket(t *testing.T, p place) *local.Socket {
	s := new(local.Socket)
	s.SetSocketOptions(p.options)
	t.Cleanup(s.Abort)
	return s
}

func listenAt(t *testing.T, p place) *local.Server {
	t.Helper()
	srv := new(local.Server)
	srv.SetSocketOptions(p.options)
	if err := srv.Listen(p.ours); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

func encodeString(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := datastream.NewWriter(&b)
	w.String(text)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// eachVocabulary runs f for both Qts and both vocabularies.
func eachVocabulary(t *testing.T, f func(t *testing.T, major int, v vocabulary)) {
	eachQt(t, func(t *testing.T, major int) {
		for _, v := range vocabularies {
			t.Run(v.name, func(t *testing.T) { f(t, major, v) })
		}
	})
}

// eachPlace runs f for both Qts, both vocabularies and every kind of name that this Qt and this system know.
func eachPlace(t *testing.T, f func(t *testing.T, major int, v vocabulary, p place)) {
	eachVocabulary(t, func(t *testing.T, major int, v vocabulary) {
		for _, kind := range places {
			if major < kind.firstQt || kind.abstract && runtime.GOOS != "linux" {
				continue
			}
			t.Run(kind.name, func(t *testing.T) { f(t, major, v, kind.make(t)) })
		}
	})
}

func TestServerGivesFortunesToQt(t *testing.T) {
	eachPlace(t, func(t *testing.T, major int, v vocabulary, p place) {
		srv := listenAt(t, p)
		for _, fortune := range fortunes {
			client := startPeer(t, major, nil, append([]string{"local-fortune-client"}, p.qt...)...)
			v.send(t, v.take(t, srv), encodeString(t, fortune.text))
			if got := unescape(t, client.expect(t, "fortune ")); got != fortune.text {
				t.Errorf("%s: Qt got %.100q", fortune.name, got)
			}
			wantDone(t, client)
		}
	})
}

func TestSocketFetchesFortunesFromQt(t *testing.T) {
	eachPlace(t, func(t *testing.T, major int, v vocabulary, p place) {
		for _, fortune := range fortunes {
			args := []string{"local-fortune-server", "--text", fortune.text, "--count", "1"}
			server := startPeer(t, major, nil, slices.Insert(args, 1, p.qt...)...)
			server.expect(t, "listening ")
			s := v.connect(t, p)
			if got := v.fetch(t, s); got != fortune.text {
				t.Errorf("%s: got %.100q", fortune.name, got)
			}
			if rest := v.receive(t, s); len(rest) != 0 {
				t.Errorf("%s: %d bytes more than one fortune", fortune.name, len(rest))
			}
			s.Close()
			wantDone(t, server) // so that its name is free again
		}
	})
}

func TestServerExchangesMegabytesWithQt(t *testing.T) {
	eachVocabulary(t, func(t *testing.T, major int, v vocabulary) {
		p := place{ours: socketPath(t)}
		srv := listenAt(t, p)

		client := startPeer(t, major, nil, "local-recv", p.ours)
		v.send(t, v.take(t, srv), pattern(threeMiB))
		wantSummary(t, client.expect(t, "received "))
		wantDone(t, client)

		client = startPeer(t, major, nil, "local-send", p.ours, "--bytes", fmt.Sprint(threeMiB))
		wantSummary(t, summary(v.receive(t, v.take(t, srv))))
		wantDone(t, client)
	})
}

func TestSocketExchangesMegabytesWithQt(t *testing.T) {
	eachVocabulary(t, func(t *testing.T, major int, v vocabulary) {
		p := place{ours: socketPath(t)}

		server := startPeer(t, major, nil, "local-recv-server", p.ours, "--count", "1")
		server.expect(t, "listening ")
		v.send(t, v.connect(t, p), pattern(threeMiB))
		wantSummary(t, server.expect(t, "received "))
		wantDone(t, server)

		server = startPeer(t, major, nil, "local-send-server", p.ours, "--bytes", fmt.Sprint(threeMiB), "--count", "1")
		server.expect(t, "listening ")
		wantSummary(t, summary(v.receive(t, v.connect(t, p))))
		wantDone(t, server)
	})
}
