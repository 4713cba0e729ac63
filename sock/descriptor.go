package sock

import (
	"errors"
	"net"
	"reflect"
	"syscall"
)

// invalidHandle is what C's -1 is as a handle, on Unix and on Windows (INVALID_HANDLE_VALUE) alike.
const invalidHandle = ^uintptr(0)

// A Descriptor is a native handle, of a connection or of a listener, that changes owner. Whoever holds one that is not lent closes it,
// or hands it to a member that takes it: that member owns it once it returned nil, and after an error it is still the caller's. The zero
// value is not valid; FromFd(0) is.
//
// A Descriptor is a plain value: copies speak of the same handle, and it must be closed or handed over once.
//
// Qt: qintptr, as in QLocalSocket::setSocketDescriptor
type Descriptor struct {
	fd   uintptr
	conn net.Conn
	kind descriptorKind
}

type descriptorKind uint8

const (
	noDescriptor descriptorKind = iota
	ownedDescriptor
	lentDescriptor
)

// FromFd returns the descriptor of a file descriptor (on Windows, of a handle). The handle is the descriptor's from now on.
func FromFd(fd uintptr) Descriptor {
	if fd == invalidHandle {
		return Descriptor{}
	}
	return Descriptor{fd: fd, kind: ownedDescriptor}
}

// FromConn returns the descriptor of a connection that somebody else made. The connection is the descriptor's from now on: a member
// that takes it goes on with a duplicate of the system's handle and closes c. A nil c, or a nil pointer in it, makes an invalid descriptor.
func FromConn(c net.Conn) Descriptor {
	if v := reflect.ValueOf(c); c == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return Descriptor{}
	}
	return Descriptor{conn: c, kind: ownedDescriptor}
}

// Lend returns a descriptor that only shows which handle an object uses. Closing it does nothing, and members that take a descriptor
// refuse it. SocketDescriptor returns such ones.
func Lend(fd uintptr) Descriptor {
	if fd == invalidHandle {
		return Descriptor{}
	}
	return Descriptor{fd: fd, kind: lentDescriptor}
}

// Fd returns the native handle, and whether there is one: there is none if d is not valid, or if it was made from a connection that
// has none of its own, such as a proxied one.
func (d Descriptor) Fd() (uintptr, bool) {
	if d.kind == noDescriptor {
		return invalidHandle, false
	}
	if d.conn == nil {
		return d.fd, true
	}
	fd := invalidHandle
	if err := d.Control(func(h uintptr) { fd = h }); err != nil {
		return invalidHandle, false
	}
	return fd, true
}

// Conn returns the connection that d was made from, or nil if it was made from a native handle. It goes on being the descriptor's.
func (d Descriptor) Conn() net.Conn { return d.conn }

// Control calls f with the native handle, which stays open until f returns. It fails with an error that Is
// UnsupportedSocketOperationError if there is no handle, or none any more.
func (d Descriptor) Control(f func(fd uintptr)) error {
	if d.kind == noDescriptor {
		return errInvalidDescriptor
	}
	if d.conn == nil {
		f(d.fd)
		return nil
	}
	sc, ok := d.conn.(syscall.Conn)
	if !ok {
		return errNoHandle
	}
	// A socket of this module has none that it could lend when it is closed, or goes through a proxy.
	if lender, ok := d.conn.(interface{ SocketDescriptor() Descriptor }); ok && !lender.SocketDescriptor().IsValid() {
		return errNoHandle
	}
	rc, err := sc.SyscallConn()
	if err == nil {
		err = rc.Control(f)
	}
	if err != nil {
		return &Error{Op: "use", Net: "descriptor", Code: UnsupportedSocketOperationError, Err: err}
	}
	return nil
}

var (
	errInvalidDescriptor = &Error{Op: "use", Net: "descriptor", Code: UnsupportedSocketOperationError, Err: errors.New("the descriptor is not valid")}
	errNoHandle          = &Error{Op: "use", Net: "descriptor", Code: UnsupportedSocketOperationError,
		Err: errors.New("the connection has no native handle of its own, or is closed")}
)

// IsValid reports whether d stands for a handle. It does not ask the system whether that handle is open.
func (d Descriptor) IsValid() bool { return d.kind != noDescriptor }

// IsLent reports whether d only shows a handle that an object goes on using.
func (d Descriptor) IsLent() bool { return d.kind == lentDescriptor }

// Close closes the handle. It does nothing for a descriptor that is lent or not valid.
func (d Descriptor) Close() error {
	switch {
	case d.kind != ownedDescriptor:
		return nil
	case d.conn != nil:
		return d.conn.Close()
	}
	return closeHandle(d.fd)
}
