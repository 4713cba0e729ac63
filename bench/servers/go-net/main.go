// Command go-net is package net's server: a goroutine for each connection.
//
//	go-net ADDRESS echo|sink
package main

import (
	"fmt"
	"net"
	"os"
	"strings"
)

func main() {
	network, addr := "tcp", "127.0.0.1:"+os.Args[1]
	if strings.HasPrefix(os.Args[1], "/") {
		network, addr = "unix", os.Args[1]
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-net:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "go-net:", err)
			os.Exit(1)
		}
		go serve(c, os.Args[2] == "echo")
	}
}

func serve(c net.Conn, echo bool) {
	defer c.Close()
	size := 4 << 10
	if !echo {
		size = 64 << 10
	}
	buf := make([]byte, size)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if echo {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}
