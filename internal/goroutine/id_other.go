//go:build !gc || !(amd64 || arm64)

package goroutine

import (
	"bytes"
	"runtime"
	"sync"
)

// traces are buffers for the beginning of what runtime.Stack says.
var traces = sync.Pool{New: func() any { return new([32]byte) }}

// ID returns the calling goroutine's number, which no other ever has. runtime.Stack begins with it: "goroutine 7 [running]:".
func ID() uintptr {
	b := traces.Get().(*[32]byte)
	defer traces.Put(b)
	digits, ok := bytes.CutPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	if end := bytes.IndexByte(digits, ' '); ok && end > 0 {
		n := uintptr(0)
		for _, c := range digits[:end] {
			n = 10*n + uintptr(c-'0')
		}
		return n
	}
	panic("goroutine: the runtime does not say which goroutine this is")
}
