package core

import (
	"testing"

	"anteroom/sock"
)

// TestStateMoves has the whole table: a row for each state, and in it what may follow.
func TestStateMoves(t *testing.T) {
	const (
		un, lo, ng, ed = sock.UnconnectedState, sock.HostLookupState, sock.ConnectingState, sock.ConnectedState
		bo, li, cl     = sock.BoundState, sock.ListeningState, sock.ClosingState
	)
	legal := map[[2]sock.State]bool{
		{un, lo}: true, {un, ng}: true, {un, ed}: true,
		{lo, ng}: true, {lo, un}: true,
		{ng, ed}: true, {ng, un}: true,
		{ed, cl}: true, {ed, un}: true,
		{cl, un}: true,
	}
	for from := un; from <= cl; from++ {
		for to := un; to <= cl; to++ {
			s := Socket{state: from}
			moved := func() (ok bool) {
				defer func() { ok = recover() == nil }()
				s.setState(to)
				return
			}()
			if want := legal[[2]sock.State{from, to}]; moved != want {
				t.Errorf("%v to %v: moved %v, want %v", from, to, moved, want)
			} else if moved && s.state != to {
				t.Errorf("%v to %v: is %v", from, to, s.state)
			}
		}
	}
	if len(moves) != int(cl)+1 || bo == li {
		t.Errorf("the table has %d states", len(moves))
	}
}
