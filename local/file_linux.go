package local

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// remember notes which file bind has made, and gives it the mode that the umask may have narrowed. Both go by a descriptor of the file: a
// name could lead elsewhere by now, and chmod follows links.
func (l *listener) remember(mode uint32, restricted bool) error {
	var named, st unix.Stat_t
	if err := unix.Lstat(l.path, &named); err != nil {
		return os.NewSyscallError("lstat", err)
	}
	if named.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errReplaced
	}
	l.dev, l.ino, l.unlink = named.Dev, named.Ino, true
	fd, err := unix.Open(l.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Dev != l.dev || st.Ino != l.ino {
		l.unlink = false
		return errReplaced
	}
	if !restricted || st.Mode&0o7777 == mode {
		return nil
	}
	err = unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	if err != nil { // before Linux 6.6 there is no such call
		err = unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
	}
	return os.NewSyscallError("chmod", err)
}

var errReplaced = errors.New("somebody has replaced the socket while it was being made")
