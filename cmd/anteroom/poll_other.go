//go:build !unix

package main

import "io"

// hungUp takes each end for a hang-up: the system does not say more.
func hungUp(uintptr) bool { return true }

// hasInput does not know: the system does not say.
func hasInput(io.Reader) bool { return false }
