//go:build unix

package tcp_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/loop"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"

	"golang.org/x/sys/unix"
)

// isOpen reports whether a descriptor is open.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// closedFd returns a number that no descriptor has.
func closedFd(t testing.TB) int {
	t.Helper()
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 900)
	must(t, err)
	must(t, unix.Close(fd))
	return fd
}

// rawSocket returns a socket, whose descriptor is the caller's.
func rawSocket(t testing.TB, family, typ int) int {
	t.Helper()
	fd, err := unix.Socket(family, typ, 0)
	must(t, err)
	unix.CloseOnExec(fd)
	return fd
}

// bindLoopback binds a socket to a port of the loopback interface.
func bindLoopback(t testing.TB, fd, family int) {
	t.Helper()
	if family == unix.AF_INET {
		must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback.As4()}))
	} else {
		must(t, unix.Bind(fd, &unix.SockaddrInet6{Addr: loopback6.As16()}))
	}
}

// rawListener returns a listening socket on the loopback interface.
func rawListener(t testing.TB, family int) int {
	t.Helper()
	fd := rawSocket(t, family, unix.SOCK_STREAM)
	bindLoopback(t, fd, family)
	must(t, unix.Listen(fd, 10))
	return fd
}

// foreign lists descriptors that neither a server nor a socket can use, and what is said of them. When the test ends it looks whether they
// are open still, and closes them.
func foreign(t *testing.T) map[string]wrongDescriptor {
	file, err := os.CreateTemp(sockettest.Dir(t), "")
	must(t, err)
	fileFd, err := unix.Dup(int(file.Fd()))
	must(t, err)
	file.Close()
	var pipe [2]int
	must(t, unix.Pipe(pipe[:]))
	unix.Close(pipe[1])
	unixListener := rawSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)
	must(t, unix.Bind(unixListener, &unix.SockaddrUnix{Name: sockettest.Name(t)}))
	must(t, unix.Listen(unixListener, 1))
	unixPair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	udp := rawSocket(t, unix.AF_INET, unix.SOCK_DGRAM)
	bindLoopback(t, udp, unix.AF_INET)
	lender := dial(t, listen(t))
	all := map[string]wrongDescriptor{
		"invalid":        {sock.Descriptor{}, "not valid"},
		"huge":           {sock.FromFd(^uintptr(0) >> 33), "bad file descriptor"},
		"closed":         {sock.FromFd(uintptr(closedFd(t))), "bad file descriptor"},
		"file":           {sock.FromFd(uintptr(fileFd)), "non-socket"},
		"pipe":           {sock.FromFd(uintptr(pipe[0])), "non-socket"},
		"UDP":            {sock.FromFd(uintptr(udp)), "another type"},
		"Unix listening": {sock.FromFd(uintptr(unixListener)), "another family"},
		"Unix connected": {sock.FromFd(uintptr(unixPair[0])), "another family"},
		"Unix peer":      {sock.FromFd(uintptr(unixPair[1])), "another family"},
		"lent":           {lender.SocketDescriptor(), "lent"},
	}
	t.Cleanup(func() {
		for name, wrong := range all {
			if fd, ok := wrong.d.Fd(); ok && name != "closed" && name != "huge" && name != "lent" {
				if !isOpen(int(fd)) {
					t.Errorf("%s: the descriptor was closed, and is the caller's", name)
				}
				wrong.d.Close()
			}
		}
		wantState(t, lender, sock.ConnectedState)
	})
	return all
}

type wrongDescriptor struct {
	d    sock.Descriptor
	says string
}

func TestServerSetSocketDescriptorRefusesWhatIsNoListener(t *testing.T) {
	all := foreign(t)
	bound := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM)
	bindLoopback(t, bound, unix.AF_INET)
	all["bound"] = wrongDescriptor{sock.FromFd(uintptr(bound)), "does not listen"}
	all["fresh"] = wrongDescriptor{sock.FromFd(uintptr(rawSocket(t, unix.AF_INET6, unix.SOCK_STREAM))), "does not listen"}
	srv := listen(t)
	all["lent by a server"] = wrongDescriptor{srv.SocketDescriptor(), "lent"}
	connected, server := rawConnected(t)
	defer server.Close()
	all["connected"] = wrongDescriptor{sock.FromFd(uintptr(connected)), "does not listen"}
	conn, err := net.Dial("tcp", srv.Addr().String())
	must(t, err)
	all["net.Conn"] = wrongDescriptor{sock.FromConn(conn), "of a connection"}
	for name, wrong := range all {
		for member, take := range map[string]func(*tcp.Server, sock.Descriptor) error{
			"SetSocketDescriptor": (*tcp.Server).SetSocketDescriptor,
			"ListenDescriptor":    (*tcp.Server).ListenDescriptor,
		} {
			var srv tcp.Server
			err := take(&srv, wrong.d)
			wantIs(t, member+": "+name, err, sock.UnsupportedSocketOperationError)
			if err == nil || !strings.Contains(err.Error(), wrong.says) {
				t.Errorf("%s: %s: it says %v; want %q in it", member, name, err, wrong.says)
			}
			if srv.IsListening() || srv.Err() != err || srv.ServerPort() != 0 {
				t.Errorf("%s: %s: listening %v, error %v", member, name, srv.IsListening(), srv.Err())
			}
			listenWith(t, &srv) // it can do that still
			if err := take(&srv, wrong.d); !errors.Is(err, sock.OperationError) {
				t.Errorf("%s: while listening: %v", member, err)
			}
			srv.Close()
		}
	}
	if n, err := unix.Write(connected, []byte("x")); n != 1 || err != nil {
		t.Errorf("the connected descriptor is not usable any more: %v", err)
	}
	delete(all, "lent by a server")
}

func TestServerSetSocketDescriptorThatItsLoopsRefuse(t *testing.T) {
	fd := rawListener(t, unix.AF_INET)
	g, err := loop.NewGroup(1)
	must(t, err)
	must(t, g.Close())
	var srv tcp.Server
	srv.SetLoops(g)
	wantIs(t, "SetSocketDescriptor", srv.SetSocketDescriptor(sock.FromFd(uintptr(fd))), sock.OperationError)
	if !isOpen(fd) {
		t.Fatal("the descriptor was closed, and is the caller's")
	}
	srv.SetLoops(nil)
	must(t, srv.SetSocketDescriptor(sock.FromFd(uintptr(fd))))
	must(t, srv.Close())
	if isOpen(fd) {
		t.Error("Close has left the descriptor open")
	}
}

func TestSocketSetSocketDescriptorRefusesWhatIsNoConnection(t *testing.T) {
	all := foreign(t)
	all["listening"] = wrongDescriptor{sock.FromFd(uintptr(rawListener(t, unix.AF_INET))), "listens"}
	bound := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM)
	bindLoopback(t, bound, unix.AF_INET)
	all["bound"] = wrongDescriptor{sock.FromFd(uintptr(bound)), "not connected"}
	all["fresh"] = wrongDescriptor{sock.FromFd(uintptr(rawSocket(t, unix.AF_INET6, unix.SOCK_STREAM))), "not connected"}
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	all["net.Pipe"] = wrongDescriptor{sock.FromConn(client), "no native handle"}
	for name, wrong := range all {
		var c tcp.Socket
		log := watch(&c)
		err := c.SetSocketDescriptor(wrong.d, sock.ConnectedState, sock.ReadWrite)
		wantIs(t, name, err, sock.UnsupportedSocketOperationError)
		if err == nil || !strings.Contains(err.Error(), wrong.says) {
			t.Errorf("%s: it says %v; want %q in it", name, err, wrong.says)
		}
		wantState(t, &c, sock.UnconnectedState)
		log.want(t)
		closeLater(t, &c)
		must(t, c.ConnectContext(t.Context(), listen(t).Addr().String())) // it can do that still
	}
	go client.Write([]byte("x"))
	wantRead(t, server, "x") // still the caller's
}

func TestSocketSetSocketDescriptorStatesAndModes(t *testing.T) {
	for _, st := range []sock.State{sock.UnconnectedState, sock.HostLookupState, sock.ConnectingState, sock.ListeningState, sock.ClosingState, 99} {
		fd, peer := rawConnected(t)
		var c tcp.Socket
		wantIs(t, st.String(), c.SetSocketDescriptor(sock.FromFd(uintptr(fd)), st, sock.ReadWrite), sock.UnsupportedSocketOperationError)
		wantIs(t, "a mode", c.SetSocketDescriptor(sock.FromFd(uintptr(fd)), sock.ConnectedState, 8), sock.UnsupportedSocketOperationError)
		wantState(t, &c, sock.UnconnectedState)
		must(t, unix.Close(fd))
		peer.Close()
	}
	for _, mode := range []sock.OpenMode{0, sock.ReadOnly, sock.WriteOnly, sock.ReadWrite} {
		fd, peer := rawConnected(t)
		defer peer.Close()
		c := closeLater(t, new(tcp.Socket))
		log := watch(c)
		must(t, c.SetSocketDescriptor(sock.FromFd(uintptr(fd)), sock.ConnectedState, mode))
		log.want(t, "ConnectedState") // and not connected: nothing was connected
		if got, ok := c.SocketDescriptor().Fd(); !ok || got != uintptr(fd) || !c.SocketDescriptor().IsLent() {
			t.Errorf("its descriptor is %v", c.SocketDescriptor())
		}
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("the descriptor is not closed on exec")
		}
		if c.RemoteAddr().String() != peer.LocalAddr().String() || c.LocalAddr().String() != peer.RemoteAddr().String() || c.PeerName() != "" {
			t.Errorf("its ends are %v and %v (%q)", c.LocalAddr(), c.RemoteAddr(), c.PeerName())
		}
		if _, err := c.Write([]byte("x")); (err == nil) != (mode != sock.ReadOnly) {
			t.Errorf("%v: Write: %v", mode, err)
		}
		peer.Write([]byte("y"))
		c.SetReadDeadline(time.Now().Add(sockettest.Long()))
		if _, err := c.Read(make([]byte, 1)); (err == nil) != (mode != sock.WriteOnly) {
			t.Errorf("%v: Read: %v", mode, err)
		}
		second, secondPeer := rawConnected(t)
		wantIs(t, "a second one", c.SetSocketDescriptor(sock.FromFd(uintptr(second)), sock.ConnectedState, mode), sock.OperationError)
		must(t, unix.Close(second)) // still the caller's
		secondPeer.Close()
		must(t, c.Close())
		if isOpen(fd) {
			t.Error("Close has left the descriptor open")
		}
	}
}

func TestSocketSetSocketDescriptorOfConnections(t *testing.T) {
	type wrapped struct{ *net.TCPConn } // another package's, with a handle
	for name, wrap := range map[string]func(*net.TCPConn) net.Conn{
		"net.TCPConn": func(c *net.TCPConn) net.Conn { return c },
		"another":     func(c *net.TCPConn) net.Conn { return wrapped{c} },
	} {
		t.Run(name, func(t *testing.T) {
			srv := listen(t)
			plain, err := net.Dial("tcp", srv.Addr().String())
			must(t, err)
			c := closeLater(t, new(tcp.Socket))
			must(t, c.SetSocketDescriptor(sock.FromConn(wrap(plain.(*net.TCPConn))), sock.ConnectedState, 0))
			server := next(t, srv)
			exchange(t, c, server)
			if c.LocalPort() != server.PeerPort() || c.PeerPort() != srv.ServerPort() {
				t.Errorf("its ports are %d and %d", c.LocalPort(), c.PeerPort())
			}
			must(t, c.Close())
			wantEnd(t, server)
			if _, err := plain.Write([]byte("x")); err == nil {
				t.Error("the connection that was taken is open still")
			}
		})
	}
}

// A connection that another Socket has goes on as it is there, and not while that holds bytes of it.
func TestSocketSetSocketDescriptorOfSockets(t *testing.T) {
	refused := func(t *testing.T, old *tcp.Socket) {
		t.Helper()
		var c tcp.Socket
		err := c.SetSocketDescriptor(sock.FromConn(old), sock.ConnectedState, 0)
		if wantIs(t, "SetSocketDescriptor", err, sock.OperationError); err == nil || !strings.Contains(err.Error(), "holds bytes") {
			t.Fatalf("it says %v", err)
		}
		wantState(t, &c, sock.UnconnectedState)
		wantState(t, old, sock.ConnectedState)
	}
	taken := func(t *testing.T, old *tcp.Socket) *tcp.Socket {
		t.Helper()
		local, remote := old.LocalAddr().String(), old.RemoteAddr().String()
		c := closeLater(t, new(tcp.Socket))
		must(t, c.SetSocketDescriptor(sock.FromConn(old), sock.ConnectedState, 0))
		if c.LocalAddr().String() != local || c.RemoteAddr().String() != remote {
			t.Errorf("its ends are %v and %v; the other socket's were %s and %s", c.LocalAddr(), c.RemoteAddr(), local, remote)
		}
		wantState(t, old, sock.UnconnectedState)
		return c
	}
	t.Run("dialled", func(t *testing.T) {
		client, server := pair(t)
		exchange(t, taken(t, client), server)
	})
	t.Run("unread", func(t *testing.T) {
		client, server := pair(t)
		client.Write([]byte("hello"))
		must(t, server.WaitForReadyRead(sockettest.Long()))
		server.BytesAvailable() // buffers them
		refused(t, server)
		wantRead(t, server, "hello")
		client.Write([]byte("there")) // in the system's buffer, which is the connection's
		wantRead(t, taken(t, server), "there")
	})
	t.Run("unsent", func(t *testing.T) {
		client, server := pair(t)
		big := make([]byte, 32<<20)
		server.WriteBuffered(big)
		refused(t, server)
		read := sockettest.Go(func() error { _, err := io.ReadFull(client, big); return err })
		for server.BytesToWrite() > 0 {
			must(t, server.WaitForBytesWritten(sockettest.Long()))
		}
		c := taken(t, server)
		c.Write([]byte("after"))
		must(t, sockettest.Done(t, "all is read", read))
		wantRead(t, client, "after")
	})
	t.Run("proxied", func(t *testing.T) {
		srv := listen(t)
		p := socks(t)
		old := closeLater(t, new(tcp.Socket))
		old.SetProxy(p.Proxy)
		must(t, old.ConnectContext(t.Context(), srv.Addr().String()))
		server := next(t, srv)
		d := sock.FromConn(old)
		if fd, ok := d.Fd(); ok {
			t.Errorf("it has a handle, %d: that leads to the proxy", fd)
		}
		wantIs(t, "Control", d.Control(func(uintptr) { t.Error("Control has called") }), sock.UnsupportedSocketOperationError)
		c := taken(t, old)
		if c.PeerPort() != srv.ServerPort() || c.SocketDescriptor().IsValid() {
			t.Errorf("its peer is %v, the server %v; its descriptor is %v", c.RemoteAddr(), srv.Addr(), c.SocketDescriptor())
		}
		exchange(t, c, server)
		exchange(t, taken(t, c), server) // once more
	})
}

// A connection that is closed, or was never one, is as good as none.
func TestSocketSetSocketDescriptorOfClosedConnections(t *testing.T) {
	srv := listen(t)
	plain, err := net.Dial("tcp", srv.Addr().String())
	must(t, err)
	proxied, err := socks(t).DialContext(t.Context(), "tcp", srv.Addr().String())
	must(t, err)
	own := dial(t, srv)
	type wrapped struct{ *net.TCPConn } // another package's, with a handle
	for _, c := range []net.Conn{plain, proxied, own} {
		must(t, c.Close())
	}
	for name, c := range map[string]net.Conn{
		"closed":                plain,
		"closed, wrapped":       wrapped{plain.(*net.TCPConn)},
		"closed, of a proxy":    proxied,
		"closed, a socket":      own,
		"zero":                  new(net.TCPConn),
		"zero, wrapped":         wrapped{new(net.TCPConn)},
		"zero, of a proxy":      new(proxy.Conn),
		"zero, a socket":        new(tcp.Socket),
		"nil pointer":           (*net.TCPConn)(nil),
		"nil pointer of proxy":  (*proxy.Conn)(nil),
		"nil pointer, a socket": (*tcp.Socket)(nil),
	} {
		var c2 tcp.Socket
		err := c2.SetSocketDescriptor(sock.FromConn(c), sock.ConnectedState, 0)
		if wantIs(t, name, err, sock.UnsupportedSocketOperationError); sock.CodeOf(err) != sock.UnsupportedSocketOperationError {
			t.Errorf("%s: the code is %s", name, sock.CodeOf(err).Name())
		}
		wantState(t, &c2, sock.UnconnectedState)
	}
}

// rawConnected returns a descriptor of a connection, which is the caller's, and its peer.
func rawConnected(t testing.TB) (fd int, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	fd = rawSocket(t, unix.AF_INET, unix.SOCK_STREAM)
	must(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: loopback.As4(), Port: l.Addr().(*net.TCPAddr).Port}))
	peer, err = l.Accept()
	must(t, err)
	return fd, peer
}

func TestServerSetSocketDescriptorOfBothFamilies(t *testing.T) {
	for name, family := range map[string]int{"IPv4": unix.AF_INET, "IPv6": unix.AF_INET6} {
		t.Run(name, func(t *testing.T) {
			want := loopback
			if family == unix.AF_INET6 {
				needIPv6(t)
				want = loopback6
			}
			fd := rawListener(t, family)
			srv := new(tcp.Server)
			t.Cleanup(func() { srv.Close() })
			must(t, srv.SetSocketDescriptor(sock.FromFd(uintptr(fd))))
			if srv.ServerAddress() != want || srv.ServerPort() == 0 || !srv.IsListening() || srv.Err() != nil {
				t.Errorf("it is at %v:%d, error %v", srv.ServerAddress(), srv.ServerPort(), srv.Err())
			}
			if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
				t.Error("the descriptor is not closed on exec")
			}
			client, server := dial(t, srv), next(t, srv)
			exchange(t, client, server)
			wantOptions(t, server, 1, 1)
			if server.PeerAddress() != want || server.LocalAddress() != want {
				t.Errorf("the accepted ends are %v and %v", server.LocalAddress(), server.PeerAddress())
			}
			must(t, srv.Close())
			if isOpen(fd) {
				t.Error("Close has left the descriptor open")
			}
		})
	}
}

// The server and the duplicate accept from one queue, each as long as it likes.
func TestServerFile(t *testing.T) {
	srv := listen(t)
	port := srv.ServerPort()
	file, err := srv.File()
	must(t, err)
	defer file.Close()
	dial(t, srv)
	next(t, srv)
	fd, err := unix.Dup(int(file.Fd())) // which makes it blocking, for both
	must(t, err)
	unix.CloseOnExec(fd)
	wantIs(t, "a wait", srv.WaitForNewConnection(small), sock.SocketTimeoutError)
	exchange(t, dial(t, srv), next(t, srv))
	must(t, srv.Close())
	var heir tcp.Server
	t.Cleanup(func() { heir.Close() })
	must(t, heir.ListenDescriptor(sock.FromFd(uintptr(fd))))
	if heir.ServerPort() != port {
		t.Errorf("the heir listens on port %d; want %d", heir.ServerPort(), port)
	}
	exchange(t, dial(t, &heir), next(t, &heir))
}

func TestServerSocketDescriptorIsLent(t *testing.T) {
	srv := listen(t)
	d := srv.SocketDescriptor()
	if !d.IsValid() || !d.IsLent() {
		t.Errorf("valid %v, lent %v", d.IsValid(), d.IsLent())
	}
	must(t, d.Close()) // does nothing
	raw, err := srv.SyscallConn()
	must(t, err)
	var fd uintptr
	must(t, raw.Control(func(f uintptr) { fd = f }))
	if got, _ := d.Fd(); got != fd {
		t.Errorf("the descriptors are %d and %d", got, fd)
	}
	dial(t, srv)
	next(t, srv)
}

// A server that has ended first leaves its connections in TIME_WAIT, and its port can be listened on all the same.
func TestServerListensDespiteTimeWait(t *testing.T) {
	for _, addr := range []netip.Addr{{}, loopback} {
		var srv tcp.Server
		listenOn(t, &srv, addr)
		port := srv.ServerPort()
		// The system may have no room for one more such connection, and forget it.
		sockettest.Eventually(t, "the port is in TIME_WAIT", func() bool {
			if !srv.IsListening() {
				must(t, srv.Listen(addr, port))
			}
			client, server := closeLater(t, dialTo(t, at("127.0.0.1", &srv))), next(t, &srv)
			server.Close() // first
			wantEnd(t, client)
			client.Close()
			must(t, srv.Close())
			fd := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM)
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback.As4(), Port: int(port)}) == unix.EADDRINUSE
		})
		must(t, srv.Listen(addr, port))
	}
}
