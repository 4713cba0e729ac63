package pipe

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// A Config is what a Listener is made of.
type Config struct {
	Access    Access
	Instances int  // how many clients can connect before one is accepted
	Exclusive bool // nobody else may have the name already
}

// bufferSize is how much each direction of a pipe holds. What is written into it counts as sent, and can be read after the writer has closed.
const bufferSize = 64 << 10

// A Listener is the instances of a pipe that clients can connect to. When one has connected to an instance, another one is made before that
// is handed out, so there are always some.
type Listener struct {
	name   *uint16
	sa     *windows.SecurityAttributes
	event  windows.Handle // set when a client has connected
	signal func()         // called then; it does not wait
	ended  chan struct{}  // closed when that has gone

	mu        sync.Mutex
	instances []*instance
	closed    bool
}

// An instance is one end of a pipe that waits for a client.
type instance struct {
	ov        windows.Overlapped
	h         windows.Handle
	connected bool // at once
}

// Listen makes a pipe. Signal, which must not wait, nor call the Listener, is called whenever Accept may find a client, until Close.
func Listen(path string, c Config, signal func()) (*Listener, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	sa, err := c.Access.attributes()
	if err != nil {
		return nil, err
	}
	event, err := windows.CreateEvent(nil, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	l := &Listener{name: name, sa: sa, event: event, signal: signal, ended: make(chan struct{})}
	flags := uint32(0)
	if c.Exclusive {
		flags = windows.FILE_FLAG_FIRST_PIPE_INSTANCE
	}
	for range max(c.Instances, 1) {
		if err := l.add(flags); err != nil {
			l.release()
			return nil, err
		}
		flags = 0
	}
	go l.watch()
	return l, nil
}

// add makes an instance.
func (l *Listener) add(flags uint32) error {
	h, err := windows.CreateNamedPipe(l.name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|flags,
		windows.PIPE_TYPE_BYTE|windows.PIPE_READMODE_BYTE|windows.PIPE_WAIT|windows.PIPE_REJECT_REMOTE_CLIENTS,
		windows.PIPE_UNLIMITED_INSTANCES, bufferSize, bufferSize, 0, l.sa)
	if err != nil {
		return err
	}
	in := &instance{h: h}
	if err := l.await(in); err != nil {
		windows.CloseHandle(h)
		return err
	}
	l.instances = append(l.instances, in)
	return nil
}

// await makes an instance wait for a client.
func (l *Listener) await(in *instance) error {
	in.ov = windows.Overlapped{HEvent: l.event}
	switch err := windows.ConnectNamedPipe(in.h, &in.ov); err {
	case nil, windows.ERROR_PIPE_CONNECTED, windows.ERROR_NO_DATA: // there is one already, who may have gone again and left bytes
		in.connected = true
	case windows.ERROR_IO_PENDING:
	default:
		return err
	}
	return nil
}

// result returns whether a client has connected, or what has gone wrong instead; ERROR_IO_PENDING if neither.
func (in *instance) result() error {
	if in.connected {
		return nil
	}
	if atomic.LoadUintptr(&in.ov.Internal) == uintptr(windows.STATUS_PENDING) {
		return windows.ERROR_IO_PENDING
	}
	var n uint32
	return windows.GetOverlappedResult(in.h, &in.ov, &n, false)
}

// Accept hands out the handle of a connection, or returns ERROR_IO_PENDING if nobody has connected. It does not wait.
func (l *Listener) Accept() (windows.Handle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, syscall.EINVAL
	}
	// Beginning to wait resets the event, which may have told of another client. So who has connected is looked for among all of them, each
	// time, and after each newcomer once more.
	for i := 0; i < len(l.instances); i++ {
		in := l.instances[i]
		switch err := in.result(); err {
		case windows.ERROR_IO_PENDING:
			continue
		case nil:
			if err := l.add(0); err != nil {
				return 0, err
			}
			l.remove(i)
			l.signal()
			return in.h, nil
		default:
			// The thread that had made it wait has ended, or this instance is of no more use. Another one takes its place.
			if err := l.add(0); err != nil {
				return 0, err
			}
			l.remove(i)
			l.signal()
			windows.CloseHandle(in.h)
			i--
		}
	}
	return 0, windows.ERROR_IO_PENDING
}

func (l *Listener) remove(i int) { l.instances = append(l.instances[:i], l.instances[i+1:]...) }

// watch waits for the event.
func (l *Listener) watch() {
	defer close(l.ended)
	for {
		windows.WaitForSingleObject(l.event, windows.INFINITE)
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return
		}
		l.signal()
	}
}

// Event returns the event that is set when a client has connected.
func (l *Listener) Event() windows.Handle { return l.event }

// Close removes the pipe's instances. Clients who have connected and were not accepted are disconnected.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return syscall.EINVAL
	}
	l.closed = true
	l.mu.Unlock()
	windows.SetEvent(l.event)
	<-l.ended
	l.release()
	return nil
}

// release closes the handles, and waits until the system has let go of the instances' memory.
func (l *Listener) release() {
	for _, in := range l.instances {
		if !in.connected {
			windows.CancelIoEx(in.h, &in.ov)
			for in.result() == windows.ERROR_IO_PENDING {
				time.Sleep(time.Millisecond)
			}
		}
		windows.CloseHandle(in.h)
	}
	l.instances = nil
	windows.CloseHandle(l.event)
}
