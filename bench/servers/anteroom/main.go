//go:build linux

// Server anteroom is this library used as net is: Accept, Read and Write, and a goroutine for each connection. What it pushes goes through
// WriteBuffered.
package main

import (
	"net"
	"time"

	"anteroom/bench/servers/internal/serve"
	"anteroom/local"
	"anteroom/sock"
	"anteroom/tcp"
)

func main() {
	network, address, mode := serve.Args()
	l, err := listen(network, address)
	serve.Check(err)
	serve.Ready()
	for {
		c, err := l.Accept()
		serve.Check(err)
		if mode == "close" {
			c.Close()
			continue
		}
		go serve.Blocking(c, mode, push)
	}
}

func listen(network, address string) (net.Listener, error) {
	if network == "unix" {
		return local.Listen(address)
	}
	return tcp.Listen(address)
}

// buffered is what local's and tcp's sockets have in common here.
type buffered interface {
	WriteBuffered([]byte) (int, error)
	BytesToWrite() int64
	WaitForBytesWritten(time.Duration) error
}

func push(c net.Conn, n uint64) error {
	s := c.(buffered)
	for n > 0 {
		batch := min(n, serve.Batch)
		for range batch {
			if _, err := s.WriteBuffered(serve.Message); err != nil {
				return err
			}
		}
		n -= batch
		for s.BytesToWrite() > 0 {
			if err := s.WaitForBytesWritten(sock.Forever); err != nil {
				return err
			}
		}
	}
	return nil
}
