// Package goroutine tells goroutines apart, for what must know whether it is called by its own callback. ID costs a nanosecond where the runtime's
// record of a goroutine is at hand, and microseconds elsewhere. It is never 0.
package goroutine
