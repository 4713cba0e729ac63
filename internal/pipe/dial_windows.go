package pipe

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// Dial connects to the server of a path, and does not wait: the error is ERROR_PIPE_BUSY if none of its instances is free. Identify lets the
// server ask who we are, and no more: without it, the server could act in our name.
func Dial(path string) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	return windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
}

// Prefix is what the paths of this machine's pipes begin with.
const Prefix = `\\.\pipe\`

var procWaitNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("WaitNamedPipeW")

// Exists reports whether there is a server of a path.
func Exists(path string) (bool, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return false, err
	}
	const briefly = 1 // ms
	r, _, err := procWaitNamedPipe.Call(uintptr(unsafe.Pointer(name)), briefly)
	switch {
	case r != 0, err == windows.ERROR_SEM_TIMEOUT:
		return true, nil
	case err == windows.ERROR_FILE_NOT_FOUND:
		return false, nil
	}
	return false, err
}
