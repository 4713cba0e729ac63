package local

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// remember notes which file bind has made, and gives it the group that was asked for, and the mode that the umask may have narrowed. Both go by a descriptor of the file: a
// name could lead elsewhere by now, and chmod follows links.
func (l *listener) remember(mode uint32, restricted bool, gid int) error {
	id, err := lstat(l.path)
	if err != nil {
		return err
	}
	l.id, l.unlink = id, true
	fd, err := unix.Open(l.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if idOf(&st) != id || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		l.unlink = false
		return errReplaced
	}
	if gid >= 0 && int(st.Gid) != gid {
		if err := unix.Fchownat(fd, "", -1, gid, unix.AT_EMPTY_PATH); err != nil {
			return os.NewSyscallError("chown", err)
		}
	}
	if !restricted || st.Mode&0o7777 == mode {
		return nil
	}
	return chmodPinned(fd, mode)
}

// narrow has the socket's file born with a mode, less the umask.
func narrow(fd int, mode uint32) error {
	return os.NewSyscallError("fchmod", unix.Fchmod(fd, mode))
}

// chmodPinned changes the mode of a file that was opened with O_PATH.
func chmodPinned(fd int, mode uint32) error {
	err := unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	if err != nil { // before Linux 6.6 there is no such call
		err = unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
	}
	return os.NewSyscallError("chmod", err)
}

const longPaths = true

// longSockaddr returns the address of a path that is too long for one.
func (p place) longSockaddr() (syscall.Sockaddr, func(), error) {
	dir, err := unix.Open(directory(p.path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("open", err)
	}
	short := "/proc/self/fd/" + strconv.Itoa(dir) + "/" + base(p.path)
	if len(short) > maxName {
		unix.Close(dir)
		return nil, nil, tooLong("the path's last part "+base(p.path), len(base(p.path)), maxName-len(short)+len(base(p.path)), "choose a shorter one")
	}
	return &syscall.SockaddrUnix{Name: short}, func() { unix.Close(dir) }, nil
}
