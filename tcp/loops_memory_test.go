package tcp_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/tcp"
)

// The child opens as many connections as it is told to, has one echo of each, and keeps them until its input ends.
var _ = sockettest.Child("many clients", func() {
	n, err := strconv.Atoi(os.Args[2])
	mustChild(err)
	var clients []*tcp.Socket
	for range n {
		c, err := tcp.Dial(os.Args[1])
		mustChild(err)
		clients = append(clients, c)
		_, err = c.Write([]byte("hello"))
		mustChild(err)
		_, err = io.ReadFull(c, make([]byte, 5))
		mustChild(err)
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadByte()
	for _, c := range clients {
		c.Close()
	}
})

// inUse returns how much heap and stacks are in use after a collection.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools kept
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// What idle connections on a loop cost this process, each with an echo behind it and OnReadyRead and OnDisconnected connected, or with a
// handler. It prints the figures, of which go test -v shows them, and fails only if a connection does not do what it should.
func TestLoopMemoryOfIdleConnections(t *testing.T) {
	const connections = 2000
	for _, how := range []string{"callbacks", "handler"} {
		t.Run(how, func(t *testing.T) {
			sockettest.NeedLoops(t)
			g := runLoops(t, 2)
			srv := new(tcp.Server)
			srv.SetLoops(g)
			gone := make(chan struct{}, connections)
			bufs := make(chan []byte, 2) // one for each loop
			bufs <- make([]byte, 4096)
			bufs <- make([]byte, 4096)
			echo := func(c *tcp.Socket) {
				buf := <-bufs
				n, _ := c.ReadAvailable(buf)
				c.WriteBuffered(buf[:n])
				bufs <- buf
			}
			if how == "handler" {
				srv.SetHandler(tcp.Handler{ReadyRead: echo, Disconnected: func(*tcp.Socket) { gone <- struct{}{} }})
			}
			conns := make([]*tcp.Socket, 0, connections)
			srv.OnNewConnection(func() {
				c := srv.NextPendingConnection()
				conns = append(conns, c)
				if how == "callbacks" {
					c.OnReadyRead(func() { echo(c) })
					c.OnDisconnected(func() { gone <- struct{}{} })
				}
			})
			listenWith(t, srv)
			before := inUse()
			p := sockettest.Start(t, "many clients", srv.Addr().String(), strconv.Itoa(connections))
			p.Expect("ready")
			after := inUse()
			t.Logf("%s: %d bytes a connection", how, (int64(after)-int64(before))/connections)
			if _, err := p.Wait(); err != nil {
				t.Error(err)
			}
			for range connections {
				sockettest.Done(t, "the end is told", gone)
			}
			runtime.KeepAlive(conns)
		})
	}
}
