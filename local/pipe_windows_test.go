package local_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"anteroom/internal/pipe"
	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"

	"golang.org/x/sys/windows"
)

// entries returns the access entries of a connection's pipe, and its owner and group.
func entries(t *testing.T, c *local.Socket) (all []string, owner, group string) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		const what = windows.OWNER_SECURITY_INFORMATION | windows.GROUP_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION
		sd, err := windows.GetSecurityInfo(windows.Handle(fd), windows.SE_KERNEL_OBJECT, what)
		if err != nil {
			t.Error(err)
			return
		}
		o, _, err := sd.Owner()
		if err == nil {
			owner = o.String()
		}
		if g, _, err := sd.Group(); err == nil {
			group = g.String()
		}
		dacl, _, err := sd.DACL()
		if err != nil {
			t.Error(err)
			return
		}
		for i := range uint32(dacl.AceCount) {
			var ace *windows.ACCESS_ALLOWED_ACE
			if err := windows.GetAce(dacl, i, &ace); err != nil {
				t.Error(err)
				return
			}
			sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
			all = append(all, fmt.Sprintf("%d %d %#x %s", ace.Header.AceType, ace.Header.AceFlags, ace.Mask, sid))
		}
	}))
	return all, owner, group
}

// Access options are the access list of each instance of the pipe: these entries, and no others.
func TestPipeAccessOptions(t *testing.T) {
	token := windows.GetCurrentProcessToken()
	tu, err := token.GetTokenUser()
	must(t, err)
	tg, err := token.GetTokenPrimaryGroup()
	must(t, err)
	user, group := tu.User.Sid.String(), tg.PrimaryGroup.String()
	const fileAllAccess = 0x1f01ff
	entry := func(sid string) string {
		return fmt.Sprintf("%d 0 %#x %s", windows.ACCESS_ALLOWED_ACE_TYPE, fileAllAccess, sid)
	}
	for o := local.UserAccessOption; o <= local.WorldAccessOption; o++ {
		var want []string
		for option, sid := range map[local.SocketOptions]string{
			local.UserAccessOption: user, local.GroupAccessOption: group, local.OtherAccessOption: "S-1-1-0",
		} {
			if o&option != 0 {
				want = append(want, entry(sid))
			}
		}
		slices.Sort(want)
		var srv local.Server
		srv.SetSocketOptions(o)
		srv.SetListenBacklogSize(1)
		listenWith(t, &srv)
		for i := range 4 { // the first instances, and those that have followed them
			client := dial(t, &srv)
			for _, c := range []*local.Socket{next(t, &srv), client} {
				got, owner, primary := entries(t, c)
				if slices.Sort(got); !slices.Equal(got, want) || owner != user || primary != group {
					t.Errorf("options %d, instance %d: %q of %s, %s; want %q of %s, %s", o, i, got, owner, primary, want, user, group)
				}
			}
		}
		srv.Close()
	}
}

// As Qt documents: on Windows two servers may listen on one name, and each client comes to one of them.
func TestPipeTwoServersListenOnOneName(t *testing.T) {
	first := listen(t)
	name := first.FullServerName()
	var second local.Server
	defer second.Close()
	must(t, second.Listen(name))
	const clients = 20
	for range clients {
		dial(t, first)
	}
	taken := 0
	sockettest.Eventually(t, "each client is one server's", func() bool {
		for _, srv := range []*local.Server{first, &second} {
			for c := srv.NextPendingConnection(); c != nil; c = srv.NextPendingConnection() {
				closeLater(t, c)
				taken++
			}
		}
		return taken == clients
	})
	must(t, first.Close())
	dialName(t, name).Abort() // the other still listens
}

func TestPipeExclusive(t *testing.T) {
	var first local.Server
	first.SetExclusive(true)
	listenWith(t, &first)
	dial(t, &first)
	next(t, &first)
	sockettest.NeedRealWindows(t, "keep a name for its first server (FILE_FLAG_FIRST_PIPE_INSTANCE)")
	var second local.Server
	second.SetExclusive(true)
	wantIs(t, "Listen", second.Listen(first.FullServerName()), sock.AddressInUseError)
}

// As many clients as there are instances connect at once, and not one is told that all are busy: who is accepted has a successor already.
func TestPipeIsNeverBusy(t *testing.T) {
	const instances = 21
	var srv local.Server
	srv.SetListenBacklogSize(instances - 1)
	listenWith(t, &srv)
	for range 20 {
		var clients sync.WaitGroup
		for range instances {
			clients.Go(func() {
				h, err := pipe.Dial(srv.FullServerName())
				if err != nil {
					t.Error(err)
					return
				}
				windows.CloseHandle(h)
			})
		}
		for range instances {
			next(t, &srv).Close()
		}
		clients.Wait()
	}
}

// What was written before a close is read after it, in both directions, and also if the writer has gone before the server accepts.
func TestPipeWrittenBeforeCloseIsNotLost(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 2000)
	for range 50 {
		client, server := pair(t)
		client.Write(data)
		client.Close()
		if got, err := io.ReadAll(server); !bytes.Equal(got, data) || err != nil {
			t.Fatalf("the server read %d bytes of %d, %v", len(got), len(data), err)
		}
		client, server = pair(t)
		server.Write(data)
		server.Close()
		if got, err := io.ReadAll(client); !bytes.Equal(got, data) || err != nil {
			t.Fatalf("the client read %d bytes of %d, %v", len(got), len(data), err)
		}
	}
	srv := listen(t)
	srv.PauseAccepting()
	for range 10 {
		c := dial(t, srv)
		c.Write(data)
		c.Close()
	}
	srv.ResumeAccepting()
	for range 10 {
		if got, err := io.ReadAll(next(t, srv)); !bytes.Equal(got, data) || err != nil {
			t.Fatalf("read %d bytes of %d, %v", len(got), len(data), err)
		}
	}
}

// A Close in the middle of a connect, and of the connect's waiting for a server that is busy.
func TestPipeCloseWhileConnecting(t *testing.T) {
	var srv local.Server
	srv.SetListenBacklogSize(1)
	listenWith(t, &srv)
	for i := range 2000 {
		c := new(local.Socket)
		var both sync.WaitGroup
		both.Go(func() { c.ConnectToServer(srv.FullServerName(), 0) })
		both.Go(func() { c.Close() })
		both.Wait()
		c.Abort()
		wantState(t, c, sock.UnconnectedState)
		if i%10 == 0 {
			for p := srv.NextPendingConnection(); p != nil; p = srv.NextPendingConnection() {
				p.Abort()
			}
		}
	}
}

func TestPipeNames(t *testing.T) {
	name := sockettest.Name(t)
	for _, given := range []string{name, `\\.\pipe\` + name, `\\.\PIPE\` + name} {
		full, err := local.FullServerName(given)
		if err != nil || !strings.EqualFold(full, `\\.\pipe\`+name) {
			t.Errorf("FullServerName(%q): %q, %v", given, full, err)
		}
	}
	long := strings.Repeat("x", 256-len(`\\.\pipe\`))
	var srv local.Server
	defer srv.Close()
	must(t, srv.Listen(long))
	dialName(t, long).Abort()
	var second local.Server
	wantIs(t, "a longer name", second.Listen(long+"x"), sock.HostNotFoundError, syscall.ENAMETOOLONG)
	second.SetSocketOptions(local.AbstractNamespaceOption)
	wantIs(t, "an abstract name", second.Listen(name), sock.UnsupportedSocketOperationError)
	wantIs(t, "a descriptor", second.ListenDescriptor(sock.FromFd(1)), sock.UnsupportedSocketOperationError)
	var c local.Socket
	must(t, c.SetSocketOptions(local.AbstractNamespaceOption))
	wantIs(t, "connecting to an abstract name", c.ConnectToServer(name, 0), sock.UnsupportedSocketOperationError)
}

func TestPipeRemove(t *testing.T) {
	srv := listen(t)
	name := srv.FullServerName()
	wantIs(t, "RemoveStale of a living server", local.RemoveStale(name), sock.AddressInUseError)
	must(t, local.RemoveServer(name))
	dial(t, srv)
	must(t, srv.Close())
	must(t, local.RemoveStale(name))
}

// The handle of a connection that an override has been given can be used by another Socket.
func TestPipeDescriptorChangesOwner(t *testing.T) {
	srv := listen(t)
	given := make(chan sock.Descriptor, 1)
	srv.SetIncomingConnection(func(d sock.Descriptor) { given <- d })
	client := dial(t, srv)
	must(t, srv.WaitForNewConnection(sockettest.Long()))
	d := sockettest.Done(t, "the override is given the connection", given)
	c := closeLater(t, new(local.Socket))
	must(t, c.SetSocketDescriptor(d, sock.ConnectedState, 0))
	if c.FullServerName() != srv.FullServerName() || c.LocalAddr().String() != srv.FullServerName() {
		t.Errorf("it is connected to %q, from %q", c.FullServerName(), c.LocalAddr())
	}
	client.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	var other local.Socket
	wantIs(t, "what is no pipe", other.SetSocketDescriptor(sock.FromFd(1<<20), sock.ConnectedState, 0), sock.UnsupportedSocketOperationError)
}
