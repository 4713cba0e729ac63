package local

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// remember notes which file bind has made, and gives it the group that was asked for, and the mode that the umask may have narrowed. All goes by
// a descriptor of the file: a name could lead elsewhere by now, and chmod follows links.
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
	if !restricted {
		return nil
	}
	if err := dropACL(fd, l.path); err != nil {
		return err
	}
	if st.Mode&0o7777 == mode {
		return nil
	}
	return chmodPinned(fd, mode)
}

// dropACL takes from a file that was opened with O_PATH the entries that the directory has for new files (setfacl -d). The narrow mode that it
// was born with keeps all of them from counting; a wider one would let in those whom they name, and keep the group to what they say of it.
func dropACL(fd int, path string) error {
	const acl = "system.posix_acl_access"
	err := unix.Removexattr(procPath(fd), acl)
	if err == unix.ENOENT { // there is no /proc
		err = unix.Lremovexattr(path, acl)
	}
	if err == unix.ENODATA || err == unix.EOPNOTSUPP {
		return nil
	}
	return os.NewSyscallError("removexattr", err)
}

// procPath returns a path of what a descriptor stands for.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// narrow has the socket's file born with a mode, less the umask.
func narrow(fd int, mode uint32) error {
	return os.NewSyscallError("fchmod", unix.Fchmod(fd, mode))
}

// chmodPinned changes the mode of a file that was opened with O_PATH.
func chmodPinned(fd int, mode uint32) error {
	err := unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	if err != nil { // before Linux 6.6 there is no such call
		err = unix.Chmod(procPath(fd), mode)
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
	short := procPath(dir) + "/" + base(p.path)
	if len(short) > maxName {
		unix.Close(dir)
		return nil, nil, tooLong("the path's last part "+base(p.path), len(base(p.path)), maxName-len(short)+len(base(p.path)), "choose a shorter one")
	}
	return &syscall.SockaddrUnix{Name: short}, func() { unix.Close(dir) }, nil
}
