package pipe

import (
	"sync"

	"golang.org/x/sys/windows"
)

// An op is one overlapped operation. The system writes to it until it is finished, whoever has lost interest meanwhile.
type op struct {
	ov   windows.Overlapped
	buf  []byte
	done func(n int, err error) // called when an operation that has had to wait is finished
}

// The port is where the operations of all connections are finished. The goroutine that waits there lives while there are some: an idle
// process has none.
var port struct {
	mu      sync.Mutex
	handle  windows.Handle
	ops     map[*windows.Overlapped]*op // also keeps the memory that the system writes to
	pending int                         // how many operations wait; for a moment less, if one was finished before it was counted
	serving bool
}

// associate brings a handle to the port. It fails for a handle that is at another port, or was not opened for overlapped operations.
func associate(h windows.Handle) error {
	port.mu.Lock()
	defer port.mu.Unlock()
	if port.handle == 0 {
		p, err := windows.CreateIoCompletionPort(windows.InvalidHandle, 0, 0, 0)
		if err != nil {
			return err
		}
		port.handle, port.ops = p, make(map[*windows.Overlapped]*op)
	}
	if _, err := windows.CreateIoCompletionPort(h, port.handle, 0, 0); err != nil {
		return err
	}
	// What is finished at once is not told to the port.
	return windows.SetFileCompletionNotificationModes(h, windows.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS|windows.FILE_SKIP_SET_EVENT_ON_HANDLE)
}

// start begins an operation. If it has to wait it returns ERROR_IO_PENDING, and o.done is called later; anything else is the result.
func (o *op) start(call func(n *uint32, ov *windows.Overlapped) error) (int, error) {
	port.mu.Lock()
	port.ops[&o.ov] = o
	port.mu.Unlock()
	var n uint32
	err := call(&n, &o.ov)
	port.mu.Lock()
	defer port.mu.Unlock()
	if err != windows.ERROR_IO_PENDING {
		delete(port.ops, &o.ov)
		return int(n), err
	}
	if port.pending++; port.pending > 0 && !port.serving {
		port.serving = true
		go serve()
	}
	return 0, err
}

// serve finishes operations as long as there are any.
func serve() {
	for more := true; more; {
		var n uint32
		var key uintptr
		var ov *windows.Overlapped
		err := windows.GetQueuedCompletionStatus(port.handle, &n, &key, &ov, windows.INFINITE)
		port.mu.Lock()
		o := port.ops[ov] // nil if somebody else has used the handle
		if o != nil {
			delete(port.ops, ov)
			port.pending--
		}
		port.serving = port.pending > 0
		more = port.serving
		port.mu.Unlock()
		if o != nil {
			o.done(int(n), err)
		}
	}
}
