//go:build unix

package qt_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"anteroom/local"
	"anteroom/sock"
)

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
