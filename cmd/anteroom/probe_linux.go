package main

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A socketFile is a socket's file, found at a path. While it is open its inode's number is not given to another file.
type socketFile struct {
	path string
	fd   int
	st   unix.Stat_t
}

// openSocketFile finds the socket's file at path. Symbolic links are not followed.
func openSocketFile(path string) (*socketFile, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := &socketFile{path: path, fd: fd}
	if err := unix.Fstat(fd, &f.st); err != nil {
		f.close()
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if f.st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		f.close()
		return nil, errNoSocket
	}
	return f, nil
}

func (f *socketFile) close() { unix.Close(f.fd) }

// id is the kernel's name of the file, where the file system shows its own numbers. Some show others, as overlays do.
func (f *socketFile) id() fileID {
	dev := uint64(f.st.Dev) //nolint:unconvert // it is a uint32 on other processors
	return fileID{dev: unix.Major(dev)<<20 | unix.Minor(dev), ino: uint32(f.st.Ino)}
}

// A fate is what has become of the socket that a file belongs to.
type fate int

const (
	fateUnknown fate = iota // the system does not let it be proven
	fateBound               // a stream or seqpacket socket is bound to it, in whatever state
	fateOther               // a socket is bound to it that no stream reaches
	fateDead                // no socket is bound to it any more
)

// fate asks the kernel, by a datagram socket that connects to the file. It is told of a stream socket's type before anything else, so that
// the server does not notice; only a file that its socket has left refuses.
func (f *socketFile) fate() fate {
	if f.shared() {
		return fateUnknown
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fateUnknown
	}
	defer unix.Close(fd)
	// A server that is binding has a file before it is found by it, and holds the directory's lock meanwhile. Whoever had the lock once
	// the file was there finds the server; removing what is not there takes it.
	dir := f.path[:strings.LastIndexByte(f.path, '/')+1]
	if unix.Unlink(dir+".none-"+rand.Text()) != unix.ENOENT {
		return fateUnknown
	}
	switch unix.Connect(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(f.fd)}) {
	case nil, unix.EPERM: // EPERM: it is connected to another one
		return fateOther
	case unix.EPROTOTYPE:
		return fateBound
	case unix.ECONNREFUSED:
		return fateDead
	}
	return fateUnknown
}

// shared reports whether another machine may know more of the file than this one's kernel does.
func (f *socketFile) shared() bool {
	var st unix.Statfs_t
	if unix.Fstatfs(f.fd, &st) != nil {
		return true
	}
	switch int64(st.Type) { //nolint:unconvert // it is an int32 on other processors
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC,
		unix.AFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, 0x6a656a63: // virtiofs
		return true
	}
	return false
}

// provenDead returns nil if local.RemoveStale would remove the socket at path, and else why not, or that it cannot be known: RemoveStale may give the
// file's owner the right to connect for a moment.
func provenDead(path string) error {
	f, err := openSocketFile(path)
	if err == errNoSocket {
		return &failure{exitInUse, fmt.Errorf("%s is not a socket", path), nil}
	}
	if err != nil {
		return err
	}
	defer f.close()
	if int(f.st.Uid) != os.Geteuid() {
		return &failure{exitInUse, fmt.Errorf("the socket at %s belongs to another user, %d", path, f.st.Uid), nil}
	}
	switch f.fate() {
	case fateDead:
		return nil
	case fateUnknown:
		if f.st.Mode&unix.S_IWUSR == 0 {
			return &failure{exitInUse, fmt.Errorf("whether a server is alive at %s cannot be proven while its mode is %04o", path, f.st.Mode&0o7777),
				[]string{"without -n, rm gives the owner the right to connect for a moment, and finds out"}}
		}
		return &failure{exitInUse, fmt.Errorf("whether a server is alive at %s cannot be proven", path), nil}
	}
	return &failure{exitInUse, fmt.Errorf("a server is alive at %s", path), nil}
}
