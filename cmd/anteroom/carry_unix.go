//go:build unix

package main

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A vessel is what bytes are in on their way from one connection to another. An idle connection has none.
type vessel interface {
	// fill takes what a connection has sent, and returns how much that is: 0 at its end. EAGAIN: nothing yet. The vessel is empty before.
	fill(fd int) (int, error)
	// pour sends what is in the vessel, or a part. EAGAIN: the connection takes nothing now.
	pour(fd int) (int, error)
	// held returns how much is in the vessel.
	held() int
}

// vessels are those that a bridge's connections share.
type vessels struct {
	pipes   pipes
	buffers sync.Pool // of *copyBuffer
}

func (p *vessels) get(plain bool) vessel {
	if !plain {
		if v := p.pipes.get(); v != nil {
			return v
		}
	}
	if v, ok := p.buffers.Get().(*copyBuffer); ok {
		return v
	}
	return &copyBuffer{room: make([]byte, relayBuffer)}
}

func (p *vessels) put(v vessel) {
	b, ok := v.(*copyBuffer)
	switch {
	case !ok:
		p.pipes.put(v)
	case len(b.room) == relayBuffer:
		b.left = nil
		p.buffers.Put(b)
	}
}

// close is for when nothing is carried any more.
func (p *vessels) close() { p.pipes.close() }

// A copyBuffer is a vessel in this process's memory.
type copyBuffer struct{ room, left []byte }

func (b *copyBuffer) held() int { return len(b.left) }

func (b *copyBuffer) fill(fd int) (int, error) {
	n, err := unix.Read(fd, b.room)
	if err != nil {
		return 0, err
	}
	b.left = b.room[:n]
	return n, nil
}

func (b *copyBuffer) pour(fd int) (int, error) {
	n, err := unix.Write(fd, b.left)
	if err != nil {
		return 0, err
	}
	b.left = b.left[n:]
	return n, nil
}

// A carrier carries one direction. It waits at the connections' own pollers, the first one's for something to carry and the second one's for
// room.
type carrier struct {
	pool  *vessels
	count *atomic.Int64
	plain bool // the system does not splice these two
	v     vessel
	n     int
	err   error
}

// carry carries what one connection sends to another, and returns nil at its end. What was taken is sent before an error is returned, unless
// that says why it cannot be.
func (p *vessels) carry(from, to conn, count *atomic.Int64) error {
	in, err := from.SyscallConn()
	if err != nil {
		return err
	}
	out, err := to.SyscallConn()
	if err != nil {
		return err
	}
	c := &carrier{pool: p, count: count}
	fill, pour := c.fill, c.pour
	for {
		if err := in.Read(fill); err != nil {
			return err
		}
		if c.err != nil || c.n == 0 {
			return c.err
		}
		err := out.Write(pour)
		p.put(c.v)
		if err != nil {
			return err
		}
		if c.err != nil {
			return c.err
		}
	}
}

// fill fills a vessel, and reports whether there is anything to fill it with, which an end and an error are, too. Only what is filled is kept.
func (c *carrier) fill(fd uintptr) bool {
	v := c.pool.get(c.plain)
	for {
		c.n, c.err = v.fill(int(fd))
		switch {
		case c.err == unix.EINTR:
			continue
		case c.err == unix.EAGAIN:
			c.pool.put(v)
			return false
		case isUnspliceable(c.err) && !c.plain:
			c.plain = true
			c.pool.put(v)
			v = c.pool.get(true)
			continue
		case c.n == 0 || c.err != nil:
			c.pool.put(v)
		default:
			c.v = v
		}
		return true
	}
}

// pour empties the vessel, and reports whether it is empty, or there is an error.
func (c *carrier) pour(fd uintptr) bool {
	for c.v.held() > 0 {
		n, err := c.v.pour(int(fd))
		c.count.Add(int64(n))
		switch {
		case err == nil || err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case isUnspliceable(err) && !c.plain:
			c.plain = true
			b, err := scoop(c.v)
			if err != nil {
				c.err = err
				return true
			}
			c.pool.put(c.v)
			c.v = b
		default:
			c.err = err
			return true
		}
	}
	return true
}

func isUnspliceable(err error) bool {
	return err == unix.EINVAL || err == unix.ENOSYS || err == unix.EPERM || err == syscall.EOPNOTSUPP
}

// awaitBreak waits, when nothing more is read of a connection, until its peer has hung up, or it has broken off, or is closed here. A peer of
// TCP does not say that it has hung up: it looks like one that has ended what it sends.
func awaitBreak(c conn) (o outcome) {
	raw, err := c.SyscallConn()
	if err != nil {
		return closedHere
	}
	raw.Read(func(fd uintptr) bool {
		switch events := poll(fd, 0); {
		case events&unix.POLLERR != 0:
			o = brokenOff
		case events&unix.POLLHUP != 0: // or both directions have been ended, and nothing is carried any more
			o = closedThere
		}
		return o != closedHere
	})
	return o
}
