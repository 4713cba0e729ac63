//go:build unix

// Conversations between a local.Socket and a script on real Qt, step by step: what our callbacks are told, in which order, in which state, and
// how each conversation ends. Where a signal's state is not said, it may be another one: a callback runs beside whoever moves the socket on.

package qt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
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

// longLine is the line of Qt's own test of sending: more than one read or write of most programs.
var longLine = strings.Repeat("hello", 10_000) + "end\n"

func TestSocketReadsLongLine(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.qt.send(t, "write-line "+strings.TrimSuffix(longLine, "\n"))
		for !m.s.CanReadLine() {
			if err := m.s.WaitForReadyRead(patience); err != nil {
				t.Fatal(err)
			}
		}
		if line, err := m.s.ReadLine(0); string(line) != longLine || err != nil {
			t.Errorf("ReadLine: got %d bytes, %v, want %d", len(line), err, len(longLine))
		}
		if n := m.s.BytesToWrite(); n != 0 {
			t.Errorf("%d bytes to write, and nothing was written", n)
		}
		if m.s.Flush() {
			t.Error("Flush is true with nothing to send")
		}
		wantLastError(t, m.s, sock.NoError)
		m.s.DisconnectFromServer()
		wantState(t, m.s, sock.UnconnectedState)
		wantPeersEnd(t, m.qt)
	})
}

func TestSocketReadsLongLineInCallbacks(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		read := make(chan string, 1)
		m.s.OnReadyRead(func() {
			if m.s.BytesAvailable() == 0 {
				t.Error("readyRead with nothing to read")
			}
			if m.s.CanReadLine() {
				line, _ := m.s.ReadLine(0)
				read <- string(line)
			}
		})
		m.qt.send(t, "write-line "+strings.TrimSuffix(longLine, "\n"))
		if line := receiveSoon(t, read); line != longLine {
			t.Errorf("got %d bytes, want %d", len(line), len(longLine))
		}
		m.s.DisconnectFromServer()
		m.diary.await(t, "disconnected")
		m.wantDiary(t, []string{"readyRead in ConnectedState"}, ourEnd)
		wantLastError(t, m.s, sock.NoError)
		wantPeersEnd(t, m.qt)
	})
}

func TestSocketSendsLongLine(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		queue(t, m.s, []byte(longLine))
		for m.s.BytesToWrite() > 0 {
			if err := m.s.WaitForBytesWritten(patience); err != nil {
				t.Fatal(err)
			}
		}
		if m.s.Flush() {
			t.Error("Flush is true after all was sent")
		}
		for m.qt.do(t, "bytes") != fmt.Sprintf("%d 0", len(longLine)) {
			m.qt.expect(t, "readyRead ")
		}
		if got := unescape(t, m.qt.do(t, "readline")); got != fmt.Sprintf("%d %s", len(longLine), longLine) {
			t.Errorf("Qt read %.100q", got)
		}
		wantResult(t, m.qt, "disconnect", "0")
		m.diary.await(t, "disconnected")
		m.wantDiary(t, peersEndBesideOurs)
		if n := m.diary.bytesWritten(); n != len(longLine) {
			t.Errorf("bytesWritten told of %d bytes, want %d", n, len(longLine))
		}
	})
}

func receiveSoon[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("nothing within %v", patience)
	}
	return v
}

func TestSocketReadLineTakesChunksAsTheyCome(t *testing.T) {
	type step struct {
		chunk string
		lines []string
	}
	tests := []struct {
		name  string
		max   int
		whole bool // only when CanReadLine says so
		steps []step
		rest  []string // after the end
	}{
		{"whole lines", 80, true, []step{
			{"\n", []string{"\n"}}, {"a", nil}, {"\n", []string{"a\n"}}, {"b", nil}, {"cd", nil}, {"e\n", []string{"bcde\n"}},
		}, nil},
		{"several at once", 80, true, []step{
			{"one\ntwo\n\nth", []string{"one\n", "two\n", "\n"}}, {"ree\nfour", []string{"three\n"}},
		}, []string{"four"}},
		{"no limit", 0, true, []step{{"ab", nil}, {"c\nd", []string{"abc\n"}}, {"\n", []string{"d\n"}}}, nil},
		{"byte by byte", 1, false, []step{{"\na\nb\n", []string{"\n", "a", "\n", "b", "\n"}}, {"c", []string{"c"}}}, nil},
		{"two bytes", 2, false, []step{{"a\n\n\nb", []string{"a\n", "\n", "\n", "b"}}, {"cde\n", []string{"cd", "e\n"}}}, nil},
		{"three bytes", 3, false, []step{{"abcdef\ngh", []string{"abc", "def", "\n", "gh"}}, {"\n", []string{"\n"}}}, nil},
		{"what there is", 80, false, []step{{"a", []string{"a"}}, {"b\nc", []string{"b\n", "c"}}, {"\n", []string{"\n"}}}, nil},
		{"limit within a line", 4, true, []step{{"ab", nil}, {"cdef\ng", []string{"abcd", "ef\n"}}}, []string{"g"}},
		{"all after the end", 80, true, []step{{"a", nil}, {"b", nil}}, []string{"ab"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachMeeting(t, func(t *testing.T, m *meeting) {
				for _, step := range test.steps {
					m.say(t, step.chunk)
					if err := m.s.WaitForReadyRead(patience); err != nil {
						t.Fatal(err)
					}
					var lines []string
					for test.whole && m.s.CanReadLine() || !test.whole && m.s.BytesAvailable() > 0 {
						line, err := m.s.ReadLine(test.max)
						if err != nil {
							t.Fatal(err)
						}
						lines = append(lines, string(line))
					}
					if !slices.Equal(lines, step.lines) {
						t.Errorf("after %q: got lines %q, want %q", step.chunk, lines, step.lines)
					}
				}
				if !test.whole { // all that came was read
					if line, err := m.s.ReadLine(test.max); len(line) > 0 || err != nil {
						t.Errorf("ReadLine with nothing there: got %q, %v", line, err)
					}
				}
				wantResult(t, m.qt, "disconnect", "0")
				if err := m.s.WaitForDisconnected(patience); err != nil {
					t.Fatal(err)
				}
				var rest []string
				line, err := m.s.ReadLine(test.max)
				for ; err == nil && len(line) > 0; line, err = m.s.ReadLine(test.max) {
					rest = append(rest, string(line))
				}
				if err != io.EOF || !slices.Equal(rest, test.rest) {
					t.Errorf("after the end: got lines %q and %v, want %q and EOF", rest, err, test.rest)
				}
				wantState(t, m.s, sock.UnconnectedState)
			})
		})
	}
}

func TestSocketSkipLeavesWhatFollows(t *testing.T) {
	tests := []struct {
		name             string
		n                int
		first            int
		skip, skipped    int64
		thenEnd          bool
		beforeDisconnect bool
	}{
		{"a few", 10, 3, 6, 6, false, false},
		{"a few while connected", 10, 3, 6, 6, false, true},
		{"many", 20_000, 1, 10_000, 10_000, false, false},
		{"many while connected", 20_000, 1, 10_000, 10_000, false, true},
		{"more than there are", 20_000, 1, 20_000, 19_999, true, false},
		{"more than there are while connected", 20_000, 1, 20_000, 19_999, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachMeeting(t, func(t *testing.T, m *meeting) {
				m.sayPattern(t, test.n)
				atEnd := io.EOF
				if test.beforeDisconnect {
					atEnd = nil
				} else {
					wantResult(t, m.qt, "disconnect", "0")
					if err := m.s.WaitForDisconnected(patience); err != nil {
						t.Fatal(err)
					}
				}
				sent := pattern(test.n)
				got := make([]byte, test.first)
				if n, err := m.s.ReadAvailable(got); n != test.first || err != nil {
					t.Fatalf("ReadAvailable: got %d, %v, want %d", n, err, test.first)
				}
				wantBytes(t, got, sent[:test.first])
				if n, err := m.s.Skip(test.skip); n != test.skipped || err != nil {
					t.Fatalf("Skip(%d): got %d, %v, want %d", test.skip, n, err, test.skipped)
				}
				if !test.thenEnd {
					next := test.first + int(test.skip)
					if b, err := m.s.Peek(1); len(b) != 1 || b[0] != sent[next] || err != nil {
						t.Errorf("Peek(1) after Skip: got % x, %v, want %02x", b, err, sent[next])
					}
					return
				}
				if n, err := m.s.Skip(1); n != 0 || err != atEnd {
					t.Errorf("Skip with nothing there: got %d, %v, want 0, %v", n, err, atEnd)
				}
				if n, err := m.s.ReadAvailable(got); n != 0 || err != atEnd {
					t.Errorf("ReadAvailable with nothing there: got %d, %v, want 0, %v", n, err, atEnd)
				}
			})
		})
	}
}

func TestSocketReadBufferHoldsBackThePeersEnd(t *testing.T) {
	const limit, sent = 128, 1000
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.s.SetReadBufferSize(limit)
		m.sayPatternAndDisconnect(t, sent)
		var all []byte
		buf := make([]byte, limit)
		for len(all) < sent {
			if err := m.s.WaitForReadyRead(patience); err != nil {
				t.Fatalf("after %d bytes: %v", len(all), err)
			}
			if got, want := m.s.BytesAvailable(), int64(min(limit, sent-len(all))); got != want {
				t.Errorf("after %d bytes: %d available, want %d", len(all), got, want)
			}
			if sent-len(all) > limit {
				// The end comes after what is still in the system, however long one waits for it.
				wantCode(t, "WaitForDisconnected", m.s.WaitForDisconnected(time.Millisecond), local.SocketTimeoutError)
				wantState(t, m.s, sock.ConnectedState)
			}
			n, err := m.s.ReadAvailable(buf)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(all), err)
			}
			all = append(all, buf[:n]...)
		}
		wantBytes(t, all, pattern(sent))
		wantCode(t, "WaitForReadyRead", m.s.WaitForReadyRead(patience), local.PeerClosedError)
		wantState(t, m.s, sock.UnconnectedState)
		wantLastError(t, m.s, local.PeerClosedError)
		if n, err := m.s.ReadAvailable(buf); n != 0 || err != io.EOF {
			t.Errorf("ReadAvailable after the end: got %d, %v, want EOF", n, err)
		}
	})
}

func TestSocketReadBufferHoldsBackThePeersEndFromCallbacks(t *testing.T) {
	const limit, sent = 128, 1000
	for _, step := range []int{limit, 100, 1} { // how much a callback reads: what it leaves makes less room
		t.Run(strconv.Itoa(step), func(t *testing.T) {
			eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
				m.s.SetReadBufferSize(limit)
				var all []byte // the callbacks' until disconnected
				m.s.OnReadyRead(func() {
					if n := m.s.BytesAvailable(); n < 1 || n > limit {
						t.Errorf("readyRead with %d bytes available", n)
					}
					buf := make([]byte, step)
					n, err := m.s.ReadAvailable(buf)
					if err != nil {
						t.Errorf("after %d bytes: %v", len(all), err)
					}
					all = append(all, buf[:n]...)
				})
				m.s.OnErrorOccurred(func(sock.SocketError) {
					if n := len(all); n < sent-limit {
						t.Errorf("told of the end after %d bytes", n)
					}
				})
				m.sayPatternAndDisconnect(t, sent)
				m.diary.await(t, "disconnected")
				m.wantDiary(t, []string{"readyRead in ConnectedState"}, peersEnd)
				rest := readUnread(t, m.s)
				if len(rest) > limit {
					t.Errorf("%d bytes unread at the end", len(rest))
				}
				wantBytes(t, append(all, rest...), pattern(sent))
			})
		})
	}
}

func TestSocketDisconnectSendsWhatIsQueued(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		queue(t, m.s, pattern(threeMiB))
		m.s.DisconnectFromServer()
		wantState(t, m.s, sock.ClosingState)
		if n := m.s.BytesToWrite(); n < threeMiB/2 || !m.s.IsValid() {
			t.Errorf("while closing: %d bytes to write, valid %v", n, m.s.IsValid())
		}
		wantCode(t, "WaitForDisconnected", m.s.WaitForDisconnected(time.Millisecond), local.SocketTimeoutError)
		wantState(t, m.s, sock.ClosingState)
		m.goOnReading(t)
		if err := m.s.WaitForDisconnected(patience); err != nil {
			t.Error(err)
		}
		wantState(t, m.s, sock.UnconnectedState)
		if n := m.s.BytesToWrite(); n != 0 {
			t.Errorf("disconnected with %d bytes to write", n)
		}
		m.diary.await(t, "disconnected")
		m.wantDiary(t, []string{"ClosingState in ClosingState", "error SocketTimeoutError in ClosingState", "UnconnectedState in UnconnectedState", "disconnected in UnconnectedState"})
		if n := m.diary.bytesWritten(); n != threeMiB {
			t.Errorf("bytesWritten told of %d bytes, want %d", n, threeMiB)
		}
		wantPeersEnd(t, m.qt)
		wantSummary(t, m.qt.do(t, "digest"))
	})
}

func TestSocketCloseSendsWhatIsQueued(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		queue(t, m.s, pattern(threeMiB))
		if err := m.s.Close(); err != nil {
			t.Error(err)
		}
		wantState(t, m.s, sock.ClosingState)
		m.goOnReading(t)
		m.diary.await(t, "disconnected")
		m.wantDiary(t, ourEnd)
		wantPeersEnd(t, m.qt)
		wantSummary(t, m.qt.do(t, "digest"))
	})
}

func TestSocketDisconnectWithBytesQueuedKeepsWhatHasArrived(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		m.say(t, "still unread")
		if err := m.s.WaitForReadyRead(patience); err != nil {
			t.Fatal(err)
		}
		queue(t, m.s, pattern(threeMiB))
		m.s.DisconnectFromServer()
		m.goOnReading(t)
		if err := m.s.WaitForDisconnected(patience); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := m.s.ReadAvailable(buf); string(buf[:n]) != "still unread" || err != nil {
			t.Errorf("ReadAvailable after the end: got %q, %v", buf[:n], err)
		}
		wantPeersEnd(t, m.qt)
		wantSummary(t, m.qt.do(t, "digest"))
	})
}

func TestSocketDisconnectKeepsWhatHasArrived(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.sayPattern(t, 1000)
		m.s.DisconnectFromServer()
		wantState(t, m.s, sock.UnconnectedState)
		wantPeersEnd(t, m.qt)
		if n := m.s.BytesAvailable(); n != 1000 {
			t.Errorf("%d bytes available, want 1000", n)
		}
		wantBytes(t, readUnread(t, m.s), pattern(1000))
	})
}

func TestSocketAbortDropsWhatIsQueued(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		queue(t, m.s, pattern(threeMiB))
		m.s.Abort()
		wantState(t, m.s, sock.UnconnectedState)
		if n := m.s.BytesToWrite(); n != 0 {
			t.Errorf("aborted with %d bytes to write", n)
		}
		m.diary.await(t, "disconnected")
		m.wantDiary(t, []string{"UnconnectedState in UnconnectedState", "disconnected in UnconnectedState"})
		m.qt.send(t, "readbuffer 0") // it may have met the end already
		wantPeersEnd(t, m.qt)
		digest := m.qt.do(t, "digest")
		n, _ := strconv.Atoi(strings.Fields(digest)[0])
		if n > threeMiB/2 || digest != summary(pattern(n)) {
			t.Errorf("Qt got %s of %d that were dropped", digest, threeMiB)
		}
	})
}

func TestSocketAbortWhileClosingDropsTheRest(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		queue(t, m.s, pattern(threeMiB))
		m.s.DisconnectFromServer()
		m.s.Abort()
		wantState(t, m.s, sock.UnconnectedState)
		m.diary.await(t, "disconnected")
		m.wantDiary(t, ourEnd)
		m.qt.send(t, "readbuffer 0") // it may have met the end already
		wantPeersEnd(t, m.qt)
	})
}

// In Qt, an aborted QLocalSocket that is connected again drops what it has queued whenever it is disconnected later.
func TestSocketConnectedAgainAfterAbortDisconnectsInOrder(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		m := meetServer(t, major, newDiary())
		path := m.s.FullServerName()
		for range 2 {
			m.stopReading(t)
			queue(t, m.s, pattern(threeMiB))
			m.s.Abort()
			m.diary.await(t, "disconnected")
			m.connect(t, path)
			m.qt.send(t, "next\nreadbuffer 1")
			m.qt.expect(t, "= readbuffer 1")
		}
		queue(t, m.s, pattern(threeMiB))
		m.s.DisconnectFromServer()
		wantState(t, m.s, sock.ClosingState)
		m.goOnReading(t)
		m.diary.await(t, "disconnected")
		aborted := []string{"UnconnectedState in UnconnectedState", "disconnected in UnconnectedState"}
		m.wantDiary(t, aborted, m.begun, aborted, m.begun, ourEnd)
		m.qt.expect(t, "3: disconnected")
		wantSummary(t, m.qt.do(t, "digest"))
	})
}

func TestSocketPeerKilledTellsErrorBeforeStates(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		m.sayPattern(t, 1000)
		m.qt.kill()
		m.diary.await(t, "disconnected")
		m.wantDiary(t, []string{"readyRead in ConnectedState"}, peersEnd)
		wantLastError(t, m.s, local.PeerClosedError)
		if m.s.IsValid() || m.s.FullServerName() != "" {
			t.Errorf("after the end: valid %v, full name %q", m.s.IsValid(), m.s.FullServerName())
		}
		wantBytes(t, readUnread(t, m.s), pattern(1000))
	})
}

func TestSocketPeerKilledInMidTransferKeepsWhatArrived(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		var all []byte // the callbacks' until disconnected
		enough := make(chan struct{})
		m.s.OnReadyRead(func() {
			b := make([]byte, m.s.BytesAvailable())
			n, err := m.s.ReadAvailable(b)
			if err != nil {
				t.Errorf("after %d bytes: %v", len(all), err)
			}
			before := len(all)
			if all = append(all, b[:n]...); before < threeMiB/8 && len(all) >= threeMiB/8 {
				close(enough)
			}
		})
		m.qt.send(t, fmt.Sprintf("write %d", threeMiB))
		receiveSoon(t, enough)
		m.qt.kill()
		m.diary.await(t, "disconnected")
		m.wantDiary(t, []string{"readyRead in ConnectedState"}, peersEnd)
		all = append(all, readUnread(t, m.s)...)
		wantBytes(t, all, pattern(threeMiB)[:len(all)])
	})
}

func TestSocketPeerKilledInMidTransferEndsQueue(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		queue(t, m.s, pattern(threeMiB))
		m.diary.await(t, "bytesWritten")
		m.qt.kill()
		m.diary.await(t, "disconnected")
		m.wantDiary(t, peersEndBesideOurs)
		wantLastError(t, m.s, local.PeerClosedError)
		if n := m.s.BytesToWrite(); n != 0 {
			t.Errorf("%d bytes to write after the end", n)
		}
		if n := m.diary.bytesWritten(); n >= threeMiB {
			t.Errorf("bytesWritten told of %d bytes, and most cannot have gone", n)
		}
		n, err := m.s.WriteBuffered([]byte("late"))
		wantCode(t, "WriteBuffered", err, local.PeerClosedError)
		if n != 0 {
			t.Errorf("WriteBuffered after the end: took %d bytes", n)
		}
	})
}

func TestSocketPeerKilledWhileItReadsTellsEndInOrder(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		queue(t, m.s, pattern(4*threeMiB))
		m.diary.await(t, "bytesWritten")
		m.qt.kill()
		m.diary.await(t, "disconnected")
		m.wantDiary(t, peersEndBesideOurs)
	})
}

func TestSocketPeerKilledWhileClosingEnds(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		queue(t, m.s, pattern(threeMiB))
		m.s.DisconnectFromServer()
		m.diary.await(t, "ClosingState")
		m.qt.kill()
		m.diary.await(t, "disconnected")
		m.wantDiary(t, []string{"ClosingState", "error RemoteHostClosedError in ClosingState", "UnconnectedState in UnconnectedState", "disconnected in UnconnectedState"})
		if n := m.s.BytesToWrite(); n != 0 {
			t.Errorf("%d bytes to write after the end", n)
		}
	})
}

func TestSocketPeerKilledEndsWaits(t *testing.T) {
	tests := []struct {
		name  string
		queue int
		wait  func(s *local.Socket) error
		want  sock.SocketError
	}{
		{"WaitForReadyRead", 0, func(s *local.Socket) error { return s.WaitForReadyRead(patience) }, local.PeerClosedError},
		{"WaitForDisconnected", 0, func(s *local.Socket) error { return s.WaitForDisconnected(patience) }, sock.NoError},
		{"WaitForBytesWritten", threeMiB, func(s *local.Socket) (err error) {
			for err == nil {
				err = s.WaitForBytesWritten(patience)
			}
			return err
		}, local.PeerClosedError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachMeeting(t, func(t *testing.T, m *meeting) {
				m.stopReading(t)
				m.sayPattern(t, 1000)
				if err := m.s.WaitForReadyRead(patience); err != nil {
					t.Fatal(err)
				}
				if test.queue > 0 { // not for the others: what is sent in the background may meet the end before they begin to wait
					queue(t, m.s, pattern(test.queue))
				}
				result := make(chan error, 1)
				go func() { result <- test.wait(m.s) }()
				m.qt.kill()
				if err := receiveSoon(t, result); sock.CodeOf(err) != test.want {
					t.Errorf("got %v, want %s", err, test.want.Name())
				}
				wantState(t, m.s, sock.UnconnectedState)
				wantLastError(t, m.s, local.PeerClosedError)
				if n := m.s.BytesToWrite(); n != 0 {
					t.Errorf("%d bytes to write after the end", n)
				}
				wantBytes(t, readUnread(t, m.s), pattern(1000))
			})
		})
	}
}

func TestSocketPeerKilledEndsReadAndWrite(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.sayPattern(t, 1000)
		read := make(chan []byte, 1)
		go func() {
			b, err := io.ReadAll(m.s)
			if err != nil {
				t.Errorf("Read: got %v, want EOF", err)
			}
			read <- b
		}()
		m.qt.kill()
		wantBytes(t, receiveSoon(t, read), pattern(1000))
		wantState(t, m.s, sock.ConnectedState)
		wantLastError(t, m.s, sock.NoError)
		_, err := m.s.Write([]byte("late"))
		wantCode(t, "Write", err, local.PeerClosedError)
		if err := m.s.Close(); err != nil {
			t.Error(err)
		}
		wantState(t, m.s, sock.UnconnectedState)
	})
}

func TestSocketPeerKilledEndsWriteUnderWay(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.stopReading(t)
		type result struct {
			n   int
			err error
		}
		wrote := make(chan result, 1)
		go func() {
			n, err := m.s.Write(pattern(threeMiB))
			wrote <- result{n, err}
		}()
		m.qt.expect(t, "readyRead 1")
		m.qt.kill()
		r := receiveSoon(t, wrote)
		wantCode(t, "Write", r.err, local.PeerClosedError)
		if r.n <= 0 || r.n >= threeMiB {
			t.Errorf("Write: got %d bytes of %d", r.n, threeMiB)
		}
		wantState(t, m.s, sock.ConnectedState)
		m.s.Close()
		wantState(t, m.s, sock.UnconnectedState)
	})
}

func TestSocketCloseWriteEndsQtsReading(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.sayPattern(t, 300)
		queue(t, m.s, pattern(threeMiB))
		if err := m.s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.s.WriteBuffered([]byte("late")); err == nil {
			t.Error("WriteBuffered after CloseWrite: no error")
		}
		wantPeersEnd(t, m.qt)
		wantSummary(t, m.qt.do(t, "digest"))
		wantState(t, m.s, sock.ConnectedState)
		wantBytes(t, readAll(t, m.s), pattern(300))
		wantState(t, m.s, sock.ConnectedState)
		m.s.Close()
		wantState(t, m.s, sock.UnconnectedState)
	})
}

func TestSocketReadMeetsQtsDisconnectAsHalfClose(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		m.sayPatternAndDisconnect(t, threeMiB)
		wantBytes(t, readAll(t, m.s), pattern(threeMiB))
		m.qt.expect(t, "disconnected")
		wantState(t, m.s, sock.ConnectedState)
		wantLastError(t, m.s, sock.NoError)
		if n, err := m.s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read again: got %d, %v, want EOF", n, err)
		}
		if err := m.s.Close(); err != nil {
			t.Error(err)
		}
		wantState(t, m.s, sock.UnconnectedState)
		wantLastError(t, m.s, sock.NoError)
	})
}

func TestSocketCallbacksMeetQtsDisconnectAsEnd(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		var all []byte // the callbacks' until disconnected
		m.s.OnReadyRead(func() {
			b := make([]byte, m.s.BytesAvailable())
			n, err := m.s.ReadAvailable(b)
			if n == 0 || err != nil {
				t.Errorf("after %d bytes: %d more, %v", len(all), n, err)
			}
			all = append(all, b[:n]...)
		})
		m.sayPatternAndDisconnect(t, threeMiB)
		m.diary.await(t, "disconnected")
		m.wantDiary(t, []string{"readyRead in ConnectedState"}, peersEnd)
		wantBytes(t, append(all, readUnread(t, m.s)...), pattern(threeMiB))
		wantLastError(t, m.s, local.PeerClosedError)
	})
}

func TestSocketCallbacksMeetAnEmptyConversation(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		wantResult(t, m.qt, "disconnect", "0")
		m.diary.await(t, "disconnected")
		m.wantDiary(t, peersEnd)
	})
}

func TestSocketWaitForReadyReadTimesOutAndGoesOn(t *testing.T) {
	eachWatchedMeeting(t, func(t *testing.T, m *meeting) {
		for _, timeout := range []time.Duration{0, time.Millisecond} {
			err := m.s.WaitForReadyRead(timeout)
			wantCode(t, "WaitForReadyRead", err, local.SocketTimeoutError)
			wantCode(t, "WaitForReadyRead", m.s.Err(), local.SocketTimeoutError)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v is not os.ErrDeadlineExceeded", err)
			}
			wantLastError(t, m.s, local.SocketTimeoutError)
			wantState(t, m.s, sock.ConnectedState)
		}
		m.say(t, "here\n")
		m.diary.await(t, "readyRead")
		if line, err := m.s.ReadLine(0); string(line) != "here\n" || err != nil {
			t.Errorf("ReadLine: got %q, %v", line, err)
		}
		if _, err := m.s.Write([]byte("there\n")); err != nil {
			t.Error(err)
		}
		m.qt.expect(t, "readyRead 6")
		wantResult(t, m.qt, "readline", `6 there\n`)
		wantResult(t, m.qt, "disconnect", "0")
		m.diary.await(t, "disconnected")
		timedOut := "error SocketTimeoutError in ConnectedState"
		m.wantDiary(t, []string{timedOut, timedOut, "readyRead in ConnectedState"}, peersEnd)
	})
}

func TestSocketWaitForReadyReadHearsWhatNoCallbackWasToldOf(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		newDiary().keepAllButReadyRead(m.s)
		for range 20 {
			m.say(t, "news\n")
			if err := m.s.WaitForReadyRead(time.Second); err != nil {
				t.Fatalf("with %d bytes unread: %v", m.s.BytesAvailable(), err)
			}
			if line, err := m.s.ReadLine(0); string(line) != "news\n" || err != nil {
				t.Fatalf("ReadLine: got %q, %v", line, err)
			}
		}
	})
}

func TestSocketWaitForDisconnectedReturnsWhenQtDisconnects(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		wantCode(t, "WaitForDisconnected", m.s.WaitForDisconnected(0), local.SocketTimeoutError)
		wantCode(t, "WaitForDisconnected", m.s.WaitForDisconnected(time.Millisecond), local.SocketTimeoutError)
		wantState(t, m.s, sock.ConnectedState)
		result := make(chan error, 1)
		go func() { result <- m.s.WaitForDisconnected(patience) }()
		m.sayPatternAndDisconnect(t, threeMiB)
		if err := receiveSoon(t, result); err != nil {
			t.Error(err)
		}
		wantState(t, m.s, sock.UnconnectedState)
		wantLastError(t, m.s, local.PeerClosedError)
		wantBytes(t, readUnread(t, m.s), pattern(threeMiB))
		wantCode(t, "WaitForDisconnected after the peer's end", m.s.WaitForDisconnected(patience), local.PeerClosedError)
	})
}

func TestSocketWaitForBytesWrittenSendsToQt(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		wantCode(t, "WaitForBytesWritten", m.s.WaitForBytesWritten(patience), local.OperationError)
		m.stopReading(t)
		queue(t, m.s, pattern(threeMiB))
		err := m.s.WaitForBytesWritten(patience)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil { // until Qt's end is full
			err = m.s.WaitForBytesWritten(time.Millisecond)
		}
		wantCode(t, "WaitForBytesWritten", err, local.SocketTimeoutError)
		wantState(t, m.s, sock.ConnectedState)
		m.goOnReading(t)
		for m.s.BytesToWrite() > 0 {
			if err := m.s.WaitForBytesWritten(patience); err != nil {
				t.Fatal(err)
			}
		}
		m.s.DisconnectFromServer()
		wantPeersEnd(t, m.qt)
		wantSummary(t, m.qt.do(t, "digest"))
	})
}

func TestQtWaitsForUs(t *testing.T) {
	eachMeeting(t, func(t *testing.T, m *meeting) {
		wantResult(t, m.qt, "wait-connected 0", "true")
		wantResult(t, m.qt, "wait-ready 1", "false")
		wantResult(t, m.qt, "error", "5 QLocalSocket: Socket operation timed out")
		m.qt.send(t, fmt.Sprintf("wait-ready %d", patience.Milliseconds()))
		if _, err := m.s.Write([]byte("now\n")); err != nil {
			t.Fatal(err)
		}
		if got := m.qt.expect(t, "= wait-ready "); got != "true" {
			t.Errorf("wait-ready: got %s", got)
		}
		wantResult(t, m.qt, "readline", `4 now\n`)
		m.qt.send(t, fmt.Sprintf("wait-disconnected %d", patience.Milliseconds()))
		m.s.DisconnectFromServer()
		if got := m.qt.expect(t, "= wait-disconnected "); got != "true" {
			t.Errorf("wait-disconnected: got %s", got)
		}
	})
}

func TestSocketWriteOnlyNoticesQtsEnd(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		path := socketPath(t)
		qt := startListening(t, major, path)
		s := newSocket(t, place{})
		d := newDiary()
		d.keep(s)
		if err := s.ConnectToServer(path, sock.WriteOnly); err != nil {
			t.Fatal(err)
		}
		qt.expect(t, "newConnection")
		wantResult(t, qt, "next", "1")
		queue(t, s, []byte("one way\n"))
		qt.expect(t, "readyRead 8")
		qt.send(t, fmt.Sprintf("write %d\ndisconnect", threeMiB))
		d.await(t, "disconnected")
		d.want(t, append([]string{"ConnectingState in ConnectingState", "ConnectedState in ConnectedState", "connected in ConnectedState"}, peersEnd...)...)
		if n := s.BytesAvailable(); n != 0 {
			t.Errorf("%d bytes available in a WriteOnly socket", n)
		}
	})
}

func TestSocketKnowsQtServersNames(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		t.Run("path", func(t *testing.T) {
			m := meetServer(t, major, nil)
			path := m.s.FullServerName()
			if major >= 6 { // Qt 5 gives what it accepts no name
				wantResult(t, m.qt, "name", filepath.Base(path)+" "+path)
			}
			if m.s.ServerName() != path || m.s.RemoteAddr().String() != path {
				t.Errorf("name %q, address %v, want %q", m.s.ServerName(), m.s.RemoteAddr(), path)
			}
			m.s.DisconnectFromServer()
			if m.s.ServerName() != "" || m.s.FullServerName() != "" {
				t.Errorf("disconnected, and the names are %q and %q", m.s.ServerName(), m.s.FullServerName())
			}
		})
		t.Run("access options", func(t *testing.T) { // for which Qt binds another path and renames it
			path := socketPath(t)
			qt := startListening(t, major, path, "--access", "user")
			m := &meeting{s: newSocket(t, place{}), qt: qt}
			m.connect(t, path)
			if m.s.ServerName() != path || m.s.FullServerName() != path || m.s.RemoteAddr().String() != path {
				t.Errorf("names %q and %q, address %v, want %q", m.s.ServerName(), m.s.FullServerName(), m.s.RemoteAddr(), path)
			}
			wantPeerProcess(t, m.s, qt)
		})
		t.Run("bare", func(t *testing.T) {
			t.Setenv("TMPDIR", shortDir(t))
			name := bareName()
			qt := startPeer(t, major, nil, "local-server-script", name)
			qt.send(t, "listen")
			full := qt.expect(t, "listening ")
			m := &meeting{s: newSocket(t, place{}), qt: qt}
			m.connect(t, name)
			if m.s.ServerName() != name || m.s.FullServerName() != full {
				t.Errorf("names %q and %q, want %q and %q", m.s.ServerName(), m.s.FullServerName(), name, full)
			}
		})
	})
}

// wantPeerProcess checks who is at the other end, where the system says it.
func wantPeerProcess(t testing.TB, s *local.Socket, qt *peer) {
	t.Helper()
	who, err := s.Peer()
	if errors.Is(err, local.UnsupportedSocketOperationError) {
		return
	}
	if err != nil || who.PID != qt.cmd.Process.Pid || !who.SameUser() {
		t.Errorf("peer %+v, %v, want process %d", who, err, qt.cmd.Process.Pid)
	}
}

func TestServerWithAccessOptionsServesQt(t *testing.T) {
	tests := []struct {
		options local.SocketOptions
		mode    fs.FileMode
	}{
		{local.UserAccessOption, 0o700},
		{local.UserAccessOption | local.GroupAccessOption, 0o770},
		{local.WorldAccessOption, 0o777},
	}
	eachQt(t, func(t *testing.T, major int) {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%o", test.mode), func(t *testing.T) {
				p := place{ours: socketPath(t), options: test.options}
				srv := listenAt(t, p)
				if fi, err := os.Stat(p.ours); err != nil || fi.Mode().Perm() != test.mode {
					t.Errorf("the socket is %v (%v), want mode %o", fi, err, test.mode)
				}
				qt := startPeer(t, major, nil, "local-client-script", p.ours)
				wantResult(t, qt, "connect", "3")
				wantResult(t, qt, "name", p.ours+" "+p.ours)
				s := nextPending(t, srv)
				if srv.FullServerName() != p.ours || s.FullServerName() != p.ours || s.ServerName() != filepath.Base(p.ours) || s.LocalAddr().String() != p.ours {
					t.Errorf("full names %q and %q, the socket's name %q, address %v", srv.FullServerName(), s.FullServerName(), s.ServerName(), s.LocalAddr())
				}
				wantPeerProcess(t, s, qt)
			})
		}
	})
}

func TestServerHoldsExactlyMaxPendingConnectionsOfQts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lets a client wait that finds the system's queue full")
	}
	const limit, backlog = 2, 1
	const queued = backlog + 1 // as Linux counts
	eachQt(t, func(t *testing.T, major int) {
		path := socketPath(t)
		srv := new(local.Server)
		srv.SetMaxPendingConnections(limit)
		srv.SetListenBacklogSize(backlog)
		pending := make(chan struct{}, 10)
		srv.OnNewConnection(func() { pending <- struct{}{} })
		if err := srv.Listen(path); err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		connect := func() (qt *peer, state string) {
			qt = startPeer(t, major, nil, "local-client-script", path)
			return qt, qt.do(t, "connect")
		}
		for i := range limit + queued {
			if _, state := connect(); state != "3" {
				t.Fatalf("client %d is in state %s", i, state)
			}
			if i < limit {
				receiveSoon(t, pending)
			}
		}
		last, state := connect()
		if state != "2" {
			t.Errorf("the client after them is in state %s, so the server has accepted more than %d", state, limit)
		}
		nextPending(t, srv)
		last.expect(t, "connected")
		for range limit + queued {
			nextPending(t, srv)
		}
		if srv.HasPendingConnections() || srv.NextPendingConnection() != nil {
			t.Error("more connections than clients")
		}
	})
}

func TestServerServesThirtyQtsAtOnce(t *testing.T) {
	const clients, each = 30, 2
	eachQt(t, func(t *testing.T, major int) {
		p := place{ours: socketPath(t)}
		srv := listenAt(t, p)
		served := make(chan error, clients*each)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		fortune := encodeString(t, fortunes[0].text)
		go func() {
			for s, err := range srv.Connections(ctx) {
				if err != nil {
					return
				}
				go func() {
					_, err := s.Write(fortune)
					served <- errors.Join(err, s.Close())
				}()
			}
		}()
		var qts []*peer
		for range clients {
			qts = append(qts, startPeer(t, major, nil, "local-fortune-client", p.ours, "--count", strconv.Itoa(each)))
		}
		for _, qt := range qts {
			for range each {
				if got := unescape(t, qt.expect(t, "fortune ")); got != fortunes[0].text {
					t.Errorf("%s: got %q", qt.title, got)
				}
			}
		}
		wantDone(t, qts...)
		for range clients * each {
			if err := receiveSoon(t, served); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestSocketCannotConnectSaysWhy(t *testing.T) {
	tests := []struct {
		name  string
		make  func(t *testing.T, major int, path string)
		want  sock.SocketError
		cause error
	}{
		{"missing", func(*testing.T, int, string) {}, local.ServerNotFoundError, fs.ErrNotExist},
		{"left by a killed Qt", func(t *testing.T, major int, path string) { startListening(t, major, path).kill() }, local.ConnectionRefusedError, syscall.ECONNREFUSED},
		{"left by Qt's end", func(t *testing.T, major int, path string) {
			qt := startListening(t, major, path)
			qt.send(t, "quit")
			wantDone(t, qt)
		}, local.ServerNotFoundError, fs.ErrNotExist},
	}
	eachQt(t, func(t *testing.T, major int) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				path := socketPath(t)
				test.make(t, major, path)
				s := newSocket(t, place{})
				d := newDiary()
				d.keep(s)
				err := s.ConnectToServer(path, sock.ReadWrite)
				wantCode(t, "ConnectToServer", err, test.want)
				if !errors.Is(err, test.cause) {
					t.Errorf("%v is not %v", err, test.cause)
				}
				wantCode(t, "WaitForConnected", s.WaitForConnected(patience), test.want)
				wantLastError(t, s, test.want)
				d.want(t, "ConnectingState in ConnectingState", "error "+test.want.Name()+" in ConnectingState", "UnconnectedState in UnconnectedState")
				if s.ServerName() != "" || s.FullServerName() != "" {
					t.Errorf("failed, and the names are %q and %q", s.ServerName(), s.FullServerName())
				}
			})
		}
	})
}

func TestSocketConnectsToQtAfterFailing(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		path := socketPath(t)
		s := newSocket(t, place{})
		wantCode(t, "ConnectToServer", s.ConnectToServer(path, sock.ReadWrite), local.ServerNotFoundError)
		m := &meeting{s: s, qt: startListening(t, major, path)}
		m.connect(t, path)
		wantLastError(t, s, sock.NoError)

		// Connecting again is an error that changes nothing.
		wantCode(t, "ConnectToServer", s.ConnectToServer(path, sock.ReadWrite), local.OperationError)
		wantState(t, s, sock.ConnectedState)
		wantResult(t, m.qt, "next", "1")
		m.say(t, "still here\n")
		if err := s.WaitForReadyRead(patience); err != nil || !s.CanReadLine() {
			t.Errorf("no line (%v)", err)
		}
	})
}

func TestServerListenOnQtsLiveNameFails(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		for _, options := range []local.SocketOptions{local.NoOptions, local.UserAccessOption, local.WorldAccessOption} {
			t.Run(fmt.Sprint("options ", options), func(t *testing.T) {
				path := socketPath(t)
				qt := startListening(t, major, path)
				srv := new(local.Server)
				srv.SetSocketOptions(options)
				err := srv.Listen(path)
				wantCode(t, "Listen", err, sock.AddressInUseError)
				if !errors.Is(err, syscall.EADDRINUSE) || srv.ServerError() != sock.AddressInUseError || srv.IsListening() {
					t.Errorf("got %v, server error %v, listening %v", err, srv.ServerError(), srv.IsListening())
				}
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
				m := &meeting{s: newSocket(t, place{}), qt: qt}
				m.connect(t, path)
				wantResult(t, qt, "next", "1")
				m.say(t, "undisturbed\n")
				if err := m.s.WaitForReadyRead(patience); err != nil || !m.s.CanReadLine() {
					t.Errorf("Qt's server is disturbed (%v)", err)
				}
			})
		}
	})
}

func TestServerListenOnNameOfKilledQtFails(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		path := socketPath(t)
		startListening(t, major, path).kill()
		srv := new(local.Server)
		wantCode(t, "Listen", srv.Listen(path), sock.AddressInUseError)
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("Listen has touched what stood there: %v", err)
		}
	})
}

func TestQtListenOnOurLiveNameFails(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		p := place{ours: socketPath(t)}
		srv := listenAt(t, p)
		qt := startPeer(t, major, nil, "local-server-script", p.ours)
		wantResult(t, qt, "listen", "false")
		wantResult(t, qt, "server-error", "8 QLocalServer::listen: Address in use")
		qt.send(t, "quit")
		wantDone(t, qt)

		client := startPeer(t, major, nil, "local-client-script", p.ours)
		wantResult(t, client, "connect", "3")
		nextPending(t, srv).DisconnectFromServer()
		wantPeersEnd(t, client)
	})
}

// With access options Qt renames its socket over whatever stands there, a live server's too.
func TestServerCloseLeavesTheFileOfQtThatTookItsName(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		p := place{ours: socketPath(t)}
		srv := listenAt(t, p)
		m := &meeting{s: newSocket(t, place{}), qt: startListening(t, major, p.ours, "--access", "user")}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		m.connect(t, p.ours)
	})
}

func TestServerListensAfterQtHasEnded(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		p := place{ours: socketPath(t)}
		for range 2 {
			qt := startListening(t, major, p.ours)
			wantResult(t, qt, "close-server", "false")
			srv := listenAt(t, p)
			client := startPeer(t, major, nil, "local-client-script", p.ours)
			wantResult(t, client, "connect", "3")
			s := nextPending(t, srv)
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
			// What was taken outlives the server.
			if _, err := s.Write([]byte("alive\n")); err != nil {
				t.Error(err)
			}
			client.expect(t, "readyRead 6")
		}
	})
}

func TestServerCloseEndsQtsThatNobodyTook(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		srv := new(local.Server)
		srv.SetMaxPendingConnections(1)
		path := socketPath(t)
		if err := srv.Listen(path); err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		var qts []*peer
		for range 3 { // one is pending, the others are in the system's queue
			qt := startPeer(t, major, nil, "local-client-script", path)
			wantResult(t, qt, "connect", "3")
			qts = append(qts, qt)
		}
		if err := srv.WaitForNewConnection(patience); err != nil {
			t.Fatal(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		for _, qt := range qts {
			wantPeersEnd(t, qt)
		}
	})
}
