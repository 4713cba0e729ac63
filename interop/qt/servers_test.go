//go:build unix

package qt_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"anteroom/local"
	"anteroom/sock"
)

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
