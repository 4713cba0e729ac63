//go:build !linux && !((darwin || dragonfly || freebsd || netbsd || openbsd) && (amd64 || arm64 || riscv64))

package poll

// Open returns the system's best Poller.
func Open() (Poller, error) { return OpenPortable() }
