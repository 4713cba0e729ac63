package core

import (
	"testing"
	"unsafe"
)

// A Read that waits touches as few lines of the processor's cache as its comments say, which begin at multiples of their size.
func TestFlowFillsLines(t *testing.T) {
	const line = 64
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the order of fields is for 64-bit machines")
	}
	var f flow
	for part, offset := range map[string]uintptr{
		"the buffers": unsafe.Offsetof(f.rbuf), "what a Write needs": unsafe.Offsetof(f.writeDeadline), "the gate": unsafe.Offsetof(f.in), "the reader": unsafe.Offsetof(f.own),
	} {
		if offset%line != 0 {
			t.Errorf("%s: begins at %d, want a multiple of %d", part, offset, line)
		}
	}
	if end := unsafe.Offsetof(f.in.armed) + unsafe.Sizeof(f.in.armed); end > line {
		t.Errorf("what a gate needs for one who waits alone ends at %d, want at most %d", end, line)
	}
	if end := unsafe.Offsetof(f.own.step) + unsafe.Sizeof(f.own.step); end > line {
		t.Errorf("what a reader needs at the runtime's poller ends at %d, want at most %d", end, line)
	}
	if size := unsafe.Sizeof(f); size > 704 {
		t.Errorf("a flow has %d bytes; want at most 704, which is a size that is allocated, and keeps it at a line's begin", size)
	}
}
