package loop

import "anteroom/internal/poll"

// NewPortable returns a loop that does what loops do where there is nothing better than poll(2).
func NewPortable() (*Loop, error) { return newLoop(poll.OpenPortable) }
