package tcp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
	"golang.org/x/sys/unix"
)

// control calls f with a connection's descriptor.
func control(t testing.TB, c syscall.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { err = f(int(fd)) }))
	must(t, err)
}

// vanish makes a peer deaf: its system throws away whatever comes, as if the machine, or the cable, were gone.
func vanish(t testing.TB, c *net.TCPConn) {
	t.Helper()
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	control(t, c, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
}

// hurry gives keep-alive another pace than 15 s, so that a test can wait for it.
func hurry(t testing.TB, c *tcp.Socket) {
	t.Helper()
	control(t, c, func(fd int) error {
		for _, name := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT} {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, name, 1); err != nil {
				return err
			}
		}
		return nil
	})
}

// Both ends of a connection have keep-alive on, at the pace of Go's net, so that a peer that vanishes is noticed though nobody writes.
func TestHostileVanishedPeersKeepAliveIsOn(t *testing.T) {
	check := func(t *testing.T, who string, c *tcp.Socket) {
		control(t, c, func(fd int) error {
			for _, o := range []struct{ level, name, want int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
				{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
			} {
				if got, err := unix.GetsockoptInt(fd, o.level, o.name); err != nil || got != o.want {
					t.Errorf("%s: option %d of level %d is %d, %v; want %d", who, o.name, o.level, got, err, o.want)
				}
			}
			return nil
		})
	}
	for _, loops := range []bool{false, true} {
		t.Run(fmt.Sprintf("loops %v", loops), func(t *testing.T) {
			var srv tcp.Server
			if loops {
				srv.SetLoops(hostileLoops(t))
			}
			listenWith(t, &srv)
			check(t, "client", dial(t, &srv))
			check(t, "taken by NextPendingConnection", next(t, &srv))
			dial(t, &srv)
			c, err := srv.AcceptContext(context.Background())
			must(t, err)
			check(t, "taken by AcceptContext", closeLater(t, c))
		})
	}
}

// A peer that vanishes ends the connection when keep-alive has had no answer, for a Read, for a wait and for callbacks.
func TestHostileVanishedPeersAreNoticed(t *testing.T) {
	for name, notice := range map[string]func(t *testing.T, c *tcp.Socket){
		"Read": func(t *testing.T, c *tcp.Socket) {
			read := sockettest.Go(func() error { _, err := c.Read(make([]byte, 1)); return err })
			wantIs(t, "Read", sockettest.Done(t, "Read returns", read), sock.SocketTimeoutError, syscall.ETIMEDOUT)
		},
		"WaitForDisconnected": func(t *testing.T, c *tcp.Socket) {
			must(t, c.WaitForDisconnected(sockettest.Long()))
			wantIs(t, "Err", c.Err(), syscall.ETIMEDOUT)
			wantState(t, c, sock.UnconnectedState)
		},
		"callbacks": func(t *testing.T, c *tcp.Socket) {
			watch(c).comes(t, "SocketTimeoutError", "ClosingState", "UnconnectedState", "disconnected")
			wantIs(t, "Err", c.Err(), syscall.ETIMEDOUT)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachTaken(t, func(t *testing.T, client *net.TCPConn, server *tcp.Socket) {
				vanish(t, client)
				hurry(t, server)
				notice(t, server)
			})
		})
	}
}

// Peers that vanish in the midst of an answer cost a program with deadlines no more than these, and others nothing.
func TestHostileVanishedPeersMeetTheDeadline(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		h.patience, h.workers = sockettest.Scale(time.Second), 8
		h.open()
		for range 20 {
			c := mustPlainDial(t, h.addr())
			must(t, ask(c, "I am here"))
			c.Write(bytes.Repeat([]byte("where are you?\n"), 100))
			vanish(t, c)
		}
		wantServed(t, h.addr())
		h.wantEmpty(t)
		if h.taken.Load() < 20 {
			t.Errorf("%d connections were taken", h.taken.Load())
		}
		h.wantAtMost(t, 0, 20) // the peers' own
	})
}

// A read stops at an urgent byte, which is in line here; what follows it is told of all the same, on a loop, too.
func TestLoopBytesBehindAnUrgentOne(t *testing.T) {
	g := runLoops(t, 1)
	c, peer := loopPair(t, g.Next())
	got := make(chan string, 100)
	c.OnReadyRead(func() {
		b := make([]byte, 100)
		n, _ := c.ReadAvailable(b)
		got <- string(b[:n])
	})
	peer.Write([]byte("<"))
	if s := sockettest.Done(t, "it is told", got); s != "<" {
		t.Fatalf("it has read %q", s)
	}
	began, end := make(chan struct{}), make(chan struct{})
	g.Next().Post(func() { close(began); <-end })
	sockettest.Done(t, "the loop is busy", began)
	peer.Write([]byte("before"))
	control(t, peer, func(fd int) error { return unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
	peer.Write([]byte("after>"))
	sockettest.Eventually(t, "all has come", func() (all bool) {
		control(t, c, func(fd int) error {
			n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
			all = n == len("before!after>")
			return err
		})
		return all
	})
	close(end)
	for all := ""; all != "before!after>"; {
		all += sockettest.Done(t, "more is read than "+all, got)
	}
}

// An urgent byte is a byte of the stream, wherever the connection has come from.
func TestUrgentByteIsInTheStream(t *testing.T) {
	send := func(t *testing.T, c *net.TCPConn) { // in any goroutine
		c.Write([]byte("before"))
		var err error
		if raw, gone := c.SyscallConn(); gone != nil {
			err = gone
		} else if gone := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }); gone != nil {
			err = gone
		}
		if err != nil {
			t.Errorf("the urgent byte was not sent: %v", err)
		}
		c.Write([]byte("after"))
		c.CloseWrite()
	}
	given := func(t *testing.T, give func(*net.TCPConn) sock.Descriptor) *tcp.Socket {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		t.Cleanup(func() { client.Close() })
		server, err := l.Accept()
		must(t, err)
		c := closeLater(t, new(tcp.Socket))
		must(t, c.SetSocketDescriptor(give(server.(*net.TCPConn)), sock.ConnectedState, 0))
		send(t, client.(*net.TCPConn))
		return c
	}
	through := func(t *testing.T) proxy.Proxy { // which has a peer for whoever listens, and is the peer of whoever connects
		return serveEach(t, func(c *net.TCPConn) {
			b := make([]byte, 10)
			io.ReadFull(c, b[:3])
			c.Write([]byte{5, 0})
			io.ReadFull(c, b)
			if reply(c, 0, loopbackPort(7)); b[1] == 2 {
				reply(c, 0, loopbackPort(8))
			}
			send(t, c)
			io.Copy(io.Discard, c)
		})
	}
	for name, connect := range map[string]func(t *testing.T) *tcp.Socket{
		"from a descriptor": func(t *testing.T) *tcp.Socket {
			return given(t, func(c *net.TCPConn) sock.Descriptor {
				defer c.Close()
				fd := -1
				control(t, c, func(of int) (err error) { fd, err = unix.FcntlInt(uintptr(of), unix.F_DUPFD_CLOEXEC, 0); return err })
				return sock.FromFd(uintptr(fd))
			})
		},
		"from a connection of package net": func(t *testing.T) *tcp.Socket {
			return given(t, func(c *net.TCPConn) sock.Descriptor { return sock.FromConn(c) })
		},
		"to a proxy": func(t *testing.T) *tcp.Socket {
			p := through(t)
			c := closeLater(t, new(tcp.Socket))
			c.SetProxy(p)
			must(t, c.ConnectContext(t.Context(), "192.0.2.1:7"))
			return c
		},
		"from a proxy": func(t *testing.T) *tcp.Socket {
			srv := new(tcp.Server)
			srv.SetProxy(through(t))
			srv.SetProxyRebind(false)
			t.Cleanup(func() { srv.Close() })
			must(t, srv.Listen(netip.Addr{}, 0))
			return next(t, srv)
		},
	} {
		t.Run(name, func(t *testing.T) { wantRead(t, connect(t), "before!after") })
	}
}

func loopbackPort(port uint16) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, port))
}

// A reset that a big write meets is told as what it is.
func TestHostileResetBeforeABigWrite(t *testing.T) {
	srv := new(tcp.Server)
	srv.SetLoops(runLoops(t, 1))
	read, reset, told := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	srv.SetHandler(tcp.Handler{
		ReadyRead: func(c *tcp.Socket) {
			if n, _ := c.ReadAvailable(make([]byte, 10)); n == 0 {
				return
			}
			close(read)
			<-reset
			control(t, c, func(fd int) error { // until it is here
				fds := []unix.PollFd{{Fd: int32(fd)}}
				for fds[0].Revents&unix.POLLERR == 0 {
					if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
						return err
					}
				}
				return nil
			})
			c.WriteBuffered(make([]byte, 100<<10))
		},
		ErrorOccurred: func(c *tcp.Socket, _ sock.SocketError) { told <- c.Err() },
	})
	srv.OnNewConnection(func() { closeLater(t, srv.NextPendingConnection()) })
	listenWith(t, srv)
	c, err := net.Dial("tcp", srv.Addr().String())
	must(t, err)
	c.Write([]byte("x"))
	sockettest.Done(t, "the handler has read", read)
	must(t, c.(*net.TCPConn).SetLinger(0))
	must(t, c.Close())
	close(reset)
	wantIs(t, "what is told", sockettest.Done(t, "the end is told", told), syscall.ECONNRESET)
}

// That there is an urgent byte, at which reads stop, is known also if nobody listened when it came. Here it is a byte of the stream.
func TestLoopBytesBehindAnUrgentOneThatNobodyHeard(t *testing.T) {
	g := runLoops(t, 1)
	srv := new(tcp.Server)
	srv.SetLoops(g)
	listenWith(t, srv)
	peer := dial(t, srv)
	c := next(t, srv)
	peer.Write([]byte("before"))
	control(t, peer, func(fd int) error { return unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
	peer.Write([]byte("after"))
	for range 2 {
		turned := make(chan struct{})
		g.Next().Post(func() { close(turned) })
		sockettest.Done(t, "the loop turns", turned)
	}
	got := make(chan string, 10)
	c.OnReadyRead(func() {
		b := make([]byte, 100)
		n, _ := c.ReadAvailable(b)
		got <- string(b[:n])
	})
	for all := ""; all != "before!after"; {
		all += sockettest.Done(t, "there is more than "+all, got)
	}
}
