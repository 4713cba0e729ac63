//go:build unix

package qt_test

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"anteroom/local"
	"anteroom/sock"
)

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
