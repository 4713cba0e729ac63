// Command anteroom is this library's server: with loops and one handler for all connections, or with a goroutine for each.
//
//	anteroom ADDRESS echo|sink loop|blocking
package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"anteroom/local"
	"anteroom/loop"
	"anteroom/tcp"
)

func main() {
	if err := run(os.Args[1], os.Args[2] == "echo", os.Args[3] == "loop"); err != nil {
		fmt.Fprintln(os.Stderr, "anteroom:", err)
		os.Exit(1)
	}
}

func run(addr string, echo, loops bool) error {
	isPath := strings.HasPrefix(addr, "/")
	if !loops {
		var l net.Listener
		var err error
		if isPath {
			l, err = local.Listen(addr)
		} else {
			l, err = tcp.Listen("127.0.0.1:" + addr)
		}
		if err != nil {
			return err
		}
		fmt.Println("ready")
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			go serve(c, echo)
		}
	}
	g, err := loop.NewGroup(1)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10) // one loop, so one buffer
	if isPath {
		var srv local.Server
		srv.SetLoops(g)
		srv.SetHandler(local.Handler{ReadyRead: func(c *local.Socket) {
			n, _ := c.ReadAvailable(buf)
			if echo {
				c.WriteBuffered(buf[:n])
			}
		}})
		srv.OnNewConnection(func() { srv.NextPendingConnection() })
		if err := srv.Listen(addr); err != nil {
			return err
		}
	} else {
		port, err := strconv.ParseUint(addr, 10, 16)
		if err != nil {
			return err
		}
		var srv tcp.Server
		srv.SetLoops(g)
		srv.SetHandler(tcp.Handler{ReadyRead: func(c *tcp.Socket) {
			n, _ := c.ReadAvailable(buf)
			if echo {
				c.WriteBuffered(buf[:n])
			}
		}})
		srv.OnNewConnection(func() { srv.NextPendingConnection() })
		if err := srv.Listen(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	return g.Run(context.Background())
}

func serve(c net.Conn, echo bool) {
	defer c.Close()
	if !echo {
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
