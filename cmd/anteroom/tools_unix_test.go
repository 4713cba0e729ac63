//go:build unix

package main

// endTogether would let the processes that this one starts end with it: a script that kills it lets them read the end of their stdin.
func endTogether() {}
