package local_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// Another program may send more at once than we would, or things that are no descriptors.
func TestReceiveDescriptorsOfAnotherProgram(t *testing.T) {
	x, y := rawPair(t)
	defer unix.Close(x)
	var c local.Socket
	must(t, c.SetSocketDescriptor(sock.FromFd(uintptr(y)), sock.ConnectedState, sock.ReadWrite))
	defer c.Abort()
	check := leakCheck(t)
	send := func(n int) {
		t.Helper()
		ds, _ := pipes(t, n)
		var fds []int
		for _, d := range ds {
			fd, _ := d.Fd()
			fds = append(fds, int(fd))
			defer d.Close()
		}
		must(t, unix.Sendmsg(x, []byte("abc"), unix.UnixRights(fds...), nil, 0))
	}
	wantAllWith := func(what string) {
		t.Helper()
		for _, n := range []int{1, local.MaxDescriptors} {
			send(n)
			_, ds, err := c.ReceiveDescriptors(make([]byte, 10))
			if err != nil || len(ds) != n {
				t.Errorf("with %s: %d descriptors, %v; want %d", what, len(ds), err, n)
			}
			for _, d := range ds {
				d.Close()
			}
			check()
		}
	}
	for _, n := range []int{local.MaxDescriptors + 1, 200, 253} {
		send(n)
		got, ds, err := c.ReceiveDescriptors(make([]byte, 10))
		wantIs(t, "too many", err, sock.SocketResourceError)
		if got != 3 || len(ds) != 0 {
			t.Errorf("%d bytes, %d descriptors", got, len(ds))
		}
		check()
	}
	send(local.MaxDescriptors)
	_, ds := receive(t, &c, 10)
	if len(ds) != local.MaxDescriptors {
		t.Errorf("%d came", len(ds))
	}
	for _, d := range ds {
		d.Close()
	}
	check()
	// Credentials, which a listener of systemd's may ask for, take no descriptor's place.
	rc, err := c.SyscallConn()
	must(t, err)
	must(t, rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }))
	must(t, err)
	wantAllWith("credentials")
	must(t, rc.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 0)
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1)
		}
	}))
	if err != nil {
		t.Skip("no SO_PASSPIDFD: ", err)
	}
	// A pidfd that comes with every message is nobody's, and must not stay.
	wantAllWith("a pidfd")
}

// In a process that has no room for all of them, none stays.
var _ = sockettest.Child("poor", func() {
	fail := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	fail(err)
	var c local.Socket
	fail(c.SetSocketDescriptor(sock.FromFd(uintptr(fds[1])), sock.ConnectedState, sock.ReadWrite))
	c.SetDeadline(time.Now().Add(sockettest.Long()))
	count := sockettest.OpenDescriptors()
	for range 10 {
		fail(unix.Sendmsg(fds[0], []byte("abc"), unix.UnixRights(0, 1, 2, 0, 1, 2, 0, 1), nil, 0))
		highest := fds[0]
		for fd := range 200 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				highest = max(highest, fd)
			}
		}
		var old, low unix.Rlimit
		fail(unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
		low = old
		low.Cur = uint64(highest + 4)
		fail(unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
		n, ds, err := c.ReceiveDescriptors(make([]byte, 10))
		fail(unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
		fmt.Println(n, len(ds), sock.CodeOf(err).Name(), sockettest.OpenDescriptors() == count)
	}
	fail(unix.Sendmsg(fds[0], []byte("abc"), unix.UnixRights(0, 1), nil, 0))
	n, ds, err := c.ReceiveDescriptors(make([]byte, 10))
	fmt.Println(n, len(ds), err)
})

func TestReceiveDescriptorsWithoutRoomForThem(t *testing.T) {
	endSoon(t)
	p := sockettest.Start(t, "poor")
	for range 10 {
		p.Expect("3 0 SocketResourceError true")
	}
	p.Expect("3 2 <nil>")
	if rest, err := p.Wait(); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

// The worker takes connections that it is given, and answers on them.
var _ = sockettest.Child("worker", func() {
	c, err := local.Dial(os.Args[1])
	if err != nil {
		panic(err)
	}
	for {
		buf := make([]byte, 1)
		_, ds, err := c.ReceiveDescriptors(buf)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, d := range ds {
			if buf[0] == 'L' {
				var srv local.Server
				if err := srv.ListenDescriptor(d); err != nil {
					panic(err)
				}
				one, err := srv.Accept()
				if err != nil {
					panic(err)
				}
				fmt.Fprintf(one, "process %d accepted", os.Getpid())
				one.Close()
				srv.Close()
				continue
			}
			var s local.Socket
			if err := s.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite); err != nil {
				panic(err)
			}
			s.SetDeadline(time.Now().Add(sockettest.Long()))
			line := make([]byte, 5)
			if _, err := io.ReadFull(&s, line); err != nil {
				panic(err)
			}
			p, err := s.Peer()
			fmt.Fprintf(&s, "process %d read %s of %d %v", os.Getpid(), line, p.PID, err)
			s.Close()
		}
		fmt.Println("done")
	}
})

func TestPassedConnectionGoesOnInAnotherProcess(t *testing.T) {
	control := listen(t)
	worker := sockettest.Start(t, "worker", control.FullServerName())
	line := next(t, control)
	front := listen(t)
	given := make(chan sock.Descriptor, 1)
	answer := func(c *local.Socket) string {
		c.SetReadDeadline(time.Now().Add(sockettest.Long()))
		b, err := io.ReadAll(c)
		must(t, err)
		return string(b)
	}
	want := fmt.Sprintf("process %d read hello of %d <nil>", worker.PID(), os.Getpid())
	tests := []struct {
		name string
		take func(t *testing.T) sock.Descriptor
	}{
		{"IncomingConnection's descriptor", func(t *testing.T) sock.Descriptor { return sockettest.Done(t, "it is accepted", given) }},
		{"FromConn of a Socket", func(t *testing.T) sock.Descriptor { return sock.FromConn(next(t, front)) }},
		{"FromConn of Go's net", func(t *testing.T) sock.Descriptor {
			d := sockettest.Done(t, "it is accepted", given)
			fd, _ := d.Fd()
			f := os.NewFile(fd, "")
			defer f.Close()
			c, err := net.FileConn(f)
			must(t, err)
			return sock.FromConn(c)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			front.SetIncomingConnection(nil)
			if !strings.HasSuffix(test.name, "Socket") {
				front.SetIncomingConnection(func(d sock.Descriptor) { given <- d })
			}
			check := leakCheck(t)
			client := dialName(t, front.FullServerName())
			_, err := client.Write([]byte("hello")) // waits unread while the connection changes hands
			must(t, err)
			must(t, line.SendDescriptors([]byte("c"), test.take(t)))
			if got := answer(client); got != want {
				t.Errorf("it answers %q; want %q", got, want)
			}
			worker.Expect("done")
			client.Abort()
			check()
		})
	}
	// A listener too.
	srv := listen(t)
	f, err := srv.File()
	must(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	f.Close()
	srv.PauseAccepting()
	client := dial(t, srv)
	must(t, line.SendDescriptors([]byte("L"), sock.FromFd(uintptr(fd))))
	if got, want := answer(client), fmt.Sprintf("process %d accepted", worker.PID()); got != want {
		t.Errorf("it answers %q; want %q", got, want)
	}
	if _, err := os.Lstat(srv.FullServerName()); err != nil {
		t.Errorf("the one who adopted the listener has removed its file: %v", err)
	}
	worker.Expect("done")
	line.Close()
	worker.Expect("EOF")
}
