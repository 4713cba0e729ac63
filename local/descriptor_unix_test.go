//go:build unix

package local_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// isOpen reports whether a descriptor is open.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// rawSocket returns a descriptor that is closed when the test ends, unless somebody else owns it by then.
func rawSocket(t testing.TB, family, typ int) int {
	t.Helper()
	fd, err := unix.Socket(family, typ, 0)
	must(t, err)
	return fd
}

// rawListener returns a listening socket that is bound to an address.
func rawListener(t testing.TB, name string) int {
	t.Helper()
	fd := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
	must(t, unix.Listen(fd, 10))
	return fd
}

func rawPair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	return fds[0], fds[1]
}

// foreign lists descriptors that neither a server nor a socket can use.
func foreign(t *testing.T) map[string]sock.Descriptor {
	file, err := os.CreateTemp(sockettest.Dir(t), "")
	must(t, err)
	fileFd, err := unix.Dup(int(file.Fd()))
	must(t, err)
	file.Close()
	closed, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 900)
	must(t, err)
	unix.Close(closed)
	tcp := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM)
	tcpListening := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM)
	must(t, unix.Bind(tcpListening, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(tcpListening, 1))
	lender := dial(t, listen(t))
	pipe := make([]int, 2)
	must(t, unix.Pipe(pipe))
	unix.Close(pipe[1])
	all := map[string]sock.Descriptor{
		"invalid":       {},
		"minus one":     sock.FromFd(^uintptr(0)),
		"huge":          sock.FromFd(^uintptr(0) >> 1),
		"closed":        sock.FromFd(uintptr(closed)),
		"file":          sock.FromFd(uintptr(fileFd)),
		"pipe":          sock.FromFd(uintptr(pipe[0])),
		"TCP":           sock.FromFd(uintptr(tcp)),
		"TCP listening": sock.FromFd(uintptr(tcpListening)),
		"UDP":           sock.FromFd(uintptr(rawSocket(t, unix.AF_INET, unix.SOCK_DGRAM))),
		"Unix datagram": sock.FromFd(uintptr(rawSocket(t, unix.AF_UNIX, unix.SOCK_DGRAM))),
		"unconnected":   sock.FromFd(uintptr(rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM))),
		"lent":          lender.SocketDescriptor(),
	}
	t.Cleanup(func() {
		for name, d := range all {
			if fd, ok := d.Fd(); ok && name != "closed" && name != "huge" && name != "lent" {
				if !isOpen(int(fd)) {
					t.Errorf("%s: the descriptor was closed, and is the caller's", name)
				}
				d.Close()
			}
		}
		wantState(t, lender, sock.ConnectedState)
	})
	return all
}

func TestServerListenDescriptorRefusesWhatIsNoListener(t *testing.T) {
	all := foreign(t)
	a, b := rawPair(t)
	defer unix.Close(b)
	all["connected"] = sock.FromFd(uintptr(a))
	for name, d := range all {
		var srv local.Server
		err := srv.ListenDescriptor(d)
		wantIs(t, name, err, sock.UnsupportedSocketOperationError)
		if srv.IsListening() || srv.Err() != err {
			t.Errorf("%s: listening %v, error %v", name, srv.IsListening(), srv.Err())
		}
		listenWith(t, &srv) // it can do that still
	}
	if _, err := unix.Write(a, []byte("x")); err != nil {
		t.Errorf("the connected descriptor is not usable any more: %v", err)
	}
}

func TestSocketSetSocketDescriptorRefusesWhatIsNoConnection(t *testing.T) {
	all := foreign(t)
	all["listening"] = sock.FromFd(uintptr(rawListener(t, sockettest.Name(t))))
	for name, d := range all {
		if name == "unconnected" {
			continue // below
		}
		var c local.Socket
		log := watch(t, &c)
		wantIs(t, name, c.SetSocketDescriptor(d, sock.ConnectedState, sock.ReadWrite), sock.UnsupportedSocketOperationError)
		wantState(t, &c, sock.UnconnectedState)
		if c.IsValid() {
			t.Errorf("%s: it is valid", name)
		}
		log.want(t)
		closeLater(t, &c)
		must(t, c.ConnectToServer(listen(t).FullServerName(), 0)) // it can do that still
	}
}

// closedGroup returns loops that take no descriptor any more.
func closedGroup(t *testing.T) *loop.Group {
	t.Helper()
	g, err := loop.NewGroup(1)
	must(t, err)
	must(t, g.Close())
	return g
}

func TestServerListenDescriptorThatItsLoopsRefuse(t *testing.T) {
	fd := rawListener(t, sockettest.Name(t))
	var srv local.Server
	srv.SetLoops(closedGroup(t))
	wantIs(t, "ListenDescriptor", srv.ListenDescriptor(sock.FromFd(uintptr(fd))), sock.OperationError)
	if !isOpen(fd) {
		t.Fatal("the descriptor was closed, and is the caller's")
	}
	srv.SetLoops(nil)
	must(t, srv.ListenDescriptor(sock.FromFd(uintptr(fd))))
	must(t, srv.Close())
	if isOpen(fd) {
		t.Error("Close has left the descriptor open")
	}
}

func TestSocketSetSocketDescriptorThatItsLoopRefuses(t *testing.T) {
	c, s := pair(t)
	s.Write([]byte("hello"))
	must(t, s.Close())
	must(t, c.WaitForDisconnected(sockettest.Long()))
	must(t, c.SetLoop(closedGroup(t).Next()))
	is := func() string { return fmt.Sprint(c.State(), c.Err(), c.RemoteAddr(), c.BytesAvailable()) }
	before := is()
	a, b := rawPair(t)
	defer unix.Close(b)
	wantIs(t, "SetSocketDescriptor", c.SetSocketDescriptor(sock.FromFd(uintptr(a)), sock.ConnectedState, 0), sock.OperationError)
	if after := is(); after != before {
		t.Errorf("the socket was %s, and is %s", before, after)
	}
	if !isOpen(a) {
		t.Error("the descriptor was closed, and is the caller's")
	}
	unix.Close(a)
}

func TestSocketSetSocketDescriptorUnconnected(t *testing.T) {
	fd := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)
	defer unix.Close(fd)
	var c local.Socket
	err := c.SetSocketDescriptor(sock.FromFd(uintptr(fd)), sock.ConnectedState, sock.ReadWrite)
	if err == nil {
		t.Fatal("it took a socket that is not connected")
	}
	wantIs(t, "SetSocketDescriptor", err, sock.UnsupportedSocketOperationError, syscall.ENOTCONN)
	if !isOpen(fd) {
		t.Error("the descriptor was closed, and is the caller's")
	}
}

func TestSocketSetSocketDescriptorStatesAndModes(t *testing.T) {
	for _, st := range []sock.State{sock.UnconnectedState, sock.ConnectingState, sock.ListeningState, sock.ClosingState, 99} {
		a, b := rawPair(t)
		var c local.Socket
		wantIs(t, st.String(), c.SetSocketDescriptor(sock.FromFd(uintptr(a)), st, sock.ReadWrite), sock.UnsupportedSocketOperationError)
		wantState(t, &c, sock.UnconnectedState)
		must(t, unix.Close(a))
		must(t, unix.Close(b))
	}
	for _, mode := range []sock.OpenMode{0, sock.ReadOnly, sock.WriteOnly, sock.ReadWrite} {
		a, b := rawPair(t)
		c := closeLater(t, new(local.Socket))
		log := watch(t, c)
		must(t, c.SetSocketDescriptor(sock.FromFd(uintptr(a)), sock.ConnectedState, mode))
		log.want(t, "ConnectedState") // and not connected: nothing was connected
		if fd, ok := c.SocketDescriptor().Fd(); !ok || fd != uintptr(a) || !c.SocketDescriptor().IsLent() {
			t.Errorf("its descriptor is %v", c.SocketDescriptor())
		}
		if flags, _ := unix.FcntlInt(uintptr(a), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("the descriptor is not closed on exec")
		}
		_, writeErr := c.Write([]byte("x"))
		if (writeErr == nil) != (mode != sock.ReadOnly) {
			t.Errorf("%v: Write: %v", mode, writeErr)
		}
		unix.Write(b, []byte("y"))
		c.SetReadDeadline(time.Now().Add(sockettest.Long()))
		_, readErr := c.Read(make([]byte, 1))
		if (readErr == nil) != (mode != sock.WriteOnly) {
			t.Errorf("%v: Read: %v", mode, readErr)
		}
		if c.ServerName() != "" || c.FullServerName() != "" {
			t.Errorf("a socket without a name calls its server %q, %q", c.ServerName(), c.FullServerName())
		}
		a2, b2 := rawPair(t)
		wantIs(t, "a second one", c.SetSocketDescriptor(sock.FromFd(uintptr(a2)), sock.ConnectedState, mode), sock.OperationError)
		if !isOpen(a2) {
			t.Error("the second descriptor was closed, and is the caller's")
		}
		unix.Close(a2)
		unix.Close(b2)
		must(t, c.Close())
		if isOpen(a) {
			t.Error("Close has left the descriptor open")
		}
		unix.Close(b)
	}
}

func TestSocketSetSocketDescriptorOfNetConn(t *testing.T) {
	name := sockettest.Name(t)
	l, err := net.Listen("unix", name)
	must(t, err)
	defer l.Close()
	conn, err := net.Dial("unix", name)
	must(t, err)
	peer, err := l.Accept()
	must(t, err)
	defer peer.Close()
	c := closeLater(t, new(local.Socket))
	must(t, c.SetSocketDescriptor(sock.FromConn(conn), sock.ConnectedState, sock.ReadWrite))
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("the connection that was taken is open still")
	}
	if c.FullServerName() != name || c.ServerName() != filepath.Base(name) {
		t.Errorf("its server is %q, %q; want %q", c.ServerName(), c.FullServerName(), name)
	}
	go c.Write([]byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	client, server := net.Pipe() // has no handle
	defer client.Close()
	defer server.Close()
	wantIs(t, "a pipe", new(local.Socket).SetSocketDescriptor(sock.FromConn(client), sock.ConnectedState, 0), sock.UnsupportedSocketOperationError)
	go client.Write([]byte("x"))
	if _, err := server.Read(b); err != nil {
		t.Errorf("the pipe is not the caller's any more: %v", err)
	}
}

// A connection that another Socket has is not taken while that holds bytes of it.
func TestSocketSetSocketDescriptorOfSockets(t *testing.T) {
	refused := func(t *testing.T, old *local.Socket) {
		t.Helper()
		var c local.Socket
		wantIs(t, "SetSocketDescriptor", c.SetSocketDescriptor(sock.FromConn(old), sock.ConnectedState, 0), sock.OperationError)
		wantState(t, &c, sock.UnconnectedState)
		wantState(t, old, sock.ConnectedState)
	}
	client, server := pair(t)
	client.Write([]byte("hello"))
	must(t, server.WaitForReadyRead(sockettest.Long()))
	server.BytesAvailable() // buffers them
	refused(t, server)
	if got, err := server.Peek(5); string(got) != "hello" || err != nil {
		t.Errorf("peeked %q, %v", got, err)
	}
	server.Skip(5)
	big := make([]byte, 32<<20)
	server.WriteBuffered(big)
	refused(t, server)
	read := sockettest.Go(func() error { _, err := io.ReadFull(client, big); return err })
	for server.BytesToWrite() > 0 {
		must(t, server.WaitForBytesWritten(sockettest.Long()))
	}
	must(t, sockettest.Done(t, "all is read", read))
	c := closeLater(t, new(local.Socket))
	must(t, c.SetSocketDescriptor(sock.FromConn(server), sock.ConnectedState, 0))
	wantState(t, server, sock.UnconnectedState)
	c.Write([]byte("after"))
	after := make([]byte, 5)
	client.SetReadDeadline(time.Now().Add(sockettest.Long()))
	if _, err := io.ReadFull(client, after); string(after) != "after" || err != nil {
		t.Errorf("read %q, %v", after, err)
	}
}

// A connection that is closed, or was never one, is as good as none.
func TestSocketSetSocketDescriptorOfClosedConnections(t *testing.T) {
	srv := listen(t)
	plain, err := net.Dial("unix", srv.FullServerName())
	must(t, err)
	own := dial(t, srv)
	must(t, plain.Close())
	must(t, own.Close())
	for name, c := range map[string]net.Conn{
		"closed":                plain,
		"closed, a socket":      own,
		"zero":                  new(net.UnixConn),
		"zero, a socket":        new(local.Socket),
		"nil pointer":           (*net.UnixConn)(nil),
		"nil pointer, a socket": (*local.Socket)(nil),
	} {
		var c2 local.Socket
		err := c2.SetSocketDescriptor(sock.FromConn(c), sock.ConnectedState, 0)
		if wantIs(t, name, err, sock.UnsupportedSocketOperationError); sock.CodeOf(err) != sock.UnsupportedSocketOperationError {
			t.Errorf("%s: the code is %s", name, sock.CodeOf(err).Name())
		}
		wantState(t, &c2, sock.UnconnectedState)
	}
}

func TestServerListenDescriptorNeverUnlinks(t *testing.T) {
	name := sockettest.Name(t)
	fd := rawListener(t, name)
	var srv local.Server
	must(t, srv.ListenDescriptor(sock.FromFd(uintptr(fd))))
	if srv.FullServerName() != name || srv.ServerName() != filepath.Base(name) || srv.Addr().String() != name || !srv.IsListening() {
		t.Errorf("names %q, %q, address %v", srv.ServerName(), srv.FullServerName(), srv.Addr())
	}
	if got, ok := srv.SocketDescriptor().Fd(); !ok || got != uintptr(fd) {
		t.Errorf("its descriptor is %d; want %d", got, fd)
	}
	dial(t, &srv)
	if c := next(t, &srv); c.FullServerName() != name {
		t.Errorf("the accepted socket's server is %q", c.FullServerName())
	}
	srv.SetUnlinkOnClose(true) // changes nothing: the file is not ours
	must(t, srv.Close())
	if _, err := os.Lstat(name); err != nil {
		t.Errorf("Close has removed a file that is not the server's: %v", err)
	}
	if isOpen(fd) {
		t.Error("Close has left the descriptor open")
	}
}

func TestServerSocketDescriptorIsLent(t *testing.T) {
	srv := listen(t)
	d := srv.SocketDescriptor()
	if !d.IsValid() || !d.IsLent() {
		t.Errorf("valid %v, lent %v", d.IsValid(), d.IsLent())
	}
	must(t, d.Close()) // does nothing
	dial(t, srv)
	next(t, srv)
	var second local.Server
	wantIs(t, "ListenDescriptor", second.ListenDescriptor(d), sock.UnsupportedSocketOperationError)
}

// Giving the file to a child process makes it blocking in many programs: os.File.Fd does, and os/exec calls that. The two share that
// flag, and the server must not hang because of it.
func TestServerDuplicateThatWasMadeBlockingDoesNotStopTheServer(t *testing.T) {
	for _, from := range []string{"File", "SyscallConn", "SocketDescriptor"} {
		t.Run(from, func(t *testing.T) {
			p := sockettest.Start(t, "blocking duplicate", sockettest.Name(t), from) // which may hang altogether
			p.Expect("served")
			p.Expect("timed out")
			p.Expect("closed")
		})
	}
}

var _ = sockettest.Child("blocking duplicate", func() {
	srv, err := local.Listen(os.Args[1])
	mustChild(err)
	var file *os.File
	dup := func(fd uintptr) {
		d, err := unix.Dup(int(fd))
		mustChild(err)
		file = os.NewFile(uintptr(d), "duplicate")
	}
	switch os.Args[2] {
	case "File":
		file, err = srv.File()
		mustChild(err)
	case "SyscallConn":
		raw, err := srv.SyscallConn()
		mustChild(err)
		mustChild(raw.Control(dup))
	case "SocketDescriptor":
		fd, _ := srv.SocketDescriptor().Fd()
		dup(fd)
	}
	cmd := exec.Command("true")
	cmd.ExtraFiles = []*os.File{file}
	mustChild(cmd.Run())
	mustChild(unix.SetNonblock(int(file.Fd()), false))
	for range 3 {
		c, err := local.Dial(os.Args[1])
		mustChild(err)
		s, err := srv.Accept()
		mustChild(err)
		s.Close()
		c.Close()
	}
	fmt.Println("served")
	if srv.WaitForNewConnection(small) != nil {
		fmt.Println("timed out")
	}
	runtime.GC()
	mustChild(srv.Close())
	fmt.Println("closed")
})

func TestServerSyscallConn(t *testing.T) {
	srv := listen(t)
	raw, err := srv.SyscallConn()
	must(t, err)
	var fd uintptr
	must(t, raw.Control(func(f uintptr) { fd = f }))
	if d, _ := srv.SocketDescriptor().Fd(); d != fd {
		t.Errorf("the descriptors are %d and %d", fd, d)
	}
	must(t, srv.SetDeadline(time.Now().Add(small)))
	read := sockettest.Go(func() error { return raw.Read(func(uintptr) bool { return false }) })
	wantIs(t, "Read with a deadline", sockettest.Done(t, "Read returns", read), os.ErrDeadlineExceeded)
	must(t, srv.SetDeadline(time.Time{}))
	dial(t, srv)
	next(t, srv)
	must(t, srv.Close())
	if raw.Control(func(uintptr) {}) == nil {
		t.Error("Control works after Close")
	}
}

// A handler that gives its socket another connection, at the same home or another, and writes to it, has that sent.
func TestHandlerThatTakesADescriptor(t *testing.T) {
	for name, test := range map[string]struct {
		moves    bool
		farewell string
	}{"the same home": {false, ""}, "the same home, with a farewell": {false, "bye"}, "another home": {true, ""}, "another home, with a farewell": {true, "bye"}} {
		t.Run(name, func(t *testing.T) {
			g, l := oneLoop(t)
			run(t, l)
			ours, theirs := rawPair(t)
			peer := closeLater(t, new(local.Socket))
			must(t, peer.SetSocketDescriptor(sock.FromFd(uintptr(theirs)), sock.ConnectedState, 0))
			srv := new(local.Server)
			srv.SetLoops(g)
			srv.SetHandler(local.Handler{ReadyRead: func(c *local.Socket) {
				c.ReadAvailable(make([]byte, 10))
				c.WriteBuffered([]byte(test.farewell))
				c.Close()
				if test.moves {
					must(t, c.SetLoop(l)) // to where those of no server are
				}
				must(t, c.SetSocketDescriptor(sock.FromFd(uintptr(ours)), sock.ConnectedState, 0))
				c.WriteBuffered([]byte("hello"))
			}})
			srv.OnNewConnection(func() { closeLater(t, srv.NextPendingConnection()) })
			listenWith(t, srv)
			c := dial(t, srv)
			c.Write([]byte("x"))
			c.SetDeadline(time.Now().Add(sockettest.Long()))
			peer.SetDeadline(time.Now().Add(sockettest.Long()))
			if b, err := io.ReadAll(c); string(b) != test.farewell {
				t.Errorf("the first peer has read %q, %v", b, err)
			}
			b := make([]byte, 5)
			if n, err := io.ReadFull(peer, b); string(b[:n]) != "hello" {
				t.Errorf("the second peer has read %q, %v", b[:n], err)
			}
		})
	}
}

// A descriptor may have duplicates: the loop forgets the connection all the same when that ends.
func TestLoopDescriptorThatHasADuplicate(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	fd, peer := rawPair(t)
	defer unix.Close(fd)
	defer unix.Close(peer)
	for range 2 { // the second time under the same number
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 800)
		must(t, err)
		c := loopSocket(t, l)
		must(t, c.SetSocketDescriptor(sock.FromFd(uintptr(d)), sock.ConnectedState, 0))
		c.Abort()
	}
}

// A descriptor that a loop does not take stays the caller's, and a connection of package net does, too.
func TestLoopDescriptorThatIsRefused(t *testing.T) {
	l := newLoop(t)
	must(t, l.Close())
	fd, peer := rawPair(t)
	defer unix.Close(peer)
	wantIs(t, "SetSocketDescriptor", loopSocket(t, l).SetSocketDescriptor(sock.FromFd(uintptr(fd)), sock.ConnectedState, 0), sock.OperationError)
	if !isOpen(fd) {
		t.Error("the descriptor was closed")
	}
	file := os.NewFile(uintptr(fd), "pair")
	conn, err := net.FileConn(file)
	must(t, err)
	must(t, file.Close())
	defer conn.Close()
	wantIs(t, "SetSocketDescriptor", loopSocket(t, l).SetSocketDescriptor(sock.FromConn(conn), sock.ConnectedState, 0), sock.OperationError)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("the connection was closed: %v", err)
	}
}
