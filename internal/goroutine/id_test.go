package goroutine_test

import (
	"testing"

	"anteroom/internal/goroutine"
)

func TestIDTellsGoroutinesApart(t *testing.T) {
	const n = 100
	ids, leave := make(chan uintptr, n), make(chan bool)
	for range n {
		go func() {
			ids <- goroutine.ID()
			<-leave // while it lives nobody else has its name
		}()
	}
	own := goroutine.ID()
	seen := map[uintptr]bool{0: true, own: true}
	for range n {
		id := <-ids
		if seen[id] {
			t.Errorf("%#x is another's, or 0", id)
		}
		seen[id] = true
	}
	close(leave)
	if again := goroutine.ID(); again != own {
		t.Errorf("it was %#x, and is %#x", own, again)
	}
}
