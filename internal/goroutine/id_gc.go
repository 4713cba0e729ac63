//go:build gc && (amd64 || arm64)

package goroutine

// ID returns the address of the runtime's record of the calling goroutine, which is another's only after this one has ended. It is a
// name, and never used as a pointer.
//
//go:noescape
func ID() uintptr
