package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/sys/unix"
)

// ourselves is what this process is to its peers.
func ourselves(t testing.TB) local.Peer {
	t.Helper()
	groups, err := os.Getgroups()
	must(t, err)
	return local.Peer{PID: os.Getpid(), UID: os.Geteuid(), GID: os.Getegid(), Groups: groups}
}

func wantPeer(t testing.TB, what string, got, want local.Peer) {
	t.Helper()
	slices.Sort(got.Groups)
	slices.Sort(want.Groups)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: the peer is %v; want %v", what, got, want)
	}
}

func peerOf(t testing.TB, c interface{ Peer() (local.Peer, error) }) local.Peer {
	t.Helper()
	p, err := c.Peer()
	must(t, err)
	return p
}

func TestPeerOnBothSides(t *testing.T) {
	path := sockettest.Name(t)
	child := actor(t)
	wantOK(t, "listen", do(child, "listen", path, "0"))
	theirs := ourselves(t)
	theirs.PID = child.PID()
	c := closeLater(t, dialName(t, path))
	wantPeer(t, "the server", peerOf(t, c), theirs)
	child.Kill()
	wantPeer(t, "the server, dead", peerOf(t, c), theirs) // it was that one

	srv := listen(t)
	child = actor(t)
	wantOK(t, "dial", do(child, "dial", srv.FullServerName()))
	theirs.PID = child.PID()
	taken := next(t, srv)
	wantPeer(t, "the client", peerOf(t, taken), theirs)
	if a := do(child, "peer"); a != fmt.Sprint("ok ", ourselves(t)) {
		t.Errorf("the child says that its server is %s; want %v", a, ourselves(t))
	}
	if !theirs.SameUser() {
		t.Error("it is the same user")
	}

	a, b := pair(t)
	wantPeer(t, "this process", peerOf(t, a), ourselves(t))
	wantPeer(t, "this process", peerOf(t, b), ourselves(t))
	a.Close()
	_, err := a.Peer()
	wantIs(t, "Peer after Close", err, sock.OperationError)
	p, err := new(local.Socket).Peer()
	wantIs(t, "Peer of a new socket", err, sock.OperationError)
	if p.PID != 0 || p.UID != -2 || p.GID != -2 || p.SameUser() || p.InGroup(0) {
		t.Errorf("nobody is %v", p)
	}
}

func TestPeerOfAnotherUser(t *testing.T) {
	srv := new(local.Server)
	srv.SetSocketOptions(local.WorldAccessOption)
	path := openDir(t, 0o755) + "/s"
	must(t, srv.Listen(path))
	defer srv.Close()
	many := []int{12345, 12346}
	for g := 20000; g < 20100; g++ { // more than fit at once
		many = append(many, g)
	}
	for _, groups := range [][]int{nil, {12345}, many} {
		child := actorAs(t, 65533, groups...)
		wantOK(t, "dial", do(child, "dial", path))
		p := peerOf(t, next(t, srv))
		wantPeer(t, "the client", p, local.Peer{PID: child.PID(), UID: nobodys, GID: 65533, Groups: append([]int{}, groups...)})
		if p.SameUser() || p.InGroup(0) || !p.InGroup(65533) || p.InGroup(12345) != (len(groups) > 0) {
			t.Errorf("it is taken for another: %v", p)
		}
		if a := do(child, "peer"); a != fmt.Sprint("ok ", ourselves(t)) {
			t.Errorf("the child says that its server is %s; want %v", a, ourselves(t))
		}
	}
	// Who listens as another user is that one to its clients, although this process could be anybody.
	dir := openDir(t, 0o777|os.ModeSticky)
	child := actorAs(t, nobodys)
	wantOK(t, "listen", do(child, "listen", dir+"/s", "0"))
	c := closeLater(t, dialName(t, dir+"/s"))
	wantPeer(t, "the server", peerOf(t, c), local.Peer{PID: child.PID(), UID: nobodys, GID: nobodys, Groups: []int{}})
	wantIs(t, "SameUserOnly", local.SameUserOnly(peerOf(t, c)), sock.SocketAccessError)
}

// A peer that has handed its connection on, or ended, is who connected.
func TestPeerOfAnAdoptedDescriptor(t *testing.T) {
	a, b := rawPair(t)
	var c local.Socket
	must(t, c.SetSocketDescriptor(sock.FromFd(uintptr(a)), sock.ConnectedState, sock.ReadWrite))
	defer c.Abort()
	wantPeer(t, "a pair", peerOf(t, &c), ourselves(t))
	unix.Close(b)
	wantPeer(t, "a pair, half of it closed", peerOf(t, &c), ourselves(t))
}

func TestServerSetAdmitRefusesAnotherUserBeforePending(t *testing.T) {
	mine := errors.New("not you")
	for name, admit := range map[string]func(local.Peer) error{
		"SameUserOnly": local.SameUserOnly,
		"own": func(p local.Peer) error {
			if p.UID == nobodys {
				return mine
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := openDir(t, 0o755) + "/s"
			srv := new(local.Server)
			srv.SetSocketOptions(local.WorldAccessOption)
			srv.SetAdmit(admit)
			news, errs := make(chan struct{}, 100), make(chan error, 100)
			srv.OnNewConnection(func() { news <- struct{}{} })
			srv.OnAcceptError(func(err error) { errs <- err })
			must(t, srv.Listen(path))
			defer srv.Close()
			stranger := actorAs(t, nobodys)
			friend := actor(t)
			for range 3 {
				wantOK(t, "dial", do(stranger, "dial", path))
				err := sockettest.Done(t, "the refusal is told", errs)
				wantIs(t, "OnAcceptError", err, sock.SocketAccessError)
				if name == "own" {
					wantIs(t, "OnAcceptError", err, mine)
				}
				wantIs(t, "Err", srv.Err(), sock.SocketAccessError)
				if a := do(stranger, "read"); a != "ok EOF" && !strings.HasPrefix(a, "err RemoteHostClosedError") {
					t.Errorf("the stranger reads: %s", a)
				}
				if srv.HasPendingConnections() || len(news) > 0 {
					t.Error("the stranger is pending")
				}
				wantIs(t, "a wait", srv.WaitForNewConnection(0), sock.SocketTimeoutError)
				wantOK(t, "dial", do(friend, "dial", path))
				c := next(t, srv)
				sockettest.Done(t, "the friend is told of", news)
				if p := peerOf(t, c); p.PID != friend.PID() {
					t.Errorf("the friend is %v", p)
				}
				c.Write([]byte("welcome"))
				if a := do(friend, "read"); a != "ok welcome" {
					t.Errorf("the friend reads: %s", a)
				}
			}
			// One who waits in Accept is not disturbed by those who are refused.
			accepted := sockettest.Go(func() error {
				c, err := srv.Accept()
				if err == nil {
					c.Close()
				}
				return err
			})
			for range 20 {
				wantOK(t, "dial", do(stranger, "dial", path))
				sockettest.Done(t, "the refusal is told", errs)
			}
			wantOK(t, "dial", do(friend, "dial", path))
			must(t, sockettest.Done(t, "Accept returns", accepted))
		})
	}
}

// Refused ones take no place in the queue.
func TestServerSetAdmitRefusedDoNotCountForTheLimit(t *testing.T) {
	srv := new(local.Server)
	srv.SetMaxPendingConnections(2)
	refuse := true
	srv.SetAdmit(func(local.Peer) error {
		if refuse {
			return errors.New("full")
		}
		return nil
	})
	told := make(chan error, 100)
	srv.OnAcceptError(func(err error) { told <- err })
	listenWith(t, srv)
	before := sockettest.OpenDescriptors()
	for range 10 {
		c := dialName(t, srv.FullServerName())
		sockettest.Done(t, "the refusal is told", told)
		c.Abort()
	}
	sockettest.Eventually(t, "no descriptor is left", func() bool { return sockettest.OpenDescriptors() == before })
	must(t, srv.Close())
	refuse = false
	listenWith(t, srv)
	dial(t, srv)
	next(t, srv)
}

func TestConnContextTellsHandlersWhoCalls(t *testing.T) {
	path := openDir(t, 0o755) + "/s"
	srv := new(local.Server)
	srv.SetSocketOptions(local.WorldAccessOption)
	must(t, srv.Listen(path))
	seen := make(chan local.Peer, 10)
	hs := &http.Server{
		ConnContext: local.ConnContext,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := local.PeerFromContext(r.Context())
			if !ok {
				t.Error("the context has no peer")
			}
			seen <- p
			fmt.Fprint(w, p.PID)
		}),
	}
	served := sockettest.Go(func() error { return hs.Serve(srv) })
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return local.DialContext(ctx, path) },
	}, Timeout: sockettest.Long()}
	for range 2 { // over one connection
		resp, err := client.Get("http://local/")
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if string(body) != strconv.Itoa(os.Getpid()) {
			t.Errorf("it answers %s", body)
		}
		wantPeer(t, "the handler", <-seen, ourselves(t))
	}
	if os.Geteuid() == 0 {
		p := actorAs(t, 65533, 12345)
		if a := do(p, "get", path); a != fmt.Sprint("ok ", p.PID()) {
			t.Errorf("another user gets: %s", a)
		}
		wantPeer(t, "the handler", <-seen, local.Peer{PID: p.PID(), UID: nobodys, GID: 65533, Groups: []int{12345}})
	}
	client.CloseIdleConnections()
	must(t, hs.Close())
	wantIs(t, "Serve", sockettest.Done(t, "Serve returns", served), http.ErrServerClosed)
	if _, ok := local.PeerFromContext(context.Background()); ok {
		t.Error("an empty context has a peer")
	}
}

func TestPeerOfThroughTLS(t *testing.T) {
	srv := listen(t)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := local.PeerFromContext(r.Context())
		fmt.Fprint(w, p.PID, " ", ok, " ", r.TLS != nil, " ", r.ProtoMajor)
	}))
	ts.Listener.Close()
	ts.Listener = srv
	ts.Config.ConnContext = local.ConnContext
	ts.EnableHTTP2 = true
	ts.StartTLS()
	defer ts.Close()
	name := srv.FullServerName()
	client := ts.Client()
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return local.DialContext(ctx, name) }
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://example.com/")
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	resp.Body.Close()
	if want := fmt.Sprint(os.Getpid(), " true true 2"); string(body) != want {
		t.Errorf("it answers %q; want %q", body, want)
	}
}

type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestPeerOfWhatIsNoLocalSocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for _, c := range []net.Conn{nil, a, wrapped{a}, wrapped{nil}, wrapped{wrapped{nil}}} {
		p, err := local.PeerOf(c)
		wantIs(t, "PeerOf", err, sock.UnsupportedSocketOperationError, errors.ErrUnsupported)
		if p.PID != 0 || p.UID != -2 || p.GID != -2 {
			t.Errorf("it is %v", p)
		}
	}
	ctx := local.ConnContext(context.Background(), a)
	if _, ok := local.PeerFromContext(ctx); ok {
		t.Error("a pipe has a peer")
	}
	client, _ := pair(t)
	p, err := local.PeerOf(wrapped{wrapped{client}})
	must(t, err)
	wantPeer(t, "wrapped twice", p, ourselves(t))
}

// pidOf says which process a pidfd stands for: -1 if it has ended and was waited for.
func pidOf(t testing.TB, f *os.File) string {
	t.Helper()
	rc, err := f.SyscallConn()
	must(t, err)
	var info []byte
	must(t, rc.Control(func(fd uintptr) {
		info, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		if flags, e := unix.FcntlInt(fd, unix.F_GETFD, 0); e != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Error("the pidfd is not closed on exec")
		}
	}))
	must(t, err)
	for line := range strings.Lines(string(info)) {
		if pid, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strings.TrimSpace(pid)
		}
	}
	t.Fatalf("this is no pidfd: %s", info)
	return ""
}

func ended(t testing.TB, f *os.File) bool {
	t.Helper()
	rc, err := f.SyscallConn()
	must(t, err)
	var n int
	must(t, rc.Control(func(fd uintptr) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	}))
	if err == unix.EINTR {
		return ended(t, f)
	}
	must(t, err)
	return n > 0
}

func TestPeerProcess(t *testing.T) {
	srv := listen(t)
	child := actor(t)
	wantOK(t, "dial", do(child, "dial", srv.FullServerName()))
	c := next(t, srv)
	f, err := c.PeerProcess()
	if errors.Is(err, sock.UnsupportedSocketOperationError) {
		t.Skip(err)
	}
	must(t, err)
	defer f.Close()
	if pid := pidOf(t, f); pid != strconv.Itoa(child.PID()) {
		t.Errorf("the pidfd is of %s; want %d", pid, child.PID())
	}
	if ended(t, f) {
		t.Error("the child has ended")
	}
	child.Kill()
	sockettest.Eventually(t, "the end is seen", func() bool { return ended(t, f) })
	if pid := pidOf(t, f); pid != "-1" {
		t.Errorf("the pidfd of the dead is of %s", pid)
	}
	g, err := c.PeerProcess() // not of another process at least
	if err == nil {
		if !ended(t, g) || pidOf(t, g) != "-1" {
			t.Errorf("asked for the dead, it gives the process %s", pidOf(t, g))
		}
		g.Close()
	} else if code := sock.CodeOf(err); code != sock.SocketAccessError && code != sock.UnknownSocketError {
		t.Errorf("asked for the dead, it says %v (%s)", err, code.Name())
	}
	t.Logf("a pidfd of the dead: %v", err)
	wantPeer(t, "the dead", peerOf(t, c), local.Peer{PID: child.PID(), UID: os.Geteuid(), GID: os.Getegid(), Groups: ourselves(t).Groups})

	// Of a server, from the client's side; and a signal sent by it.
	path := sockettest.Name(t)
	child = actor(t)
	wantOK(t, "listen", do(child, "listen", path, "0"))
	client := closeLater(t, dialName(t, path))
	g, err = client.PeerProcess()
	must(t, err)
	defer g.Close()
	if pid := pidOf(t, g); pid != strconv.Itoa(child.PID()) {
		t.Errorf("the server's pidfd is of %s; want %d", pid, child.PID())
	}
	rc, err := g.SyscallConn()
	must(t, err)
	must(t, rc.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }))
	must(t, err)
	sockettest.Eventually(t, "the server has ended", func() bool { return ended(t, g) })

	_, err = new(local.Socket).PeerProcess()
	wantIs(t, "PeerProcess of a new socket", err, sock.OperationError)
	client.Close()
	_, err = client.PeerProcess()
	wantIs(t, "PeerProcess after Close", err, sock.OperationError)
}

// A Peer is asked for while the connection ends, in another goroutine.
func TestPeerWhileClosing(t *testing.T) {
	srv := listen(t)
	for range 200 {
		c := dialName(t, srv.FullServerName())
		s := next(t, srv)
		done := sockettest.Go(func() error { _, err := s.Peer(); return err })
		pid := sockettest.Go(func() error {
			f, err := s.PeerProcess()
			if err == nil {
				f.Close()
			}
			return err
		})
		s.Abort()
		c.Abort()
		for _, ch := range []<-chan error{done, pid} {
			if err := sockettest.Done(t, "it returns", ch); err != nil && !errors.Is(err, sock.OperationError) {
				t.Fatal(err)
			}
		}
	}
}
