//go:build gc && (amd64 || arm64)

package loop

import "unsafe"

// prefetch has the processor bring the first 128 bytes of what h points to while it does other work: with thousands of connections each event
// would wait for them from memory. What is there is not looked at, and need not be h's.
func prefetch(h Handler) { prefetchAt((*[2]unsafe.Pointer)(unsafe.Pointer(&h))[1]) }

//go:noescape
func prefetchAt(p unsafe.Pointer)
