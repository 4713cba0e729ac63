//go:build unix

package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"
)

var _ = sockettest.Child("listen as nobody", func() {
	mustChild(sockettest.BecomeUser(65534))
	srv, err := tcp.Listen(os.Args[1])
	if err == nil {
		srv.Close()
	}
	fmt.Println(sock.CodeOf(err).Name(), errors.Is(err, os.ErrPermission))
})

func TestServerSocketAccessError(t *testing.T) {
	sockettest.NeedRoot(t)
	const port = 80
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		if first, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && first <= port {
			t.Skip("needs a system on which port 80 is for root alone")
		}
	}
	sockettest.Start(t, "listen as nobody", "127.0.0.1:80").Expect("SocketAccessError true")
}

// The child listens with few descriptors: in each of two rounds there are three for the clients that come.
var _ = sockettest.Child("few descriptors", func() {
	var srv tcp.Server
	told := make(chan error, 100)
	srv.OnAcceptError(func(err error) { told <- err })
	mustChild(srv.Listen(loopback, 0))
	fmt.Println(srv.Addr())
	conns := make(chan *tcp.Socket, 100)
	go func() {
		for c, err := range srv.Connections(context.Background()) {
			mustChild(err)
			conns <- c
		}
	}()
	for range 2 {
		srv.PauseAccepting()
		giveBack, err := sockettest.LeaveDescriptors(3)
		mustChild(err)
		srv.ResumeAccepting()
		fmt.Println("ready")
		err = <-told
		fmt.Println(sock.CodeOf(err).Name(), srv.ServerError().Name(), errors.Is(err, syscall.EMFILE))
		before, _ := sockettest.CPUTime()
		const look = 300 * time.Millisecond
		time.Sleep(look) // does it spin, or say it again?
		after, _ := sockettest.CPUTime()
		fmt.Println("idle:", after-before < look/3, "told once:", len(told) == 0, "accepted:", len(conns), "listening:", srv.IsListening())
		giveBack()
		for range 8 {
			c := <-conns
			c.Write([]byte("hello"))
			c.Close()
		}
	}
})

func TestServerOutOfDescriptorsGoesOnByItself(t *testing.T) {
	p := sockettest.Start(t, "few descriptors")
	addr := p.Line()
	for round := range 2 {
		p.Expect("ready")
		var clients []*tcp.Socket
		for range 8 {
			clients = append(clients, closeLater(t, dialTo(t, addr)))
		}
		p.Expect("SocketResourceError SocketResourceError true")
		p.Expect("idle: true told once: true accepted: 3 listening: true")
		for i, c := range clients {
			c.SetReadDeadline(time.Now().Add(sockettest.Long()))
			if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
				t.Errorf("round %d, client %d: %q, %v", round, i, b, err)
			}
			c.Abort()
		}
	}
	if rest, err := p.Wait(); err != nil || len(rest) > 0 {
		t.Errorf("the child has ended with %v, and said %q", err, rest)
	}
}

// Connecting out of descriptors says so, and listening too.
var _ = sockettest.Child("no descriptors", func() {
	srv, err := tcp.Listen("127.0.0.1:0")
	mustChild(err)
	srv.PauseAccepting()
	_, err = sockettest.LeaveDescriptors(0)
	mustChild(err)
	_, err = tcp.Dial(srv.Addr().String())
	fmt.Println(sock.CodeOf(err).Name(), errors.Is(err, syscall.EMFILE))
	_, err = tcp.Listen("127.0.0.1:0")
	fmt.Println(sock.CodeOf(err).Name(), errors.Is(err, syscall.EMFILE))
	_, err = srv.File()
	fmt.Println(sock.CodeOf(err).Name(), errors.Is(err, syscall.EMFILE))
})

func TestOutOfDescriptors(t *testing.T) {
	p := sockettest.Start(t, "no descriptors")
	for range 3 {
		p.Expect("SocketResourceError true")
	}
}
