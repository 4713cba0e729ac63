package pipe

import (
	"io"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/windows"
)

var procPeekNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("PeekNamedPipe")

// A Conn is one end of a connection. Its calls never wait, and are made one at a time; what has to wait is told by a function when it is
// done, in another goroutine.
type Conn struct {
	h    windows.Handle
	read windows.Overlapped // of Recv
}

// NewConn makes a Conn of a handle that was opened for overlapped operations, which it owns then.
func NewConn(h windows.Handle) (*Conn, error) {
	if err := associate(h); err != nil {
		return nil, err
	}
	return &Conn{h: h}, nil
}

// Fd returns the handle.
func (c *Conn) Fd() uintptr { return uintptr(c.h) }

// Recv reads what has arrived: 0 and nil if nothing has, io.EOF at the end. p must be on the heap.
func (c *Conn) Recv(p []byte) (int, error) {
	var arrived uint32
	r, _, err := procPeekNamedPipe.Call(uintptr(c.h), 0, 0, 0, uintptr(unsafe.Pointer(&arrived)), 0)
	if r == 0 {
		return 0, readError(err)
	}
	if arrived == 0 {
		return 0, nil
	}
	p = p[:min(len(p), int(arrived))]
	c.read = windows.Overlapped{}
	var n uint32
	err = windows.ReadFile(c.h, p, &n, &c.read)
	if err == windows.ERROR_IO_PENDING { // somebody who shares the handle was quicker
		windows.CancelIoEx(c.h, &c.read)
		for atomic.LoadUintptr(&c.read.Internal) == uintptr(windows.STATUS_PENDING) {
			runtime.Gosched()
		}
		n, err = uint32(c.read.InternalHigh), nil
	}
	runtime.KeepAlive(p)
	return int(n), readError(err)
}

// Arm has ready called once Recv may find something, bytes or the end. If that is so already, it returns true instead. One at a time.
func (c *Conn) Arm(ready func()) (now bool, err error) {
	// A read of nothing is finished when there is something to read.
	o := &op{done: func(int, error) { ready() }}
	_, err = o.start(func(n *uint32, ov *windows.Overlapped) error { return windows.ReadFile(c.h, nil, n, ov) })
	switch err = readError(err); err {
	case windows.ERROR_IO_PENDING:
		return false, nil
	case nil, io.EOF:
		return true, nil
	}
	return false, err
}

// Send starts to send p, which is the system's until that is done. If it has to wait, it returns pending, and done is called later. One at
// a time.
func (c *Conn) Send(p []byte, done func(n int, err error)) (n int, pending bool, err error) {
	o := &op{buf: p, done: done}
	n, err = o.start(func(n *uint32, ov *windows.Overlapped) error { return windows.WriteFile(c.h, o.buf, n, ov) })
	if err == windows.ERROR_IO_PENDING {
		return 0, true, nil
	}
	return n, false, err
}

// Close ends what waits, and closes the handle. What was sent can still be read by the peer.
func (c *Conn) Close() error {
	windows.CancelIoEx(c.h, nil)
	return windows.CloseHandle(c.h)
}
