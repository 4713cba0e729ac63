//go:build !windows

package main

// passEnds returns a connection whose ends can be passed on, as they can here.
func passEnds(c conn, _ bool) conn { return c }
