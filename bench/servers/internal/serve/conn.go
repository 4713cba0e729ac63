//go:build linux

package serve

import (
	"encoding/binary"
	"io"
	"net"
)

// BufferSize is what echo reads into, as any program with a buffer for each connection would; streams have StreamBuffer.
const (
	BufferSize   = 4 << 10
	StreamBuffer = 64 << 10
)

// Blocking serves one connection with calls that wait, and closes it. push sends n messages in the way that is being measured.
func Blocking(c net.Conn, mode string, push func(c net.Conn, n uint64) error) {
	defer c.Close()
	switch mode {
	case "echo":
		buf := make([]byte, BufferSize)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	case "sink":
		buf := make([]byte, StreamBuffer)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	case "push":
		var request [8]byte
		for {
			if _, err := io.ReadFull(c, request[:]); err != nil {
				return
			}
			if push(c, binary.LittleEndian.Uint64(request[:])) != nil {
				return
			}
		}
	}
}
