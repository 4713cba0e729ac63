//go:build !gc || !(amd64 || arm64)

package loop

func prefetch(Handler) {}
