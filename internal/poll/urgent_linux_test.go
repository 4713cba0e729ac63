package poll_test

import (
	"net"
	"testing"

	"anteroom/internal/poll"
	"golang.org/x/sys/unix"
)

// An urgent byte that is not in line stays pending when all else is read: who watches for edges was told to look twice, and nobody is kept awake.
func TestUrgentBytes(t *testing.T) {
	p, err := poll.Open()
	must(t, err)
	defer p.Close()
	for _, edge := range []bool{true, false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		defer client.Close()
		server, err := l.Accept()
		must(t, err)
		defer server.Close()
		control := func(c net.Conn, f func(fd int)) {
			raw, err := c.(*net.TCPConn).SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) { f(int(fd)) }))
		}
		client.Write([]byte("x"))
		control(client, func(fd int) { err = unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
		must(t, err)
		control(server, func(fd int) {
			watched := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
			unix.Poll(watched, -1)
			must(t, p.Add(fd, 1, read, edge))
			told := events(t, p)[1]
			if told&read == 0 || (told&poll.Hangup != 0) != edge {
				t.Errorf("edge %v: told %v of the bytes", edge, told)
			}
			receive(t, fd)
			if told := events(t, p); len(told) > 0 {
				t.Errorf("edge %v: told %v when all is read", edge, told)
			}
			must(t, p.Remove(fd, false))
		})
	}
}
