//go:build !unix && !windows

package sock

import "errors"

func closeHandle(uintptr) error { return errors.ErrUnsupported }

func closeOnExec(uintptr) error { return errors.ErrUnsupported }
