package sockettest

import (
	"net"
	"net/netip"
	"testing"
)

// Refusing returns an address of 127.0.0.1 at which nobody listens, nor will before the test ends: it is that of a client, which keeps it.
// (A port that was given back may be somebody else's at once, such as a test's in another process.)
func Refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return c.LocalAddr().(*net.TCPAddr).AddrPort()
}
