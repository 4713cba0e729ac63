//go:build linux

package qt_test

import (
	"os"
	"path/filepath"
	"testing"

	"anteroom/local"
	"anteroom/sock"
)

// TestReplaceStaleKnowsLivingQtFromDead has a server that may replace what is stale meet Qt's server, alive and then killed.
func TestReplaceStaleKnowsLivingQtFromDead(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		path := socketPath(t)
		qt := startListening(t, major, path)
		srv := new(local.Server)
		srv.SetReplaceStale(true)
		defer srv.Close()
		for range 20 {
			wantCode(t, "Listen on a living Qt's name", srv.Listen(path), sock.AddressInUseError)
			wantCode(t, "RemoveStale of a living Qt's name", local.RemoveStale(path), sock.AddressInUseError)
		}
		m := &meeting{s: newSocket(t, place{}), qt: qt}
		m.connect(t, path)
		wantResult(t, qt, "next", "1")
		m.say(t, "undisturbed\n")
		if err := m.s.WaitForReadyRead(patience); err != nil || !m.s.CanReadLine() {
			t.Errorf("Qt's server is disturbed (%v)", err)
		}

		qt.kill()
		if err := srv.Listen(path); err != nil {
			t.Fatalf("Listen on a dead Qt's name: %v", err)
		}
		client := startPeer(t, major, nil, "local-client-script", path)
		wantResult(t, client, "connect", "3")
		nextPending(t, srv).DisconnectFromServer()
		wantPeersEnd(t, client)
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) != 1 {
			t.Errorf("the directory holds %v, %v; want the socket alone", entries, err)
		}
	})
}
