//go:build linux

// Server go-net is the standard library's net: a goroutine for each connection, and one Write for each message that it pushes.
package main

import (
	"net"

	"anteroom/bench/servers/internal/serve"
)

func main() {
	network, address, mode := serve.Args()
	l, err := net.Listen(network, address)
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

func push(c net.Conn, n uint64) error {
	for range n {
		if _, err := c.Write(serve.Message); err != nil {
			return err
		}
	}
	return nil
}
