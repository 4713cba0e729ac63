package sock

import "syscall"

// closeHandle closes a pipe's handle. A socket of Winsock is closed by the package that made it.
func closeHandle(fd uintptr) error { return syscall.CloseHandle(syscall.Handle(fd)) }

func closeOnExec(uintptr) error { return syscall.EWINDOWS }
