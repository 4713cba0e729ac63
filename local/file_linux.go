package local

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// remember notes which file bind has made, and gives it the mode that the umask may have narrowed. Both go by a descriptor of the file: a
// name could lead elsewhere by now, and chmod follows links.
func (l *listener) remember(mode uint32, restricted bool) error {
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
	if !restricted || st.Mode&0o7777 == mode {
		return nil
	}
	err = unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	if err != nil { // before Linux 6.6 there is no such call
		err = unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
	}
	return os.NewSyscallError("chmod", err)
}
