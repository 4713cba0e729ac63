package pipe

import (
	"io"

	"golang.org/x/sys/windows"
)

// readError makes io.EOF of what the system says when the peer has gone.
func readError(err error) error {
	switch err {
	case windows.ERROR_BROKEN_PIPE, windows.ERROR_PIPE_NOT_CONNECTED, windows.ERROR_NO_DATA:
		return io.EOF
	case windows.ERROR_MORE_DATA: // a part of a message
		return nil
	}
	return err
}
