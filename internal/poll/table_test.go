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
		if h, mark := table.Get(token); h != "x" || mark != 0 {
			t.Fatalf("token %#x stands for %q with the mark %d", token, h, mark)
		}
		if before := table.Mark(token, 7); before != 0 {
			t.Fatalf("token %#x had the mark %d", token, before)
		}
		if h, mark := table.Get(token); h != "x" || mark != 7 {
			t.Fatalf("token %#x stands for %q with the mark %d, which was to be 7", token, h, mark)
		}
		if len(over)%3 == 0 || !table.Remove(token) {
			over = append(over, 0)
			continue // it stays
		}
		over = append(over, token)
		for _, old := range over {
			if h, mark := table.Get(old); old != 0 && (table.Remove(old) || h != "" || mark != 0 || table.Mark(old, 8) != 8) {
				t.Fatalf("token %#x is over, and is not", old)
			}
		}
	}
	if h, _ := table.Get(math.MaxUint64); table.Remove(0) || h != "" {
		t.Error("tokens that never were stand for something")
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
