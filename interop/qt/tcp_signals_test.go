//go:build unix

// The same conversation held by QTcpSocket and by our tcp.Socket: the signals that each tells, compared.

package qt_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"anteroom/sock"
	"anteroom/tcp"
)

// A subject is a socket whose signals are compared: Qt's or ours.
type subject interface {
	do(t testing.TB, command string)   // one of the script's
	await(t testing.TB, signal string) // a signal that was not awaited yet
	signals() []string
	last(t testing.TB) (state, code int, unread int64)
}

// qtSubject is a script's socket.
type qtSubject struct {
	*peer
	awaited int // how many lines await has seen: a command's signals come before its result, which do expects
}

func (q *qtSubject) do(t testing.TB, command string) { t.Helper(); q.peer.do(t, command) }

func (q *qtSubject) await(t testing.TB, signal string) {
	t.Helper()
	for qt, ours := range signalNames {
		if ours == signal {
			signal = qt
		}
	}
	tr := &q.stdout
	tr.mu.Lock()
	for i, line := range tr.lines[q.awaited:tr.taken] {
		if strings.HasPrefix(line, signal) {
			q.awaited += i + 1
			tr.mu.Unlock()
			return
		}
	}
	tr.mu.Unlock()
	q.expect(t, signal)
	q.awaited = tr.taken // which only this goroutine moves
}

// signalNames are ours for Qt's.
var signalNames = map[string]string{
	"state 0": "UnconnectedState", "state 1": "HostLookupState", "state 2": "ConnectingState", "state 3": "ConnectedState", "state 6": "ClosingState",
}

func (q *qtSubject) signals() (all []string) {
	for line := range strings.Lines(q.stdout.String()) {
		line = strings.TrimSpace(line)
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "state":
			all = append(all, signalNames[line])
		case "error":
			code, _, _ := strings.Cut(rest, " ")
			all = append(all, "error "+code)
		case "connected", "disconnected", "readyRead":
			all = append(all, word)
		}
	}
	return all
}

func (q *qtSubject) last(t testing.TB) (state, code int, unread int64) {
	t.Helper()
	_, err1 := fmt.Sscan(q.peer.do(t, "state"), &state)
	_, err2 := fmt.Sscan(q.peer.do(t, "error"), &code)
	_, err3 := fmt.Sscan(q.peer.do(t, "bytes"), &unread)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return state, code, unread
}

// ourSubject is a Socket with a diary.
type ourSubject struct {
	s       *tcp.Socket
	addr    string // to connect to
	diary   *diary
	written int
}

func newSubject(s *tcp.Socket, addr string) *ourSubject {
	o := &ourSubject{s: s, addr: addr, diary: newDiary()}
	note := func(f string, args ...any) { fmt.Fprintf(o.diary, f+"\n", args...) }
	s.OnStateChanged(func(st sock.State) { note("%v", st) })
	s.OnConnected(func() { note("connected") })
	s.OnDisconnected(func() { note("disconnected") })
	s.OnErrorOccurred(func(code sock.SocketError) { note("error %d", code.Qt()) })
	s.OnReadyRead(func() { note("readyRead") })
	return o
}

func (o *ourSubject) do(t testing.TB, command string) {
	t.Helper()
	name, arg, _ := strings.Cut(command, " ")
	n, _ := strconv.Atoi(arg)
	wait := time.Duration(n) * time.Millisecond
	switch name {
	case "connect":
		if o.s.State() == sock.UnconnectedState {
			connectTCP(t, o.s, o.addr)
		} else if err := o.s.ConnectToHost("127.0.0.1", 1, 0); err == nil {
			t.Error("a second ConnectToHost does not fail")
		}
	case "disconnect":
		o.s.DisconnectFromHost()
	case "abort":
		o.s.Abort()
	case "close":
		o.s.Close()
	case "write":
		o.s.WriteBuffered(pattern(o.written + n)[o.written:])
		o.written += n
	case "write-line":
		o.s.WriteBuffered([]byte(arg + "\n"))
	case "readall":
		o.s.Skip(o.s.BytesAvailable())
	case "readbuffer":
		o.s.SetReadBufferSize(int64(n))
	case "wait-connected":
		o.s.WaitForConnected(wait)
	case "wait-ready":
		o.s.WaitForReadyRead(wait)
	case "wait-disconnected":
		o.s.WaitForDisconnected(wait)
	default:
		t.Fatalf("unknown command %q", command)
	}
}

func (o *ourSubject) await(t testing.TB, signal string) { t.Helper(); o.diary.await(t, signal) }

func (o *ourSubject) signals() (all []string) {
	for line := range strings.Lines(o.diary.String()) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

func (o *ourSubject) last(testing.TB) (state, code int, unread int64) {
	return int(o.s.State()), o.s.SocketError().Qt(), o.s.BytesAvailable()
}

// conversations are what is compared: each is said once with Qt's socket and once with ours, with a script of Qt's at the other end.
var conversations = []struct {
	name  string
	sides string // "both", or the one on which the subject is
	talk  func(t testing.TB, s subject, other *peer)
}{
	{"the peer ends", "both", func(t testing.TB, s subject, other *peer) {
		other.do(t, "write-line hello")
		s.await(t, "readyRead")
		s.do(t, "readall")
		other.do(t, "disconnect")
		s.await(t, "disconnected")
	}},
	{"the peer ends with bytes unread", "both", func(t testing.TB, s subject, other *peer) {
		other.send(t, "write 1000\ndisconnect")
		s.await(t, "disconnected")
	}},
	{"the peer ends at once", "both", func(t testing.TB, s subject, other *peer) {
		other.do(t, "disconnect")
		s.await(t, "disconnected")
	}},
	{"the peer resets", "both", func(t testing.TB, s subject, other *peer) {
		other.do(t, "readbuffer 1")
		s.do(t, "write 10000") // which the peer leaves unread: its system resets
		other.expect(t, "readyRead 1")
		other.do(t, "abort")
		s.await(t, "disconnected")
	}},
	{"the subject disconnects", "both", func(t testing.TB, s subject, other *peer) {
		s.do(t, "write-line hello")
		other.expect(t, "readyRead 6")
		s.do(t, "disconnect")
		s.await(t, "disconnected")
		other.expect(t, "disconnected")
	}},
	{"the subject disconnects with bytes queued", "both", func(t testing.TB, s subject, other *peer) {
		other.do(t, "readbuffer 1")
		s.do(t, fmt.Sprintf("write %d", 4*threeMiB))
		s.do(t, "disconnect")
		s.await(t, "ClosingState")
		other.do(t, "readbuffer 0")
		s.await(t, "disconnected")
		other.expect(t, "disconnected")
	}},
	{"the subject disconnects with bytes unread", "both", func(t testing.TB, s subject, other *peer) {
		other.do(t, "write 1000")
		s.await(t, "readyRead")
		s.do(t, "disconnect")
		s.await(t, "disconnected")
	}},
	{"the subject aborts", "both", func(t testing.TB, s subject, other *peer) {
		s.do(t, "write 1000")
		s.do(t, "abort")
		s.await(t, "disconnected")
		other.expect(t, "disconnected")
	}},
	{"the subject aborts while it disconnects", "both", func(t testing.TB, s subject, other *peer) {
		other.do(t, "readbuffer 1")
		s.do(t, fmt.Sprintf("write %d", 4*threeMiB))
		s.do(t, "disconnect")
		s.await(t, "ClosingState")
		s.do(t, "abort")
		s.await(t, "disconnected")
	}},
	{"the subject closes", "both", func(t testing.TB, s subject, other *peer) {
		s.do(t, "close")
		s.await(t, "disconnected")
		other.expect(t, "disconnected")
	}},
	{"waits time out", "both", func(t testing.TB, s subject, other *peer) {
		s.do(t, "wait-ready 20")
		s.do(t, "wait-disconnected 20")
		other.do(t, "write-line hello")
		s.await(t, "readyRead") // a wait could begin after it, and then for more
		s.do(t, "readall")
		other.do(t, "disconnect")
		s.await(t, "disconnected")
	}},
	{"connecting twice", "our client", func(t testing.TB, s subject, other *peer) {
		s.do(t, "connect")
		other.do(t, "write-line hello")
		s.await(t, "readyRead")
		other.do(t, "disconnect")
		s.await(t, "disconnected")
	}},
	{"connecting again", "our client", func(t testing.TB, s subject, other *peer) {
		other.do(t, "disconnect")
		s.await(t, "disconnected")
		s.do(t, "connect")
		s.await(t, "connected")
		other.expect(t, "newConnection")
		other.do(t, "next")
		other.do(t, "disconnect")
		s.await(t, "disconnected")
	}},
}

// meetAs brings a subject, Qt's or ours, together with a script of Qt's on the other side.
func meetAs(t *testing.T, major int, client, qts bool) (s subject, other *peer) {
	t.Helper()
	if client {
		other, addr := startTCP(t, major, "server-script")
		if qts {
			s = &qtSubject{peer: startPeer(t, major, nil, "tcp-client-script", addr)}
		} else {
			c := new(tcp.Socket)
			t.Cleanup(c.Abort)
			s = newSubject(c, addr)
		}
		s.do(t, "connect")
		s.await(t, "connected")
		other.expect(t, "newConnection")
		wantResult(t, other, "next", "1")
		return s, other
	}
	connect := func(addr string) {
		other = startPeer(t, major, nil, "tcp-client-script", addr)
		other.send(t, "connect")
		other.expect(t, "connected")
	}
	if qts {
		server, addr := startTCP(t, major, "server-script")
		connect(addr)
		server.expect(t, "newConnection")
		wantResult(t, server, "next", "1")
		return &qtSubject{peer: server}, other
	}
	srv, addr := listenTCP(t)
	connect(addr)
	return newSubject(nextTCP(t, srv), addr), other
}

// An outcome is what is compared. How many readyReads and bytesWrittens there are is a matter of chance: one after another counts once.
type outcome struct {
	signals             []string
	state, code, unread int64
}

func outcomeOf(t testing.TB, s subject) (o outcome) {
	t.Helper()
	o.signals = slices.Compact(s.signals())
	state, code, unread := s.last(t)
	o.state, o.code, o.unread = int64(state), int64(code), unread
	return o
}

// In the same conversation our sockets tell what Qt's tell, in the same order, and end with the same state, error and bytes unread.
func TestTCPSocketTellsWhatQtsTells(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		for _, c := range conversations {
			for _, side := range []string{"our client", "our server"} {
				if c.sides != "both" && c.sides != side {
					continue
				}
				t.Run(c.name+"/"+side, func(t *testing.T) {
					var outcomes [2]outcome
					for i, qts := range []bool{true, false} {
						s, other := meetAs(t, major, side == "our client", qts)
						c.talk(t, s, other)
						outcomes[i] = outcomeOf(t, s)
					}
					wantSame(t, outcomes[0], outcomes[1])
				})
			}
		}
	})
}

func wantSame(t testing.TB, theirs, ours outcome) {
	t.Helper()
	if !slices.Equal(theirs.signals, ours.signals) {
		t.Errorf("the signals are\n\tQt's %q\n\tours %q", theirs.signals, ours.signals)
	}
	if theirs.state != ours.state || theirs.code != ours.code || theirs.unread != ours.unread {
		t.Errorf("Qt's ends in state %d, error %d, %d unread; ours in state %d, error %d, %d unread",
			theirs.state, theirs.code, theirs.unread, ours.state, ours.code, ours.unread)
	}
}

// Attempts that fail end in the state and with the error that Qt has. The order is another one: QAbstractSocket becomes Unconnected and then
// says why, QLocalSocket on Unix says why first. Ours says why first, on both.
func TestTCPSocketThatCannotConnect(t *testing.T) {
	closed := func(t *testing.T, host string) string {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Skip("needs IPv6: ", err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	addrs := map[string]func(t *testing.T) string{
		"refused":       func(t *testing.T) string { return closed(t, "127.0.0.1") },
		"refused, IPv6": func(t *testing.T) string { return closed(t, "::1") },
		"refused, by name": func(t *testing.T) string {
			_, port, _ := net.SplitHostPort(closed(t, "127.0.0.1"))
			return "localhost:" + port
		},
		"no such host":      func(*testing.T) string { return "no-such-host.invalid:80" },
		"the host is empty": func(*testing.T) string { return ":80" },
	}
	eachQt(t, func(t *testing.T, major int) {
		for name, addr := range addrs {
			t.Run(name, func(t *testing.T) {
				addr := addr(t)
				c := new(tcp.Socket)
				t.Cleanup(c.Abort)
				qts, ours := &qtSubject{peer: startPeer(t, major, nil, "tcp-client-script", addr)}, newSubject(c, addr)
				qts.do(t, "connect")
				qts.await(t, "error ")
				ours.do(t, "connect")
				ours.await(t, "UnconnectedState")
				theirs := outcomeOf(t, qts)
				if n := len(theirs.signals); n < 2 || theirs.signals[n-2] != "UnconnectedState" {
					t.Fatalf("Qt's signals are %q, want the last two to be the state and the error", theirs.signals)
				} else {
					theirs.signals[n-2], theirs.signals[n-1] = theirs.signals[n-1], theirs.signals[n-2]
				}
				wantSame(t, theirs, outcomeOf(t, ours))
			})
		}
	})
}
