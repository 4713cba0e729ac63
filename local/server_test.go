package local_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

func TestServerConforms(t *testing.T) {
	sockettest.Conform(t, func(t *testing.T) (sockettest.Server, func() (net.Conn, error)) {
		srv := listen(t)
		return srv, func() (net.Conn, error) { return local.Dial(srv.FullServerName()) }
	})
}

func TestServerZeroValueIsReady(t *testing.T) {
	var srv local.Server
	if srv.IsListening() || srv.HasPendingConnections() || srv.NextPendingConnection() != nil {
		t.Error("it listens, or has something pending")
	}
	if srv.ServerName() != "" || srv.FullServerName() != "" {
		t.Errorf("its names are %q and %q", srv.ServerName(), srv.FullServerName())
	}
	if srv.MaxPendingConnections() != 30 || srv.ListenBacklogSize() != 0 || srv.SocketOptions() != local.NoOptions {
		t.Errorf("limit %d, backlog %d, options %d; want 30, 0, 0", srv.MaxPendingConnections(), srv.ListenBacklogSize(), srv.SocketOptions())
	}
	if srv.ServerError() != sock.NoError || srv.ErrorString() != "" || srv.Err() != nil {
		t.Errorf("its error is %v, %q, %v", srv.ServerError(), srv.ErrorString(), srv.Err())
	}
	if srv.SocketDescriptor().IsValid() {
		t.Error("it has a descriptor")
	}
	if a := srv.Addr(); a == nil || a.String() != "" || a.Network() != sockettest.LocalNetwork {
		t.Errorf("its address is %#v", srv.Addr())
	}
	if err := srv.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	_, err := srv.Accept()
	wantIs(t, "Accept", err, net.ErrClosed, sock.OperationError)
	_, err = srv.AcceptContext(context.Background())
	wantIs(t, "AcceptContext", err, net.ErrClosed, sock.OperationError)
	wantIs(t, "WaitForNewConnection", srv.WaitForNewConnection(sock.Forever), net.ErrClosed, sock.OperationError)
	wantIs(t, "SetDeadline", srv.SetDeadline(time.Now()), net.ErrClosed)
	_, err = srv.SyscallConn()
	wantIs(t, "SyscallConn", err, net.ErrClosed)
	_, err = srv.File()
	wantIs(t, "File", err, net.ErrClosed)
	srv.PauseAccepting()
	srv.ResumeAccepting()
	if srv.Err() != nil {
		t.Errorf("asking has left an error: %v", srv.Err())
	}
}

func TestServerSettersReadBack(t *testing.T) {
	var srv local.Server
	for _, n := range []int{0, 1, -1, math.MaxInt32, math.MinInt32, math.MaxInt, math.MinInt} {
		srv.SetMaxPendingConnections(n)
		srv.SetListenBacklogSize(n)
		if srv.MaxPendingConnections() != n || srv.ListenBacklogSize() != n {
			t.Errorf("set %d: read %d and %d", n, srv.MaxPendingConnections(), srv.ListenBacklogSize())
		}
	}
	for _, o := range []local.SocketOptions{local.UserAccessOption, local.WorldAccessOption, local.AbstractNamespaceOption | local.GroupAccessOption, local.NoOptions} {
		if srv.SetSocketOptions(o); srv.SocketOptions() != o {
			t.Errorf("set %d: read %d", o, srv.SocketOptions())
		}
	}
	listenWith(t, &srv) // with the limits that were set last
}

func TestServerListenNames(t *testing.T) {
	bare := sockettest.BareName(t)
	path := sockettest.FullName(bare)
	t.Run("bare", func(t *testing.T) {
		srv, err := local.Listen(bare)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		if srv.ServerName() != bare || srv.FullServerName() != path || srv.Addr().String() != path || !srv.IsListening() {
			t.Errorf("names %q, %q, address %v", srv.ServerName(), srv.FullServerName(), srv.Addr())
		}
		if full, err := local.FullServerName(bare); err != nil || full != path {
			t.Errorf("FullServerName(%q): %q, %v", bare, full, err)
		}
		dialName(t, path).Abort()
		dialName(t, bare).Abort()
	})
	t.Run("path", func(t *testing.T) {
		srv, err := local.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		if srv.ServerName() != path || srv.FullServerName() != path {
			t.Errorf("names %q, %q; want %q twice", srv.ServerName(), srv.FullServerName(), path)
		}
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		if srv.ServerName() != "" || srv.FullServerName() != "" || srv.IsListening() || srv.SocketDescriptor().IsValid() {
			t.Errorf("after Close: names %q, %q, listening %v", srv.ServerName(), srv.FullServerName(), srv.IsListening())
		}
		if srv.Addr().String() != path {
			t.Errorf("after Close the address is %v; want it kept", srv.Addr())
		}
	})
	if !sockettest.HasFiles {
		return
	}
	t.Run("not cleaned", func(t *testing.T) { // as in Qt: only the directory is
		for _, name := range []string{"./" + bare, "../" + filepath.Base(os.TempDir()) + "/" + bare} {
			srv, err := local.Listen(name)
			if err != nil {
				t.Fatal(err)
			}
			if want := os.TempDir() + "/" + name; srv.FullServerName() != want || srv.ServerName() != name {
				t.Errorf("Listen(%q): %q, %q; want %q", name, srv.ServerName(), srv.FullServerName(), want)
			}
			dialName(t, bare).Abort()
			srv.Close()
		}
	})
	t.Run("directory is cleaned", func(t *testing.T) {
		t.Setenv("TMPDIR", os.TempDir()+"/.//")
		if full, err := local.FullServerName(bare); err != nil || full != path {
			t.Errorf("FullServerName(%q): %q, %v; want %q", bare, full, err, path)
		}
	})
	t.Run("relative TMPDIR beginning with @", func(t *testing.T) {
		t.Chdir(sockettest.Dir(t))
		must(t, os.Mkdir("@dir", 0o700))
		t.Setenv("TMPDIR", "@dir")
		srv, err := local.Listen(bare)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		if _, err := os.Stat("@dir/" + bare); err != nil {
			t.Error(err)
		}
		dialName(t, bare).Abort()
	})
}

func TestServerListenTwiceFailsAndChangesNothing(t *testing.T) {
	srv := listen(t)
	name := srv.FullServerName()
	other := sockettest.Name(t)
	wantIs(t, "Listen", srv.Listen(other), sock.OperationError)
	wantIs(t, "ListenDescriptor", srv.ListenDescriptor(sock.Descriptor{}), sock.OperationError)
	if srv.Err() != nil || srv.ServerError() != sock.NoError {
		t.Errorf("the error is %v; want none", srv.Err())
	}
	if srv.FullServerName() != name || !srv.IsListening() {
		t.Errorf("it listens on %q; want %q", srv.FullServerName(), name)
	}
	if _, err := os.Lstat(other); err == nil {
		t.Error("the second name was made")
	}
	dial(t, srv)
	next(t, srv)
}

func TestServerListenAfterCloseWorks(t *testing.T) {
	srv := listen(t)
	name := srv.FullServerName()
	for range 20 {
		c := dial(t, srv)
		next(t, srv).Abort()
		c.Abort()
		must(t, srv.Close())
		if _, err := os.Lstat(name); sockettest.HasFiles && err == nil {
			t.Fatal("Close has left the file")
		}
		must(t, srv.Listen(name))
	}
}

func TestServerListenSuccessClearsError(t *testing.T) {
	srv := listen(t)
	var second local.Server
	name, code := srv.FullServerName(), sock.AddressInUseError
	if !sockettest.HasExclusiveNames {
		name, code = "", sock.HostNotFoundError
	}
	err := second.Listen(name)
	wantIs(t, "Listen", err, code)
	if second.Err() != err || second.ServerError() != code || second.ErrorString() != err.Error() {
		t.Errorf("the last error is %v, %v, %q", second.Err(), second.ServerError(), second.ErrorString())
	}
	if second.IsListening() || second.ServerName() != "" || second.FullServerName() != "" || second.SocketDescriptor().IsValid() {
		t.Error("it looks as if it listens")
	}
	listenWith(t, &second)
	if second.Err() != nil || second.ServerError() != sock.NoError || second.ErrorString() != "" {
		t.Errorf("after a successful Listen: %v", second.Err())
	}
	second.WaitForNewConnection(0)
	if second.ServerError() != sock.SocketTimeoutError {
		t.Errorf("after a wait that timed out: %v", second.Err())
	}
	must(t, second.Close())
	if second.Err() != nil {
		t.Errorf("after Close: %v", second.Err())
	}
}

func TestServerCloseUnblocksWhoWaits(t *testing.T) {
	for name, wait := range map[string]func(*local.Server) error{
		"Accept":               func(s *local.Server) error { _, err := s.Accept(); return err },
		"AcceptContext":        func(s *local.Server) error { _, err := s.AcceptContext(t.Context()); return err },
		"WaitForNewConnection": func(s *local.Server) error { return s.WaitForNewConnection(sock.Forever) },
		"WaitForNewConnection with a limit": func(s *local.Server) error {
			return s.WaitForNewConnection(sockettest.Long())
		},
		"Connections": func(s *local.Server) (last error) {
			n := 0
			for c, err := range s.Connections(t.Context()) {
				if n++; c != nil || n > 1 {
					t.Errorf("Connections yields %v, %v", c, err)
				}
				last = err
			}
			return last
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := listen(t)
			var waiting []<-chan error
			for range 3 {
				waiting = append(waiting, sockettest.Go(func() error { return wait(srv) }))
			}
			time.Sleep(time.Millisecond) // some of them wait by now, and some do not
			must(t, srv.Close())
			for _, w := range waiting {
				wantIs(t, name, sockettest.Done(t, name+" returns", w), net.ErrClosed)
			}
			wantIs(t, name+" after Close", wait(srv), net.ErrClosed)
		})
	}
}

func TestServerCloseClosesPendingAndLeavesTaken(t *testing.T) {
	srv := listen(t)
	clients := []*local.Socket{dial(t, srv), dial(t, srv), dial(t, srv)}
	taken := next(t, srv)
	sockettest.Eventually(t, "the others are pending", srv.HasPendingConnections)
	must(t, srv.Close())
	if srv.HasPendingConnections() || srv.NextPendingConnection() != nil {
		t.Error("something is pending after Close")
	}
	for _, c := range clients[1:] {
		c.SetReadDeadline(time.Now().Add(sockettest.Long()))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a client that was never taken read %d, %v; want its end", n, err)
		}
	}
	for _, ends := range [][2]*local.Socket{{clients[0], taken}, {taken, clients[0]}} {
		if _, err := ends[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(ends[1], got); err != nil || string(got) != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
	}
}

func TestServerCloseTwiceInManyGoroutines(t *testing.T) {
	srv := listen(t)
	dial(t, srv)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A listener is opened and closed in one goroutine while others accept, wait, connect and ask; nothing must wedge or leak.
func TestServerListenAndCloseAgainstEverything(t *testing.T) {
	var srv local.Server
	name := sockettest.Name(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	run := func(f func()) {
		wg.Go(func() {
			for !stop.Load() {
				f()
				time.Sleep(20 * time.Microsecond)
			}
		})
	}
	run(func() {
		if c, err := srv.Accept(); err == nil {
			c.Close()
		}
	})
	run(func() { srv.WaitForNewConnection(time.Millisecond) })
	run(func() {
		if c := srv.NextPendingConnection(); c != nil {
			c.Abort()
		}
	})
	run(func() {
		if c, err := local.Dial(name); err == nil {
			c.Close()
		}
	})
	run(func() {
		srv.FullServerName()
		srv.Addr()
		srv.SocketDescriptor()
		srv.HasPendingConnections()
		srv.ErrorString()
	})
	run(func() { srv.SetDeadline(time.Now().Add(time.Millisecond)); srv.SetMaxPendingConnections(2) })
	run(func() { srv.PauseAccepting(); srv.ResumeAccepting() })
	run(func() { srv.OnNewConnection(func() {})() })
	for range 100 {
		if err := srv.Listen(name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond)
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestServerAcceptContextCancelled(t *testing.T) {
	srv := listen(t)
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := srv.AcceptContext(ctx)
		wantIs(t, "AcceptContext", err, context.Canceled, sock.SocketTimeoutError)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Error("cancelling counts as a timeout")
		}
	})
	t.Run("during", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		accepted := sockettest.Go(func() error { _, err := srv.AcceptContext(ctx); return err })
		other := sockettest.Go(func() error { c, err := srv.Accept(); closeLater(t, c.(*local.Socket)); return err })
		waits(t, "AcceptContext")
		cancel()
		wantIs(t, "AcceptContext", sockettest.Done(t, "AcceptContext returns", accepted), context.Canceled)
		dial(t, srv)
		if err := sockettest.Done(t, "Accept returns", other); err != nil {
			t.Errorf("the other Accept: %v", err)
		}
	})
	t.Run("past its deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		defer cancel()
		_, err := srv.AcceptContext(ctx)
		wantIs(t, "AcceptContext", err, context.DeadlineExceeded, sock.SocketTimeoutError, os.ErrDeadlineExceeded)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Error("it does not count as a timeout")
		}
	})
	t.Run("with one pending", func(t *testing.T) { // an ended context takes nothing away
		dial(t, srv)
		sockettest.Eventually(t, "it is pending", srv.HasPendingConnections)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := srv.AcceptContext(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("AcceptContext: %v", err)
		}
		next(t, srv)
	})
	if srv.Err() != nil {
		t.Errorf("the server's error is %v; want none", srv.Err())
	}
}

func TestServerConnectionsYieldsUntilItsContextEnds(t *testing.T) {
	srv := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 {
		dial(t, srv)
	}
	n := 0
	var last error
	for c, err := range srv.Connections(ctx) {
		if err != nil {
			last = err
			continue
		}
		c.Abort()
		if n++; n == 3 {
			cancel()
		}
	}
	if n != 3 {
		t.Errorf("there were %d connections; want 3", n)
	}
	wantIs(t, "the last", last, context.Canceled)
	for range srv.Connections(ctx) {
		break
	}
}

func TestServerDeadlineDoesNotBoundWaits(t *testing.T) {
	srv := listen(t)
	must(t, srv.SetDeadline(time.Now().Add(-time.Second)))
	waited := sockettest.Go(func() error { return srv.WaitForNewConnection(sockettest.Long()) })
	waits(t, "WaitForNewConnection")
	_, err := srv.Accept()
	wantIs(t, "Accept", err, os.ErrDeadlineExceeded)
	dial(t, srv)
	if err := sockettest.Done(t, "the wait returns", waited); err != nil {
		t.Errorf("WaitForNewConnection: %v", err)
	}
	wantIs(t, "Accept with one pending", func() error { _, err := srv.Accept(); return err }(), os.ErrDeadlineExceeded)
	must(t, srv.SetDeadline(time.Time{}))
	next(t, srv)
}

func TestServerAcceptAndWaitAtOnce(t *testing.T) {
	// A wait with a short limit comes and goes beside a blocked Accept, and neither disturbs the other.
	srv := listen(t)
	accepted := sockettest.Go(func() net.Conn { c, _ := srv.Accept(); return c })
	for range 50 {
		if err := srv.WaitForNewConnection(100 * time.Microsecond); !errors.Is(err, sock.SocketTimeoutError) {
			t.Fatalf("WaitForNewConnection: %v", err)
		}
	}
	dial(t, srv)
	if c := sockettest.Done(t, "Accept returns", accepted); c == nil {
		t.Error("Accept has failed")
	} else {
		c.Close()
	}
}

func TestServerAddPendingConnectionWithoutListening(t *testing.T) {
	client, server := pair(t)
	var srv local.Server
	news := 0
	srv.OnNewConnection(func() { news++ })
	srv.AddPendingConnection(nil)
	srv.AddPendingConnection(server)
	if news != 1 || !srv.HasPendingConnections() {
		t.Errorf("%d signals, pending %v; want 1, true", news, srv.HasPendingConnections())
	}
	if got := srv.NextPendingConnection(); got != server {
		t.Errorf("NextPendingConnection: %p; want %p", got, server)
	}
	if srv.HasPendingConnections() || srv.NextPendingConnection() != nil {
		t.Error("it is pending still")
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestServerAddPendingConnectionIsAcceptedToo(t *testing.T) {
	_, server := pair(t)
	srv := listen(t)
	srv.SetMaxPendingConnections(0) // it counts whatever the limit
	accepted := sockettest.Go(func() net.Conn { c, _ := srv.Accept(); return c })
	srv.AddPendingConnection(server)
	if got := sockettest.Done(t, "Accept returns", accepted); got != server {
		t.Errorf("Accept: %v; want the one that was added", got)
	}
}

func TestServerAcceptsUnderItsOwnAddress(t *testing.T) {
	srv := listen(t)
	client := dial(t, srv)
	server := next(t, srv)
	name := srv.FullServerName()
	if server.FullServerName() != name || server.ServerName() != filepath.Base(name) {
		t.Errorf("the accepted socket calls its server %q, %q", server.ServerName(), server.FullServerName())
	}
	if client.ServerName() != name || client.FullServerName() != name {
		t.Errorf("the client calls its server %q, %q", client.ServerName(), client.FullServerName())
	}
	if server.LocalAddr().String() != name || client.RemoteAddr().String() != name {
		t.Errorf("the server's address is %v here and %v there", server.LocalAddr(), client.RemoteAddr())
	}
	for _, a := range []net.Addr{server.RemoteAddr(), client.LocalAddr()} {
		if a.String() != "" || a.Network() != sockettest.LocalNetwork {
			t.Errorf("the client's address is %#v; want an unnamed one", a)
		}
	}
}
