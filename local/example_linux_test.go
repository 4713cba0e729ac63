package local_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"anteroom/local"
	"anteroom/sock"
)

// A server that crashes leaves its file behind, and so its name in use. Who replaces stale ones takes the name of a dead server, and never that
// of a living one.
func ExampleServer_SetReplaceStale() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "greeter")

	crashed, err := local.Listen(name)
	if err != nil {
		log.Fatal(err)
	}
	crashed.SetUnlinkOnClose(false) // the file stays, as after a crash
	crashed.Close()

	var srv local.Server
	fmt.Println("in use:", errors.Is(srv.Listen(name), sock.AddressInUseError))
	srv.SetReplaceStale(true)
	fmt.Println("taken over:", srv.Listen(name))
	defer srv.Close()

	var another local.Server
	another.SetReplaceStale(true)
	fmt.Println("in use:", errors.Is(another.Listen(name), sock.AddressInUseError))
	// Output:
	// in use: true
	// taken over: <nil>
	// in use: true
}
