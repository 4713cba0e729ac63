package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// On Linux the kernel lists its Unix-domain sockets by netlink (sock_diag(7)), byte for byte. /proc/net/unix says less, and a name with a
// newline or a NUL looks like another one there.

// A diagSocket is what the kernel says of a socket.
type diagSocket struct {
	typ     uint8  // unix.SOCK_STREAM, …
	state   uint8  // stateListen, …
	inode   uint32 // the number in /proc/PID/fd
	name    string // as it was bound: a path, or an abstract name that begins with a NUL; "" if it was not
	file    fileID // the socket's file; zero if it has none
	queue   int    // how many connections wait, if it listens; -1 if the kernel does not say
	backlog int    // how many may wait, if it listens
	deaf    bool   // it was shut down for reading, and refuses connections
	uid     int    // who has made it; -1 if the kernel does not say
}

// A fileID is how the kernel names a socket's file: the file system's device, in the kernel's own coding, and the inode's lower 32 bits.
type fileID struct{ dev, ino uint32 }

// Where golang.org/x/sys has no names: linux/unix_diag.h, linux/sock_diag.h, net/tcp_states.h.
const (
	diagMessageSize = 16 // struct unix_diag_msg
	diagShow        = 1 | 2 | 16 | 64
	diagName        = 0 // UNIX_DIAG_…
	diagVFS         = 1
	diagQueueLen    = 4
	diagShutdown    = 6
	diagUID         = 7

	stateEstablished = 1 // TCP_…
	stateClose       = 7
	stateListen      = 10
)

// diagSockets asks the kernel for all Unix-domain sockets of this network namespace.
func diagSockets() ([]diagSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)

	native := binary.NativeEndian
	var request []byte
	request = native.AppendUint32(request, unix.SizeofNlMsghdr+24) // struct nlmsghdr and struct unix_diag_req
	request = native.AppendUint16(request, unix.SOCK_DIAG_BY_FAMILY)
	request = native.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = native.AppendUint32(request, 1)                                         // the sequence
	request = native.AppendUint32(request, 0)                                         // from whom: the kernel knows
	request = append(request, unix.AF_UNIX, 0, 0, 0)                                  // family, protocol, padding
	request = native.AppendUint32(request, ^uint32(0))                                // in every state
	request = native.AppendUint32(request, 0)                                         // of every inode
	request = native.AppendUint32(request, diagShow)                                  // with these attributes
	request = native.AppendUint64(request, uint64(^uint32(0))<<32|uint64(^uint32(0))) // and no cookie
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}

	var sockets []diagSocket
	answer := make([]byte, 64<<10) // the kernel sends at most 32 KiB at once
	for {
		n, _, flags, _, err := unix.Recvmsg(fd, answer, nil, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvmsg", err)
		case flags&unix.MSG_TRUNC != 0:
			return nil, errDiag
		}
		more, done, err := parseDiag(answer[:n])
		if sockets = append(sockets, more...); done || err != nil {
			return sockets, err
		}
	}
}

var errDiag = errors.New("the kernel's list of sockets makes no sense")

// parseDiag reads one of the kernel's answers. Done says that it was the last one.
func parseDiag(b []byte) (sockets []diagSocket, done bool, err error) {
	if len(b) == 0 {
		return nil, false, errDiag
	}
	native := binary.NativeEndian
	for len(b) > 0 {
		if len(b) < unix.SizeofNlMsghdr {
			return nil, false, errDiag
		}
		size, kind := native.Uint32(b), native.Uint16(b[4:])
		if size < unix.SizeofNlMsghdr || uint64(size) > uint64(len(b)) {
			return nil, false, errDiag
		}
		body := b[unix.SizeofNlMsghdr:size]
		b = b[min(aligned(int(size)), len(b)):]
		switch kind {
		case unix.NLMSG_DONE:
			return sockets, true, diagError(body)
		case unix.NLMSG_ERROR:
			if err := diagError(body); err != nil {
				return nil, false, err
			}
		case unix.SOCK_DIAG_BY_FAMILY:
			s, err := parseDiagSocket(body)
			if err != nil {
				return nil, false, err
			}
			sockets = append(sockets, s)
		}
	}
	return sockets, false, nil
}

// diagError reads the error that a message begins with, if there is one.
func diagError(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(body)); n < 0 {
		return os.NewSyscallError("sock_diag", unix.Errno(-int64(n)))
	}
	return nil
}

func parseDiagSocket(b []byte) (diagSocket, error) {
	s := diagSocket{queue: -1, backlog: -1, uid: -1}
	if len(b) < diagMessageSize || b[0] != unix.AF_UNIX {
		return s, errDiag
	}
	native := binary.NativeEndian
	s.typ, s.state, s.inode = b[1], b[2], native.Uint32(b[4:])
	for b = b[diagMessageSize:]; len(b) > 0; {
		if len(b) < unix.SizeofRtAttr {
			return s, errDiag
		}
		size, kind := int(native.Uint16(b)), native.Uint16(b[2:])
		if size < unix.SizeofRtAttr || size > len(b) {
			return s, errDiag
		}
		value := b[unix.SizeofRtAttr:size]
		b = b[min(aligned(size), len(b)):]
		least := map[uint16]int{diagVFS: 8, diagQueueLen: 8, diagShutdown: 1, diagUID: 4}[kind]
		if len(value) < least {
			return s, fmt.Errorf("%w: attribute %d has %d bytes", errDiag, kind, len(value))
		}
		switch kind {
		case diagName:
			if len(value) > 0 && value[0] != 0 { // a path ends with a NUL
				value, _, _ = bytes.Cut(value, []byte{0})
			}
			s.name = string(value)
		case diagVFS:
			s.file = fileID{ino: native.Uint32(value), dev: native.Uint32(value[4:])}
		case diagQueueLen:
			s.queue, s.backlog = int(native.Uint32(value)), int(native.Uint32(value[4:]))
		case diagShutdown:
			s.deaf = value[0]&1 != 0
		case diagUID:
			s.uid = int(native.Uint32(value))
		}
	}
	return s, nil
}

// aligned rounds up to where the next message, or attribute, begins.
func aligned(n int) int { return (n + 3) &^ 3 }

// bound reports whether the socket is one that clients could look for: a stream socket with a name, and not one end of a connection.
func (s *diagSocket) bound() bool {
	return s.typ == unix.SOCK_STREAM && s.name != "" && (s.state == stateListen || s.state == stateClose)
}

func (s *diagSocket) listens() bool  { return s.state == stateListen && !s.deaf }
func (s *diagSocket) abstract() bool { return s.name != "" && s.name[0] == 0 }
