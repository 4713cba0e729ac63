package main

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// waitHangUp waits until the peer of a connection that has ended its side has closed it, or the connection was closed here. A pipe ends in both
// directions at once, unless both sides agree otherwise; of another connection the system does not say more, before something is sent in
// vain.
func waitHangUp(c conn) {
	switch p, ok := c.(*pipeConn); {
	case ok:
		p.awaitHangUp()
	case !tellsClosed(c):
		awaitClose(c)
	}
}

// awaitClose waits until a connection is closed here.
func awaitClose(c conn) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Read(func(uintptr) bool { return false })
	}
}

// hasInput reports whether a Read of r returns at once, be it because there is nothing more, or soon. A pipe cannot be asked while it is
// read; but its read can be ended, and if there is something it does not get so far: then Read fails with an error of which wasInterrupted
// knows.
func hasInput(r io.Reader) (ready bool) {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return true // closed
	}
	control := raw.Control(func(fd uintptr) {
		h := windows.Handle(fd)
		var mode uint32
		switch kind, _ := windows.GetFileType(h); kind {
		case windows.FILE_TYPE_PIPE:
			windows.CancelIoEx(h, nil)
			ready = true
		case windows.FILE_TYPE_CHAR:
			ready = windows.GetConsoleMode(h, &mode) != nil // NUL
		default:
			ready = true
		}
	})
	return ready || control != nil
}

// wasInterrupted reports whether hasInput has ended a Read.
func wasInterrupted(err error) bool { return errors.Is(err, windows.ERROR_OPERATION_ABORTED) }

// settlePause is when hasInput is asked again: the Read may not have begun yet when it wanted to end it.
const settlePause = time.Millisecond
