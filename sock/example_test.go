package sock_test

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"anteroom/sock"
)

func Example() {
	err := error(&sock.Error{
		Op:   "connect",
		Net:  "local",
		Addr: &net.UnixAddr{Name: "/tmp/fortune", Net: "unix"},
		Code: sock.ConnectionRefusedError,
		Err:  syscall.ECONNREFUSED,
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, sock.ConnectionRefusedError), errors.Is(err, syscall.ECONNREFUSED))

	code := sock.CodeOf(err)
	fmt.Println(code.Name(), code.Qt())
	// Output:
	// connect local /tmp/fortune: connection refused
	// true true
	// ConnectionRefusedError 0
}
