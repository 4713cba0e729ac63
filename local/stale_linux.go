package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A pinned is a socket's file that was found at a path. While its descriptor is open the inode's number is not given to another file.
type pinned struct {
	path string
	fd   int
	id   fileID
	mode uint32
}

// pin opens the file at path, if it may be a socket that we could remove, and returns nil if there is none. The error says what else it is.
func pin(path string) (*pinned, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	p := &pinned{path: path, fd: fd}
	if err := p.check(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pinned) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(p.fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return alive("%s is not a socket", p.path)
	}
	if int(st.Uid) != os.Geteuid() {
		return alive("the socket at %s belongs to another user, %d", p.path, st.Uid)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(p.fd, &fs); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	if name, shared := sharedFilesystems[int64(fs.Type)]; shared { //nolint:unconvert // the types differ between architectures
		return alive("%s is on %s, where a server on another machine may have made it", p.path, name)
	}
	p.id, p.mode = idOf(&st), st.Mode&0o7777
	return nil
}

// sharedFilesystems are those that another kernel may serve too, which knows of sockets that this one does not.
var sharedFilesystems = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "SMB",
	unix.V9FS_MAGIC:       "9p",
	unix.FUSE_SUPER_MAGIC: "FUSE",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.CODA_SUPER_MAGIC: "Coda",
	0x6a656a63:            "virtiofs through FUSE",
}

func (p *pinned) close() { unix.Close(p.fd) }

// dead reports whether no socket is bound to the file any more. A datagram socket that connects to it is told of a stream socket's type
// before anything else, whether that listens or not and however full its queue is, and is never connected; only a file that its socket
// has left refuses. The kernel drops a socket when the last descriptor of it is closed, in a crash too.
//
// There is one moment in which a living socket's file refuses as well: bind makes the file first, and lets it be found as the socket's a
// little later. It holds the directory's lock from before the one until after the other, so whoever has held that lock after the file
// was pinned finds the socket, if there is one.
func (p *pinned) dead() (bool, error) {
	if err := passLock(directory(p.path)); err != nil {
		return false, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: procPath(p.fd)})
	if err == unix.EACCES { // the mode is in the way, which proves nothing
		return false, os.NewSyscallError("connect", err)
	}
	return err == unix.ECONNREFUSED, nil
}

// passLock waits until nobody who held the kernel's lock on a directory when it was called holds it any more. To remove a file takes the
// lock before it looks for the file; this one is never there.
func passLock(dir string) error {
	err := unix.Unlink(dir + ".none-" + rand.Text())
	if err == unix.ENOENT {
		return nil
	}
	return explain(os.NewSyscallError("unlink", err), "whether a server is alive in %s cannot be proven", dir)
}

// mustBeDead returns an error unless death is proven.
func (p *pinned) mustBeDead() error {
	dead, err := p.dead()
	switch {
	case err != nil:
		return err
	case !dead:
		return alive("a server is alive at %s", p.path)
	}
	return nil
}

// openly calls f while the file's owner has the right to write. A living server's access rights are what they were afterwards.
func (p *pinned) openly(f func() error) error {
	if err := chmodPinned(p.fd, p.mode|0o200); err != nil {
		return err
	}
	defer chmodPinned(p.fd, p.mode)
	return f()
}

// removeStale removes the socket's file at path if its socket is dead. Death is proven twice: once before anything is made, so that a
// living server is not disturbed, and once under the lock, which keeps two that prove it at once from removing each other's new file, and from
// changing its mode one against the other where that has to be changed for the proof.
func removeStale(path string) error {
	p, err := pin(path)
	if p == nil || err != nil {
		return err
	}
	err = p.mustBeDead()
	p.close()
	if err != nil && !errors.Is(err, unix.EACCES) {
		return err
	}
	lock, err := lockBeside(path)
	if err != nil {
		return err
	}
	defer lock.release()
	return removeGuarded(path)
}

// removeGuarded is removeStale for who holds the lock.
func removeGuarded(path string) error {
	p, err := pin(path)
	if p == nil || err != nil {
		return err
	}
	defer p.close()
	if err = p.mustBeDead(); errors.Is(err, unix.EACCES) && p.mode&0o200 == 0 {
		err = p.openly(p.mustBeDead)
	}
	if err != nil {
		return err
	}
	// Whoever makes a new file takes no lock, but finds the name taken as long as this one is there.
	if id, err := lstat(path); err != nil || id != p.id {
		return alive("somebody has replaced the socket at %s", path)
	}
	return os.NewSyscallError("unlink", unix.Unlink(path))
}

// guardBirth holds the lock while a file is made whose owner has no right to write: nobody who asks whether it is a dead server's changes its mode
// meanwhile, and then back to what it was.
func guardBirth(path string) (release func(), err error) {
	lock, err := lockBeside(path)
	if err != nil {
		return nil, err
	}
	return lock.release, nil
}

// A dirLock is a lock on the removal of one path, for one user. It is a file beside the path, that is gone when nobody holds it.
type dirLock struct {
	path string
	fd   int
}

const (
	lockPatience = time.Second
	lockRetry    = time.Millisecond
)

// lockBeside takes the lock for path, and waits for it a second at most.
func lockBeside(path string) (*dirLock, error) {
	name := directory(path) + fmt.Sprintf(".%s.%d.lock", base(path), os.Geteuid())
	for limit := time.Now().Add(lockPatience); ; {
		l, err := tryLock(name)
		if l != nil || err != nil {
			return l, err
		}
		if time.Now().After(limit) {
			return nil, alive("another process holds %s", name)
		}
		time.Sleep(lockRetry)
	}
}

// tryLock takes the lock, or returns nil if somebody holds it, has removed it meanwhile, or it could not be opened and now can.
func tryLock(name string) (*dirLock, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err == unix.ELOOP || err == unix.ENXIO || err == unix.EISDIR {
		return nil, alive("%s is not a regular file, and so no lock: remove it", name)
	}
	if err == unix.EACCES || err == unix.EPERM {
		return nil, openLock(name, os.NewSyscallError("open", err))
	}
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	l := &dirLock{path: name, fd: fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		unix.Close(fd)
		return nil, alive("%s is not a regular file of ours, and so no lock: remove it", name)
	}
	if st.Mode&0o600 != 0o600 { // our umask took it; the next one must be able to open it
		unix.Fchmod(fd, 0o600)
	}
	for {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		if err == unix.EWOULDBLOCK {
			return nil, nil
		}
		return nil, os.NewSyscallError("flock", err)
	}
	if id, err := lstat(name); err != nil || id != idOf(&st) {
		// The one who held it has removed it: it locks nothing any more.
		l.unlock()
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		return nil, nil
	}
	return l, nil
}

// openLock makes a lock that could not be opened openable, if it is ours and only its mode is in the way. The error says what else it is.
func openLock(name string, cause error) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return explain(cause, "the lock %s cannot be made", name)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		return alive("%s is not a regular file of ours, and so no lock: remove it", name)
	}
	return chmodPinned(fd, 0o600)
}

// release removes the lock and gives it up, in that order: a file that is locked is never removed by another.
func (l *dirLock) release() {
	unix.Unlink(l.path)
	l.unlock()
}

// unlock gives the lock up by name: a child of another goroutine, between fork and exec, may hold a duplicate of the descriptor.
func (l *dirLock) unlock() {
	unix.Flock(l.fd, unix.LOCK_UN)
	unix.Close(l.fd)
}
