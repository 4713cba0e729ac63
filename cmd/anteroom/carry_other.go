//go:build !unix

package main

import (
	"io"
	"sync/atomic"
)

// vessels are what bytes are in on their way from one connection to another: here one buffer for each direction.
type vessels struct{}

func (*vessels) close() {}

// carry carries what one connection sends to another, and returns nil at its end.
func (*vessels) carry(from, to conn, count *atomic.Int64) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			sent, failed := to.Write(buf[:n])
			count.Add(int64(sent))
			if failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// awaitBreak does not know: the system does not say.
func awaitBreak(conn) outcome { return closedHere }
