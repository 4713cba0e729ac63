package main

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A pipe is a vessel in the kernel: what splice(2) moves between it and a connection is copied neither into this process nor out of it.
type pipe struct {
	pool *pipes
	r, w int
	n    int // bytes in it
}

// pipes are those of a bridge. They are few: a connection that has something to carry while all are in use gets a buffer.
type pipes struct {
	mu     sync.Mutex
	free   []*pipe
	made   int
	splice func(from, to, n int) (int, error) // in place of the system's; nil: none
}

const (
	maxPipes = 64
	// pipeSize is more than a socket usually has queued. The system lets one user have 64 MiB in pipes before the next ones are small.
	pipeSize = 256 << 10
	// leastPipe is what a pipe must hold to be of use.
	leastPipe = 64 << 10
)

// get returns an empty pipe, or nil if none is to be had.
func (p *pipes) get() vessel {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		v := p.free[n-1]
		p.free = p.free[:n-1]
		return v
	}
	if p.made == maxPipes {
		return nil
	}
	v := p.open()
	if v == nil {
		return nil // and not a *pipe that is
	}
	p.made++
	return v
}

func (p *pipes) open() *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil // out of descriptors, most likely: a buffer needs none
	}
	v := &pipe{pool: p, r: fds[0], w: fds[1]}
	size, err := unix.FcntlInt(uintptr(v.w), unix.F_SETPIPE_SZ, pipeSize)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(v.w), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < leastPipe {
		v.close()
		return nil
	}
	return v
}

// put takes a pipe back. One that is not empty is of no use to others.
func (p *pipes) put(v vessel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pipe := v.(*pipe)
	if pipe.n > 0 {
		pipe.close()
		p.made--
		return
	}
	p.free = append(p.free, pipe)
}

// close closes the pipes that are not in use.
func (p *pipes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.free {
		v.close()
	}
	p.made -= len(p.free)
	p.free = nil
}

func (v *pipe) close() {
	unix.Close(v.r)
	unix.Close(v.w)
}

func (v *pipe) held() int { return v.n }

func (v *pipe) fill(fd int) (int, error) {
	// The pipe is empty, so EAGAIN is about the connection.
	n, err := v.move(fd, v.w, pipeSize)
	v.n = n
	return n, err
}

func (v *pipe) pour(fd int) (int, error) {
	n, err := v.move(v.r, fd, v.n)
	v.n -= n
	return n, err
}

func (v *pipe) move(from, to, n int) (int, error) {
	if v.pool.splice != nil {
		return v.pool.splice(from, to, n)
	}
	moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return max(int(moved), 0), err
}

// scoop moves what a pipe holds into a buffer of that size.
func scoop(v vessel) (*copyBuffer, error) {
	pipe := v.(*pipe)
	b := &copyBuffer{room: make([]byte, pipe.n)}
	for pipe.n > 0 {
		n, err := unix.Read(pipe.r, b.room[len(b.left):])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("read", err)
		}
		b.left = b.room[:len(b.left)+n]
		pipe.n -= n
	}
	return b, nil
}
