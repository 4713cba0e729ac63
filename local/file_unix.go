//go:build unix && !linux

package local

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// remember notes which file bind has made, and gives it the group that was asked for, and the mode that the umask may have narrowed.
func (l *listener) remember(mode uint32, restricted bool, gid int) error {
	var st unix.Stat_t
	if err := unix.Lstat(l.path, &st); err != nil {
		return os.NewSyscallError("lstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errReplaced
	}
	l.id, l.unlink = idOf(&st), true
	if gid >= 0 && int(st.Gid) != gid {
		if err := unix.Lchown(l.path, -1, gid); err != nil {
			return os.NewSyscallError("chown", err)
		}
	}
	if !restricted || uint32(st.Mode)&0o7777 == mode {
		return nil
	}
	return os.NewSyscallError("chmod", unix.Fchmodat(unix.AT_FDCWD, l.path, mode, unix.AT_SYMLINK_NOFOLLOW))
}

// narrow does nothing: a socket without a file has no mode here. The file is born with the default mode and gets its own before listen, until
// which nobody can connect.
func narrow(int, uint32) error { return nil }

const longPaths = false

func (p place) longSockaddr() (syscall.Sockaddr, func(), error) { return nil, nil, unix.ENAMETOOLONG }
