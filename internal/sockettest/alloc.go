package sockettest

import (
	"io"
	"net"
	"testing"
)

// Answer sends back what comes on c, until its end, and closes it.
func Answer(c net.Conn) {
	defer c.Close()
	io.Copy(c, c)
}

// NeedPools skips the test in a build with the race detector, which makes pools forget what they keep.
func NeedPools(t testing.TB) {
	t.Helper()
	if raceDetector {
		t.Skip("needs a build without the race detector")
	}
}

// EchoAllocatesNothing fails the test if an echo of 64 bytes on c, whose other end answers with what it gets, allocates memory, at either end.
func EchoAllocatesNothing(t *testing.T, c net.Conn) {
	t.Helper()
	buf := make([]byte, 64)
	var err error
	echo := func() {
		if err == nil {
			_, err = c.Write(buf)
		}
		if err == nil {
			_, err = io.ReadFull(c, buf)
		}
	}
	for range 100 { // what is made once is made now
		echo()
	}
	if n := testing.AllocsPerRun(1000, echo); n != 0 {
		t.Errorf("an echo allocates %v times", n)
	}
	if err != nil {
		t.Error(err)
	}
}
