//go:build unix && !linux

package poll

const pollEnded = 0 // poll does not tell the end from bytes
