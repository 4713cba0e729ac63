//go:build unix

package qt_test

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"anteroom/local"
	"anteroom/sock"
)

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
		waitForOurEnd(t, m.s)
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
		waitForOurEnd(t, m.s)
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
