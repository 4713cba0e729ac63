//go:build unix

package local

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"anteroom/internal/core"
	"anteroom/sock"
)

// checkDirectory refuses a directory in which somebody else may replace the socket's file. Restricted says that access options are set;
// private that nobody at all may change the way to it, from the root on.
func checkDirectory(path string, restricted, private bool) error {
	dir := directory(path)
	switch {
	case !restricted && !private:
		return nil
	case private:
		return checkWay(dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return checkMode(dir, info, 0o002)
}

// maxLinks is how many symbolic links may stand in a way, as for the system.
const maxLinks = 40

// checkWay checks each directory on the way to dir, and each symbolic link: nobody but this user and root may own or replace one. It refuses a way
// that leads elsewhere than the links say, as some in /proc do.
func checkWay(dir string) error {
	walked, err := walk(dir)
	if err != nil {
		return err
	}
	at, err := os.Stat(walked)
	if err != nil {
		return err
	}
	is, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !os.SameFile(is, at) {
		return core.Because(dir+" is another directory than its links say, "+walked+": name that by its own path", sock.SocketAccessError)
	}
	return nil
}

// walk does checkWay's checks, and returns where the links have led.
func walk(dir string) (at string, err error) {
	if dir, err = absolute(dir); err != nil {
		return "", err
	}
	todo := strings.Split(dir, "/")
	at = "/" // which has no links in it
	links := 0
	if err := checkOwn(at); err != nil {
		return "", err
	}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		next := filepath.Join(at, name)
		if name == "" || name == "." || name == ".." {
			at = next // checked on the way down
			continue
		}
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if err := checkOwn(next); err != nil {
				return "", err
			}
			at = next
			continue
		}
		if err := checkOwner(next, info); err != nil {
			return "", err
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", os.NewSyscallError("open", syscall.ELOOP)
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return at, nil
}

// checkOwn refuses a directory that others own or may change.
func checkOwn(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := checkOwner(dir, info); err != nil {
		return err
	}
	return checkMode(dir, info, 0o022)
}

// checkOwner refuses a directory, or a link, that belongs to another user.
func checkOwner(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return core.Because(fmt.Sprintf("%s belongs to another user, %d, who may change it", path, st.Uid), sock.SocketAccessError)
	}
	return nil
}

// checkMode refuses a directory in which others may replace files that are not theirs.
func checkMode(dir string, info fs.FileInfo, others fs.FileMode) error {
	if info.Mode().Perm()&others != 0 && info.Mode()&fs.ModeSticky == 0 {
		return core.Because(fmt.Sprintf("other users may replace files in %s, mode %04o: make it sticky, or choose another directory", dir, info.Mode().Perm()),
			sock.SocketAccessError)
	}
	return nil
}

// lookUpGroup returns a group's number, or -1 if none is named.
func lookUpGroup(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if gid, err := strconv.ParseUint(group, 10, 32); err == nil && gid != 1<<32-1 { // that one means "leave it"
		return int(gid), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return -1, core.Because("there is no group "+strconv.Quote(group), sock.HostNotFoundError, err)
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
