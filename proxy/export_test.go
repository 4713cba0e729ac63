package proxy

import (
	"testing"
	"time"
)

// SetRetryFor sets for how long binding anew is tried, until the test ends. There must be no Listener yet.
func SetRetryFor(t *testing.T, d time.Duration) {
	before := retryFor
	retryFor = d
	t.Cleanup(func() { retryFor = before })
}

// Ended is closed when nobody can come any more.
func Ended(l *Listener) <-chan struct{} { return l.ended }

// Bounded is for tests.
var Bounded = bounded
