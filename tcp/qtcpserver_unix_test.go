//go:build unix

package tcp_test

import (
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"
	"golang.org/x/sys/unix"
)

// 11.
func TestQTcpServer_setSocketDescriptor(t *testing.T) {
	var srv tcp.Server
	wantIs(t, "a closed descriptor", srv.SetSocketDescriptor(sock.FromFd(uintptr(closedFd(t)))), sock.UnsupportedSocketOperationError)
	if srv.ServerError() != sock.UnsupportedSocketOperationError {
		t.Errorf("the last error is %v", srv.Err())
	}
	fd := rawListener(t, unix.AF_INET)
	t.Cleanup(func() { srv.Close() })
	must(t, srv.SetSocketDescriptor(sock.FromFd(uintptr(fd))))
	if got, ok := srv.SocketDescriptor().Fd(); !ok || got != uintptr(fd) {
		t.Errorf("its descriptor is %d; want %d", got, fd)
	}
}

// 14. One that has come through a proxy has no native handle to do that with.
func TestQTcpServer_setNewSocketDescriptorBlocking(t *testing.T) {
	twice(t, func(t qtRun) {
		var srv tcp.Server
		ok := make(chan bool, 1)
		srv.SetIncomingConnection(func(d sock.Descriptor) {
			fd, native := d.Fd()
			if native && unix.SetNonblock(int(fd), false) != nil {
				native = false
			}
			d.Close()
			ok <- native
		})
		t.listen(&srv)
		client := t.connect(&srv)
		must(t, srv.WaitForNewConnection(sockettest.Long()))
		if native := sockettest.Done(t, "the override is called", ok); native != (t.proxy == nil) {
			t.Errorf("there is a native handle: %v", native)
		}
		if srv.HasPendingConnections() {
			t.Error("something is pending")
		}
		wantEnd(t, client)
	})
}
