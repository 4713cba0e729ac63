//go:build unix

// Conversations between a local.Socket and a script on real Qt, step by step: what our callbacks are told, in which order, in which state, and
// how each conversation ends. Where a signal's state is not said, it may be another one: a callback runs beside whoever moves the socket on.

package qt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"anteroom/local"
	"anteroom/sock"
)

// A diary is what a socket's callbacks were told, a line each: the signal, and the state in which the callback found the socket.
type diary struct{ transcript }

func newDiary() *diary {
	d := new(diary)
	d.more = make(chan struct{}, 1)
	return d
}

// keep registers every callback of s.
func (d *diary) keep(s *local.Socket) {
	d.keepAllButReadyRead(s)
	s.OnReadyRead(func() { d.note(s, "readyRead") })
}

func (d *diary) keepAllButReadyRead(s *local.Socket) {
	s.OnStateChanged(func(st sock.State) { d.note(s, st.String()) })
	s.OnConnected(func() { d.note(s, "connected") })
	s.OnDisconnected(func() { d.note(s, "disconnected") })
	s.OnErrorOccurred(func(code sock.SocketError) { d.note(s, "error "+code.Name()) })
	s.OnBytesWritten(func(n int64) { d.note(s, fmt.Sprintf("bytesWritten %d", n)) })
}

func (d *diary) note(s *local.Socket, signal string) { fmt.Fprintf(d, "%s in %v\n", signal, s.State()) }

// await waits for the next line that begins with prefix, and skips those before it.
func (d *diary) await(t testing.TB, prefix string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		line, ok, _ := d.next()
		switch {
		case ok && strings.HasPrefix(line, prefix):
			return
		case ok:
			continue
		}
		select {
		case <-d.more:
		case <-timeout:
			t.Fatalf("no %q within %v; there were\n%s", prefix, patience, d)
		}
	}
}

// bytesWritten returns the sum of what that signal told.
func (d *diary) bytesWritten() (sum int) {
	for line := range strings.Lines(d.String()) {
		var n int
		if _, err := fmt.Sscanf(line, "bytesWritten %d", &n); err == nil {
			sum += n
		}
	}
	return sum
}

// want checks the whole diary. Bytes come in any number of pieces, so that readyRead after readyRead is one; bytesWritten has its own sum
// and is left out. A signal is wanted in any state if none is said.
func (d *diary) want(t testing.TB, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(d.String()) {
		line = strings.TrimSpace(line)
		again := strings.HasPrefix(line, "readyRead") && len(got) > 0 && got[len(got)-1] == line
		if !again && !strings.HasPrefix(line, "bytesWritten") {
			got = append(got, line)
		}
	}
	same := func(got, want string) bool { return got == want || strings.HasPrefix(got, want+" in ") }
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("callbacks were told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// peersEnd is what callbacks are told when the peer has ended the connection.
var peersEnd = []string{
	"error RemoteHostClosedError in ConnectedState",
	"ClosingState in ClosingState",
	"UnconnectedState in UnconnectedState",
	"disconnected in UnconnectedState",
}

// peersEndBesideOurs is the same while something else of ours may be telling callbacks, such as that bytes were written: then the states
// have moved on.
var peersEndBesideOurs = []string{
	"error RemoteHostClosedError",
	"ClosingState",
	"UnconnectedState in UnconnectedState",
	"disconnected in UnconnectedState",
}

// ourEnd is what they are told when we have.
var ourEnd = []string{"ClosingState", "UnconnectedState in UnconnectedState", "disconnected in UnconnectedState"}

// A meeting is one connection between us and a script on Qt.
type meeting struct {
	s     *local.Socket
	qt    *peer
	diary *diary   // nil unless callbacks are registered
	begun []string // what they are told when the connection is made
}

// wantDiary checks all that was told of the connection.
func (m *meeting) wantDiary(t testing.TB, parts ...[]string) {
	t.Helper()
	m.diary.want(t, slices.Concat(append([][]string{m.begun}, parts...)...)...)
}

// roles are the two sides on which we can be.
var roles = []struct {
	name string
	meet func(t *testing.T, major int, d *diary) *meeting
}{{"our client", meetServer}, {"our server", meetClient}}

// meetServer connects us to Qt's server. D may be nil.
func meetServer(t *testing.T, major int, d *diary) *meeting {
	t.Helper()
	m := &meeting{diary: d, begun: []string{"ConnectingState in ConnectingState", "ConnectedState in ConnectedState", "connected in ConnectedState"}}
	path := socketPath(t)
	m.qt = startListening(t, major, path)
	m.s = newSocket(t, place{})
	if d != nil {
		d.keep(m.s)
	}
	m.connect(t, path)
	wantResult(t, m.qt, "next", "1")
	return m
}

func (m *meeting) connect(t *testing.T, path string) {
	t.Helper()
	if err := m.s.ConnectToServer(path, sock.ReadWrite); err != nil {
		t.Fatal(err)
	}
	if err := m.s.WaitForConnected(patience); err != nil {
		t.Fatal(err)
	}
	m.qt.expect(t, "newConnection")
}

// meetClient takes a connection from Qt's client. D may be nil.
func meetClient(t *testing.T, major int, d *diary) *meeting {
	t.Helper()
	p := place{ours: socketPath(t)}
	srv := listenAt(t, p)
	m := &meeting{diary: d, qt: startPeer(t, major, nil, "local-client-script", p.ours)}
	wantResult(t, m.qt, "connect", "3")
	m.s = nextPending(t, srv)
	if d != nil {
		d.keep(m.s)
	}
	return m
}

// startListening starts a script with a listening server.
func startListening(t testing.TB, major int, path string, options ...string) *peer {
	t.Helper()
	qt := startPeer(t, major, nil, append([]string{"local-server-script", path}, options...)...)
	qt.send(t, "listen")
	if got := qt.expect(t, "listening "); got != path {
		t.Fatalf("%s: listens on %q, want %q", qt.title, got, path)
	}
	return qt
}

// eachMeeting runs f for both Qts and in both roles.
func eachMeeting(t *testing.T, f func(t *testing.T, m *meeting)) {
	eachRole(t, func(*testing.T) *diary { return nil }, f)
}

// eachWatchedMeeting runs f likewise, with a diary of everything.
func eachWatchedMeeting(t *testing.T, f func(t *testing.T, m *meeting)) {
	eachRole(t, func(t *testing.T) *diary {
		d := newDiary()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("our callbacks were told\n%s", d)
			}
		})
		return d
	}, f)
}

func eachRole(t *testing.T, diary func(t *testing.T) *diary, f func(t *testing.T, m *meeting)) {
	eachQt(t, func(t *testing.T, major int) {
		for _, role := range roles {
			t.Run(role.name, func(t *testing.T) { f(t, role.meet(t, major, diary(t))) })
		}
	})
}

// say makes Qt send text in one piece, and returns when it is on its way.
func (m *meeting) say(t testing.TB, text string) {
	t.Helper()
	var commands strings.Builder
	for line := range strings.Lines(text) {
		if whole, ok := strings.CutSuffix(line, "\n"); ok {
			fmt.Fprintf(&commands, "write-line %s\n", whole)
		} else {
			fmt.Fprintf(&commands, "write-text %s\n", line)
		}
	}
	m.qt.send(t, commands.String()+"flush")
	m.qt.expect(t, "= flush true")
}

// sayPattern makes Qt send the first n bytes of the pattern, and returns when they are on their way.
func (m *meeting) sayPattern(t testing.TB, n int) {
	t.Helper()
	m.qt.send(t, fmt.Sprintf("write %d\nflush", n))
	m.qt.expect(t, "= flush true")
}

// sayPatternAndDisconnect makes Qt send the first n bytes of the pattern and then end the connection, without a look at its event loop between.
func (m *meeting) sayPatternAndDisconnect(t testing.TB, n int) {
	t.Helper()
	m.qt.send(t, fmt.Sprintf("write %d\ndisconnect", n))
	m.qt.expect(t, "= disconnect ")
}

// stopReading makes Qt leave all but a byte in the system, so that whoever sends much has to wait.
func (m *meeting) stopReading(t testing.TB) { t.Helper(); wantResult(t, m.qt, "readbuffer 1", "1") }
func (m *meeting) goOnReading(t testing.TB) { t.Helper(); wantResult(t, m.qt, "readbuffer 0", "0") }

// waitForOurEnd waits until an end that we have made is through. If that was before, there is nothing to wait for, and the wait says so.
func waitForOurEnd(t testing.TB, s *local.Socket) {
	t.Helper()
	if err := s.WaitForDisconnected(patience); err != nil && !errors.Is(err, local.OperationError) {
		t.Error(err)
	}
	wantState(t, s, sock.UnconnectedState)
}

// readUnread returns what is unread on a socket whose connection has ended.
func readUnread(t testing.TB, s *local.Socket) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := s.ReadAvailable(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all
		}
		if err != nil || n == 0 {
			t.Fatalf("ReadAvailable after the end: got %d, %v", n, err)
		}
	}
}

func queue(t testing.TB, s *local.Socket, b []byte) {
	t.Helper()
	if n, err := s.WriteBuffered(b); n != len(b) || err != nil {
		t.Fatalf("WriteBuffered: got %d, %v, want %d", n, err, len(b))
	}
}

func wantState(t testing.TB, s *local.Socket, want sock.State) {
	t.Helper()
	if got := s.State(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// wantCode checks an error that a call has returned.
func wantCode(t testing.TB, call string, err error, want sock.SocketError) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %s", call, err, want.Name())
	}
}

// wantLastError checks the socket's last error, in all its forms.
func wantLastError(t testing.TB, s *local.Socket, want sock.SocketError) {
	t.Helper()
	if got := s.SocketError(); got != want || (s.Err() == nil) != (want == sock.NoError) || (s.ErrorString() == "") != (want == sock.NoError) {
		t.Errorf("last error: got %s, %v, %q, want %s", got.Name(), s.Err(), s.ErrorString(), want.Name())
	}
}

func wantBytes(t testing.TB, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got %s (% x …), want %s (% x …)", summary(got), head(got), summary(want), head(want))
	}
}

// wantPeersEnd checks how Qt was told of the end that we have made.
func wantPeersEnd(t testing.TB, qt *peer) {
	t.Helper()
	qt.expect(t, "disconnected")
	want := []string{"state 6", "state 0", "readChannelFinished", "disconnected"}
	if got := qt.stdout.since("error 1 QLocalSocket: Remote closed"); !slices.Equal(got, want) {
		t.Errorf("after our end Qt had signals %q, want %q", got, want)
	}
}
