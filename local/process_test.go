//go:build unix

package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

var _ = sockettest.Child("listen", func() {
	srv, err := local.Listen(os.Args[1])
	mustChild(err)
	fmt.Println("listening")
	for {
		c, err := srv.Accept()
		mustChild(err)
		c.Close()
	}
})

func TestServerCrashLeavesAFileThatListenDoesNotTouch(t *testing.T) {
	if !sockettest.HasFiles {
		t.Skip("a crashed server leaves nothing")
	}
	name := sockettest.Name(t)
	p := sockettest.Start(t, "listen", name)
	p.Expect("listening")
	dialName(t, name).Close()
	var srv local.Server
	wantIs(t, "Listen while it lives", srv.Listen(name), sock.AddressInUseError)
	p.Kill()
	before, err := os.Lstat(name)
	must(t, err)
	wantIs(t, "Listen after its crash", srv.Listen(name), sock.AddressInUseError)
	after, err := os.Lstat(name)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was touched: %v", err)
	}
	_, err = local.Dial(name)
	wantIs(t, "Dial", err, sock.ConnectionRefusedError)
	must(t, local.RemoveServer(name))
	must(t, srv.Listen(name))
	must(t, srv.Close())
}

var _ = sockettest.Child("dial", func() {
	var c local.Socket
	if os.Args[1] == "abstract" {
		c.SetSocketOptions(local.AbstractNamespaceOption)
	}
	if len(os.Args) > 3 {
		id, err := strconv.Atoi(os.Args[3])
		mustChild(err)
		mustChild(sockettest.BecomeUser(id))
	}
	if err := c.ConnectToServer(os.Args[2], sock.ReadWrite); err != nil {
		fmt.Println(sock.CodeOf(err).Name())
		return
	}
	b, err := io.ReadAll(&c)
	fmt.Printf("%s %v\n", b, err)
})

// greet answers every client until the server is closed.
func greet(srv *local.Server) {
	for c, err := range srv.Connections(context.Background()) {
		if err == nil {
			c.Write([]byte("hello"))
			c.Close()
		}
	}
}

// The access options are kept by the file's mode, and for an abstract name, which has no file, by who the peer is.
func TestServerAccessOptionsRefuseAnotherUser(t *testing.T) {
	sockettest.NeedRoot(t)
	const nobody = "65534"
	tests := []struct {
		options  local.SocketOptions
		us, them bool
	}{
		{local.NoOptions, true, true}, // under umask 0
		{local.UserAccessOption, true, false},
		{local.UserAccessOption | local.GroupAccessOption, true, false},
		{local.OtherAccessOption, false, true},
		{local.WorldAccessOption, true, true},
	}
	for _, test := range tests {
		for _, kind := range []string{"path", "abstract"} {
			t.Run(fmt.Sprintf("%s %d", kind, test.options), func(t *testing.T) {
				var srv local.Server
				var name string
				refused := "closed" // an abstract name can be connected to, and the connection is closed
				if kind == "abstract" {
					name = sockettest.AbstractName(t)
					srv.SetSocketOptions(test.options | local.AbstractNamespaceOption)
				} else {
					name = sockettest.Name(t)
					must(t, os.Chmod(name[:strings.LastIndexByte(name, '/')], 0o755))
					srv.SetSocketOptions(test.options)
					refused = "SocketAccessError"
				}
				told := make(chan error, 10)
				srv.OnAcceptError(func(err error) { told <- err })
				old := syscall.Umask(0)
				err := srv.Listen(name)
				syscall.Umask(old)
				must(t, err)
				defer srv.Close()
				go greet(&srv)
				for who, allowed := range map[string]bool{"": test.us, nobody: test.them} {
					if who == "" && kind == "path" {
						continue // root may do everything
					}
					args := []string{kind, name}
					if who != "" {
						args = append(args, who)
					}
					got := sockettest.Start(t, "dial", args...).Line()
					switch {
					case allowed && got != "hello <nil>":
						t.Errorf("user %q got %q; want to be let in", who, got)
					case !allowed && refused == "closed":
						if strings.HasPrefix(got, "hello") {
							t.Errorf("user %q was let in", who)
						}
						wantIs(t, "OnAcceptError", sockettest.Done(t, "OnAcceptError is told", told), sock.SocketAccessError)
					case !allowed && got != refused:
						t.Errorf("user %q got %q; want %q", who, got, refused)
					}
				}
			})
		}
	}
}

var _ = sockettest.Child("few descriptors", func() {
	var srv local.Server
	told := make(chan error, 100)
	srv.OnAcceptError(func(err error) { told <- err })
	var accepted atomic.Int64
	mustChild(srv.Listen(os.Args[1]))
	conns := make(chan *local.Socket, 1000)
	go func() {
		for c, err := range srv.Connections(context.Background()) {
			mustChild(err)
			accepted.Add(1)
			conns <- c
		}
	}()
	for range 2 {
		srv.PauseAccepting()
		giveBack, err := sockettest.LeaveDescriptors(3)
		mustChild(err)
		srv.ResumeAccepting()
		start := accepted.Load()
		fmt.Println("ready")
		err = <-told
		fmt.Println(sock.CodeOf(err).Name(), srv.ServerError().Name(), errors.Is(err, syscall.EMFILE))
		before, _ := sockettest.CPUTime()
		const look = 500 * time.Millisecond
		time.Sleep(look)
		after, _ := sockettest.CPUTime()
		fmt.Println("idle:", after-before < look/10, "told once:", len(told) == 0, "accepted:", accepted.Load()-start, "listening:", srv.IsListening())
		giveBack()
		for range 8 {
			c := <-conns
			c.Write([]byte("hello"))
			c.Close()
		}
	}
})

func TestServerOutOfDescriptorsGoesOnByItself(t *testing.T) {
	name := sockettest.Name(t)
	p := sockettest.Start(t, "few descriptors", name)
	for round := range 2 {
		p.Expect("ready")
		var clients []*local.Socket
		for range 8 {
			clients = append(clients, closeLater(t, dialName(t, name)))
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
