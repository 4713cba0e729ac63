//go:build !unix

package poll

import (
	"errors"
	"time"
)

// OpenPortable returns a Poller that takes no descriptors.
func OpenPortable() (Poller, error) { return sleeper(make(chan struct{}, 1)), nil }

type sleeper chan struct{}

func (p sleeper) Add(int, uint64, Events, bool) error    { return errors.ErrUnsupported }
func (p sleeper) Modify(int, uint64, Events, bool) error { return errors.ErrUnsupported }
func (p sleeper) Remove(int, bool) error                 { return errors.ErrUnsupported }
func (p sleeper) Poll([]Event) (int, error)              { return 0, nil }
func (p sleeper) Close() error                           { return nil }

func (p sleeper) Wait(_ []Event, timeout time.Duration) (int, error) {
	if timeout < 0 {
		<-p
		return 0, nil
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p:
	case <-timer.C:
	}
	return 0, nil
}

func (p sleeper) Wake() {
	select {
	case p <- struct{}{}:
	default:
	}
}
