//go:build !gc || !(amd64 || arm64)

package loop

import (
	"bytes"
	"runtime"
	"strconv"
)

// current returns the calling goroutine's number, which no other ever has. runtime.Stack begins with it: "goroutine 7 [running]:".
func current() uintptr {
	var b [64]byte
	fields := bytes.Fields(b[:runtime.Stack(b[:], false)])
	n, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		panic("loop: the runtime does not say which goroutine this is")
	}
	return uintptr(n)
}
