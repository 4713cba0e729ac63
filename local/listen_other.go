//go:build !unix && !windows

package local

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"anteroom/internal/core"
	"anteroom/sock"
)

// A listener cannot be made here; the methods are those that a Server would call.
type listener struct {
	place
	ends *endpoint
}

type listenOptions struct {
	SocketOptions
	backlog int
	replace bool
	private bool
	alone   bool
	gid     int

	keepFile *atomic.Bool
}

func listenAt(place, listenOptions) (*listener, error) { return nil, errUnsupported }
func adopt(sock.Descriptor) (*listener, error)         { return nil, errUnsupported }
func dial(place) (core.Transport, error)               { return nil, errUnsupported }

func lookUpGroup(string) (int, error) { return -1, nil }
func (o listenOptions) group() int    { return -1 }

func removeSocket(string) error { return errUnsupported }
func removeStale(string) error  { return errUnsupported }

func take(sock.Descriptor) (core.Transport, *endpoint, bool, error) {
	return nil, nil, false, errUnsupported
}
func addressOf(uintptr, bool) (net.Addr, error) { return nil, errUnsupported }

func (l *listener) Network() string                       { return network }
func (l *listener) Addr() net.Addr                        { return l.ends.addr }
func (l *listener) Accept() (*Socket, error)              { return nil, errUnsupported }
func (l *listener) Wait(func(uintptr) bool) error         { return errUnsupported }
func (l *listener) SetLimit(time.Time) error              { return errUnsupported }
func (l *listener) Close() error                          { return errUnsupported }
func (l *listener) Fd() uintptr                           { return 0 }
func (l *listener) SyscallConn() (syscall.RawConn, error) { return nil, errUnsupported }
func (l *listener) Dup() (*os.File, error)                { return nil, errUnsupported }
func (l *listener) Lend() (d sock.Descriptor)             { return d }

func runtimeDir(string) (string, error) { return "", errUnsupported }
