//go:build unix

package local

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"anteroom/sock"
)

// checkDirectory refuses a directory in which somebody else may replace the socket's file. Restricted says that access options are set;
// private that nobody at all may, from the root on.
func checkDirectory(path string, restricted, private bool) error {
	if !restricted && !private {
		return nil
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		others := info.Mode().Perm() & 0o002
		if private {
			others = info.Mode().Perm() & 0o022
		}
		if others != 0 && info.Mode()&fs.ModeSticky == 0 {
			return &causeError{fmt.Sprintf("other users may replace files in %s, mode %04o: make it sticky, or choose another directory", dir, info.Mode().Perm()),
				[]error{sock.SocketAccessError}}
		}
		if !private {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return &causeError{fmt.Sprintf("%s belongs to another user, %d, who may replace files in it", dir, st.Uid), []error{sock.SocketAccessError}}
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

// lookUpGroup returns a group's number, or -1 if none is named.
func lookUpGroup(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if gid, err := strconv.Atoi(group); err == nil && gid >= 0 {
		return gid, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return -1, &causeError{"there is no group " + strconv.Quote(group), []error{sock.HostNotFoundError, err}}
	}
	return strconv.Atoi(g.Gid)
}

// group returns the group that the options speak of.
func (o listenOptions) group() int {
	if o.gid >= 0 {
		return o.gid
	}
	return os.Getegid()
}

// runtimeDir returns the directory that XDG_RUNTIME_DIR names, if it is what it should be.
func runtimeDir(dir string) (string, error) {
	if dir == "" {
		return "", runtimeError(sock.HostNotFoundError, "XDG_RUNTIME_DIR is not set")
	}
	if !filepath.IsAbs(dir) {
		return "", runtimeError(sock.HostNotFoundError, "XDG_RUNTIME_DIR is not an absolute path: "+dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return "", runtimeError(sock.HostNotFoundError, "XDG_RUNTIME_DIR is not a directory: "+dir)
	case ok && int(st.Uid) != os.Geteuid():
		return "", runtimeError(sock.SocketAccessError, fmt.Sprintf("XDG_RUNTIME_DIR belongs to another user, %d: %s", st.Uid, dir))
	case info.Mode().Perm()&0o077 != 0:
		return "", runtimeError(sock.SocketAccessError, fmt.Sprintf("XDG_RUNTIME_DIR is open to others, mode %04o: %s", info.Mode().Perm(), dir))
	}
	return filepath.Clean(dir), nil
}
