//go:build !unix

package core

import (
	"syscall"

	"anteroom/loop"
)

// No loop takes a descriptor here, so that no socket comes to live on one.

func (t *loopSide) Read([]byte) (int, error)  { return 0, syscall.ENOTSUP }
func (t *loopSide) Write([]byte) (int, error) { return 0, syscall.ENOTSUP }
func (t *loopSide) Query() (int, bool, error) { return 0, false, syscall.ENOTSUP }
func (t *loopSide) CloseRead() error          { return syscall.ENOTSUP }
func (t *loopSide) CloseWrite() error         { return syscall.ENOTSUP }

func (s *Socket) unstage() int64 { return 0 }

// Ready is never called.
func (s *Socket) Ready(ev loop.Events) { s.happened(ev, false) }

// ReadAvailable reads without waiting.
func (s *Socket) ReadAvailable(p []byte) (int, error) {
	s.mu.Lock()
	return s.readAvailable(p)
}

// WriteBuffered queues p.
func (s *Socket) WriteBuffered(p []byte) (int, error) {
	s.mu.Lock()
	return s.writeBuffered(p)
}

func detach(Transport) (int, bool, error) { return -1, false, syscall.ENOTSUP }

func hungUp(Transport) bool  { return false }
func hasBytes(int) bool      { return false }
func peek(int) (bool, error) { return false, syscall.ENOTSUP }

const pollIn, pollOut = 1, 4

func newLonePoller(func() (uintptr, int16)) lonePoller { return nil }
