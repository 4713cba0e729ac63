package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"anteroom/local"
	"golang.org/x/sys/windows"
)

// A named pipe ends in both directions at once, so that the end of what one side sends cannot be told through it. Two of this program tell
// each other beside it, by two events, each set when a side has nothing more to send: their names hold what both processes know of the
// connection, and nothing is added to what is sent. That takes a client that has one connection to the server: connect is one, and bridge
// with --once. Other programs, Qt's among them, make no such events and find none that is set.

// A pipeConn is a connection through a pipe whose directions end one by one, if the other side is such a one, too.
type pipeConn struct {
	*local.Socket
	watched chan struct{} // closed when nobody waits for theirs any more
	once    sync.Once

	mu           sync.Mutex
	mine, theirs windows.Handle // the events
	closing      windows.Handle // set by Close
	ended        bool           // theirs was set: what has arrived by now is all that comes
}

// passEnds returns a connection whose ends can be passed on, as far as the system lets them. It owns c. Client says which side this process
// is; it has no other connection to this server.
func passEnds(c conn, client bool) conn {
	s, ok := c.(*local.Socket)
	if !ok {
		return c
	}
	p := &pipeConn{Socket: s, watched: make(chan struct{})}
	if err := p.agree(client); err != nil {
		p.release()
		return c // the end is the connection's
	}
	go p.watch(p.closing, p.theirs)
	return p
}

// agree opens the events.
func (p *pipeConn) agree(client bool) error {
	peer, err := p.Peer()
	if err != nil {
		return err
	}
	server, clientPID := os.Getpid(), peer.PID
	if client {
		server, clientPID = peer.PID, os.Getpid()
	}
	// A process's number is given to another one when it has ended: when it began tells them apart.
	born, err := creation(uint32(clientPID))
	if err != nil {
		return err
	}
	name := fmt.Sprintf(`Global\anteroom-end-%d-%d-%x-`, server, clientPID, born)
	mine, theirs := name+"server", name+"client"
	if client {
		mine, theirs = theirs, mine
	}
	if p.mine, err = openEvent(mine, peer.SID); err != nil {
		return err
	}
	if p.theirs, err = openEvent(theirs, peer.SID); err != nil {
		return err
	}
	p.closing, err = windows.CreateEvent(nil, 1, 0, nil)
	return err
}

// creation says when a process began.
func creation(pid uint32) (int64, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return 0, err
	}
	defer windows.CloseHandle(h)
	var created, exited, kernel, user windows.Filetime
	err = windows.GetProcessTimes(h, &created, &exited, &kernel, &user)
	return created.Nanoseconds(), err
}

var errForeignEvent = errors.New("the event belongs to another user")

// openEvent makes an event, or opens the one that the other side has made. Only this user and the peer's may use it, and neither
// trusts one that somebody else has made.
func openEvent(name, peer string) (windows.Handle, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return 0, err
	}
	own := user.User.Sid.String()
	const all = "0x1f0003" // EVENT_ALL_ACCESS
	sd, err := windows.SecurityDescriptorFromString("O:" + own + "D:(A;;" + all + ";;;" + own + ")(A;;" + all + ";;;" + peer + ")")
	if err != nil {
		return 0, err
	}
	sa := windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: sd}
	n, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	h, err := windows.CreateEvent(&sa, 1, 0, n)
	if h == 0 {
		return 0, err
	}
	found, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err == nil {
		var owner *windows.SID
		if owner, _, err = found.Owner(); err == nil && owner.String() != own && owner.String() != peer {
			err = errForeignEvent
		}
	}
	if err != nil {
		windows.CloseHandle(h)
		return 0, err
	}
	return h, nil
}

// watch waits until the other side has nothing more to send, and wakes who reads.
func (p *pipeConn) watch(closing, theirs windows.Handle) {
	defer close(p.watched)
	which, err := windows.WaitForMultipleObjects([]windows.Handle{closing, theirs}, false, windows.INFINITE)
	if err != nil || which != windows.WAIT_OBJECT_0+1 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.Socket.SetReadDeadline(time.Unix(1, 0))
}

func (p *pipeConn) hasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// SetReadDeadline leaves the deadline that wakes who reads.
func (p *pipeConn) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	return p.Socket.SetReadDeadline(t)
}

// Read returns io.EOF when everything was read that the other side had to send.
func (p *pipeConn) Read(b []byte) (int, error) {
	for !p.hasEnded() {
		n, err := p.Socket.Read(b)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !p.hasEnded() {
			return n, err
		}
	}
	// What was sent before the event was set has arrived.
	n, err := p.ReadAvailable(b)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

// CloseWrite tells the other side that nothing more is sent. What was written has arrived there by now.
func (p *pipeConn) CloseWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mine == 0 {
		return net.ErrClosed
	}
	return windows.SetEvent(p.mine)
}

// awaitHangUp waits, after the other side has ended what it sends, until it has closed, or the connection was closed here.
func (p *pipeConn) awaitHangUp() {
	p.mu.Lock()
	p.Socket.SetReadDeadline(time.Time{})
	p.mu.Unlock()
	b := make([]byte, 1)
	for {
		if _, err := p.Socket.Read(b); err != nil { // there is nothing to read
			return
		}
	}
}

func (p *pipeConn) Close() error {
	p.forget()
	return p.Socket.Close()
}

func (p *pipeConn) Abort() {
	p.forget()
	p.Socket.Abort()
}

// forget closes the events.
func (p *pipeConn) forget() {
	p.once.Do(func() {
		windows.SetEvent(p.closing) // nobody else closes it
		<-p.watched
		p.release()
	})
}

func (p *pipeConn) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range []*windows.Handle{&p.mine, &p.theirs, &p.closing} {
		if *h != 0 {
			windows.CloseHandle(*h)
			*h = 0
		}
	}
}

func (p *pipeConn) socket() *local.Socket { return p.Socket }
