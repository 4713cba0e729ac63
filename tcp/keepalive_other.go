//go:build unix && !linux && !freebsd && !netbsd && !dragonfly && !darwin

package tcp

// setKeepAlivePace leaves the pace to the system.
func setKeepAlivePace(int) {}
