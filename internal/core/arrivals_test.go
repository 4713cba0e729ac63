//go:build unix

package core

import (
	"runtime"
	"testing"

	"anteroom/internal/sockettest"
	"golang.org/x/sys/unix"
)

// The last bytes and the end come together while a callback runs in another goroutine: the end is told when that has returned.
func TestEndThatComesWithBytesWhileACallbackRuns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the poller tells of both at once
	for name, reads := range map[string]bool{"it reads them": true, "it leaves them": false} {
		t.Run(name, func(t *testing.T) {
			var s Socket
			peer := adoptPair(t, &s)
			busy, free, ended := make(chan bool), make(chan bool), make(chan bool)
			s.OnBytesWritten(func(int64) {
				busy <- true
				<-free
			})
			s.OnReadyRead(func() {
				if reads {
					s.ReadAvailable(make([]byte, 10))
				}
			})
			s.OnDisconnected(func() { close(ended) })
			s.WriteBuffered([]byte("x"))
			flushed := sockettest.Go(s.Flush)
			sockettest.Done(t, "a callback runs", busy)
			sockettest.Eventually(t, "the watcher waits", s.t.(*runtimeTransport).seated.Load)

			if _, err := unix.Write(peer, []byte("bye")); err != nil {
				t.Error(err)
			}
			unix.Close(peer)
			sockettest.Eventually(t, "the watcher has seen them", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.flow.told > 0
			})
			close(free)
			sockettest.Done(t, "the end is told", ended)
			sockettest.Done(t, "Flush returns", flushed)
			s.Close()
		})
	}
}
