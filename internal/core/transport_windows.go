package core

import (
	"io"
	"net"
	"syscall"
	"unsafe"

	"anteroom/internal/pipe"
	"anteroom/sock"
	"golang.org/x/sys/windows"
)

// NewTransport makes a transport of a pipe's handle, which it owns from now on.
func NewTransport(fd int) (Transport, error) {
	c, err := pipe.NewConn(windows.Handle(fd))
	if err != nil {
		return nil, err
	}
	return NewCompletionTransport(pipeDevice{c}), nil
}

// A pipeDevice is a pipe, whose directions cannot end one by one.
type pipeDevice struct{ *pipe.Conn }

func (pipeDevice) Whole() error      { return errHalf }
func (pipeDevice) CloseRead() error  { return errHalf }
func (pipeDevice) CloseWrite() error { return errHalf }

var errHalf = Because("a named pipe ends in both directions at once", sock.UnsupportedSocketOperationError)

// NewConnTransport makes a transport of a TCP connection, which it owns from now on.
func NewConnTransport(c Conn) (Transport, error) {
	dev := &netDevice{Conn: c}
	half, ok := c.(halfConn)
	if !ok {
		return nil, syscall.ENOTSUP
	}
	dev.halfConn = half
	var err error
	if dev.raw, err = c.SyscallConn(); err != nil {
		return nil, err
	}
	control := dev.raw.Control(func(fd uintptr) {
		dev.fd = fd
		err = setNonblock(fd)
	})
	if control != nil {
		return nil, control
	}
	return NewCompletionTransport(dev), err
}

type halfConn interface {
	io.Writer
	CloseRead() error
	CloseWrite() error
}

// A netDevice is a connection of package net, which waits at the runtime's poller: a goroutine waits there for bytes, and one for room.
type netDevice struct {
	Conn
	halfConn
	raw syscall.RawConn
	fd  uintptr
}

func (d *netDevice) Fd() uintptr { return d.fd }

// Recv implements Device.
func (d *netDevice) Recv(p []byte) (n int, err error) {
	if control := d.raw.Control(func(fd uintptr) { n, err = recv(fd, p) }); control != nil {
		return 0, control
	}
	switch {
	case err == windows.WSAEWOULDBLOCK:
		return 0, nil
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return n, err
}

// Arm implements Device.
func (d *netDevice) Arm(ready func()) (bool, error) {
	go func() {
		waited := false
		d.raw.Read(func(uintptr) bool {
			done := waited
			waited = true
			return done
		})
		ready()
	}()
	return false, nil
}

// Send implements Device.
func (d *netDevice) Send(p []byte, done func(int, error)) (n int, pending bool, err error) {
	if control := d.raw.Control(func(fd uintptr) { n, err = send(fd, p) }); control != nil {
		return 0, false, control
	}
	if err != windows.WSAEWOULDBLOCK {
		return n, false, err
	}
	go func() {
		n, err := d.Write(p)
		if op, ok := err.(*net.OpError); ok {
			err = op.Err
		}
		done(n, err)
	}()
	return 0, true, nil
}

var (
	winsock         = windows.NewLazySystemDLL("ws2_32.dll")
	procRecv        = winsock.NewProc("recv")
	procSend        = winsock.NewProc("send")
	procIoctlSocket = winsock.NewProc("ioctlsocket")
)

// setNonblock makes recv and send fail where they would wait. What package net does is not concerned.
func setNonblock(fd uintptr) error {
	const fionbio = 0x8004667e
	on := uint32(1)
	if r, _, err := procIoctlSocket.Call(fd, fionbio, uintptr(unsafe.Pointer(&on))); r != 0 {
		return err
	}
	return nil
}

func recv(fd uintptr, p []byte) (int, error) { return transfer(procRecv, fd, p) }
func send(fd uintptr, p []byte) (int, error) { return transfer(procSend, fd, p) }

func transfer(call *windows.LazyProc, fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r, _, err := call.Call(fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0)
	if n := int(int32(r)); n >= 0 {
		return n, nil
	}
	return 0, err
}
