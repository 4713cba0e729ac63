package loop

import (
	"time"

	"anteroom/internal/poll"
)

// NewPortable returns a loop that does what loops do where there is nothing better than poll(2).
func NewPortable() (*Loop, error) { return newLoop(poll.OpenPortable) }

// Lone has the loop take what it does now for what it does because of an event that has ended a sleep alone.
func (l *Loop) Lone() { l.lone = true }

// Asleep reports whether the loop sleeps, or is about to.
func (l *Loop) Asleep() bool { return l.asleep.Load() }

// NextRound ends a round of doubts, as if those from before it had been asked about.
func (l *Loop) NextRound() {
	l.doubts.old = doubted{}
	l.doubts.age()
}

// Round returns how long the round of doubts under way is.
func (l *Loop) Round() time.Duration { return l.doubts.patience }
