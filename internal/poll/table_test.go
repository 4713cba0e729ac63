package poll

import (
	"math"
	"testing"
)

// Tokens of a slot that is used again are not those that were over, whatever is done with them.
func TestTableTokensComeOnce(t *testing.T) {
	var table Table[string]
	seen := make(map[uint64]bool)
	var over []uint64
	for range 1000 {
		token := table.Add("x")
		if token == 0 || seen[token] {
			t.Fatalf("token %#x has come before", token)
		}
		seen[token] = true
		if f := table.Get(token); f.H != "x" || f.Mark != 0 {
			t.Fatalf("token %#x stands for %q with the mark %d", token, f.H, f.Mark)
		}
		if before := table.Mark(token, 7); before != 0 {
			t.Fatalf("token %#x had the mark %d", token, before)
		}
		if f := table.Get(token); f.H != "x" || f.Mark != 7 {
			t.Fatalf("token %#x stands for %q with the mark %d, which was to be 7", token, f.H, f.Mark)
		}
		if len(over)%3 == 0 || !table.Remove(token) {
			over = append(over, 0)
			continue // it stays
		}
		over = append(over, token)
		for _, old := range over {
			if f := table.Get(old); old != 0 && (table.Remove(old) || f.H != "" || f.Mark != 0 || table.Mark(old, 8) != 8) {
				t.Fatalf("token %#x is over, and is not", old)
			}
		}
	}
	if f := table.Get(math.MaxUint64); table.Remove(0) || f.H != "" {
		t.Error("tokens that never were stand for something")
	}
}

// What was found together is what is found one by one, and Over tells when that may not be so any more.
func TestTableGetAll(t *testing.T) {
	var table Table[string]
	events := []Event{{Token: table.Add("one")}, {Token: table.Add("two")}, {Token: math.MaxUint64}}
	table.Mark(events[1].Token, 5)
	found := make([]Found[string], len(events))
	over := table.GetAll(events, found)
	if found[0] != (Found[string]{"one", 0}) || found[1] != (Found[string]{"two", 5}) || found[2] != (Found[string]{}) {
		t.Errorf("found %v", found)
	}
	if table.Add("three"); over != table.Over() {
		t.Error("a new token made what was found doubtful")
	}
	if table.Remove(events[0].Token); over == table.Over() {
		t.Error("the end of a token did not make what was found doubtful")
	}
	over = table.GetAll(events, found)
	if found[0] != (Found[string]{}) || found[1] != (Found[string]{"two", 5}) {
		t.Errorf("after the end of the first, found %v", found)
	}
	if table.Clear(); over == table.Over() {
		t.Error("the end of all tokens did not make what was found doubtful")
	}
}

// A slot whose generations are used up rests.
func TestTableGenerationsEnd(t *testing.T) {
	var table Table[string]
	token := table.Add("x")
	table.slot(slotOf(token)).generation = math.MaxUint32
	last := uint64(math.MaxUint32)<<32 | token&math.MaxUint32
	if !table.Remove(last) || table.Remove(uint64(slotOf(token))) {
		t.Error("the last token cannot be removed, or a token of no generation can")
	}
	if next := table.Add("y"); slotOf(next) == slotOf(token) {
		t.Errorf("token %#x uses the slot again", next)
	}
}
