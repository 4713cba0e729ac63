//go:build linux || windows || darwin || freebsd || openbsd || netbsd

package local_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"anteroom/local"
	"anteroom/sock"
)

// Who may come in is decided by who the client is, before a connection is pending: here this user's processes, each of them once. Who was let in
// can be asked later.
func ExampleServer_SetAdmit() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	var srv local.Server
	seen := make(map[int]bool) // needs no lock: one client is decided about at a time
	srv.SetAdmit(func(p local.Peer) error {
		if err := local.SameUserOnly(p); err != nil {
			return err
		}
		if seen[p.PID] {
			return errors.New("the process was here before")
		}
		seen[p.PID] = true
		return nil
	})
	refused := make(chan error, 1)
	srv.OnAcceptError(func(err error) { refused <- err })
	if err := srv.Listen(filepath.Join(dir, "members")); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	for range 2 {
		client, err := local.Dial(srv.FullServerName())
		if err != nil {
			log.Fatal(err)
		}
		defer client.Close()
	}
	conn, err := srv.AcceptContext(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	peer, err := conn.Peer()
	fmt.Println("this user:", peer.SameUser(), err)

	err = <-refused
	why, _ := errors.AsType[*sock.Error](err)
	fmt.Println(errors.Is(err, sock.SocketAccessError), why.Err, srv.HasPendingConnections())
	// Output:
	// this user: true <nil>
	// true the process was here before false
}
