package pipe

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

var procImpersonateNamedPipeClient = windows.NewLazySystemDLL("advapi32.dll").NewProc("ImpersonateNamedPipeClient")

// IsServer reports whether a handle is the server's end of a pipe. It fails if it is no pipe's.
func IsServer(h windows.Handle) (bool, error) {
	var flags uint32
	if err := windows.GetNamedPipeInfo(h, &flags, nil, nil, nil); err != nil {
		return false, os.NewSyscallError("GetNamedPipeInfo", err)
	}
	return flags&windows.PIPE_SERVER_END != 0, nil
}

// A Peer is who is at the other end.
type Peer struct {
	PID     int
	Session int
	SID     string
}

// PeerOf asks the system who is at the other end: the process, its session, and its user, or of a client the user in whose name it has
// connected. A client that does not let servers ask is known by its process.
func PeerOf(h windows.Handle) (Peer, error) {
	server, err := IsServer(h)
	if err != nil {
		return Peer{}, err
	}
	ask, name := windows.GetNamedPipeServerProcessId, "GetNamedPipeServerProcessId"
	if server {
		ask, name = windows.GetNamedPipeClientProcessId, "GetNamedPipeClientProcessId"
	}
	var pid uint32
	if err := ask(h, &pid); err != nil {
		return Peer{}, os.NewSyscallError(name, err)
	}
	peer := Peer{PID: int(pid)}
	var session uint32
	if windows.ProcessIdToSessionId(pid, &session) == nil {
		peer.Session = int(session)
	}
	if server {
		if peer.SID, err = clientSID(h); err == nil {
			return peer, nil
		}
	}
	peer.SID, err = processSID(pid)
	return peer, err
}

// OwnSID returns the user of this process.
func OwnSID() (string, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", err
	}
	return user.User.Sid.String(), nil
}

func processSID(pid uint32) (string, error) {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return "", os.NewSyscallError("OpenProcess", err)
	}
	defer windows.CloseHandle(process)
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return "", os.NewSyscallError("OpenProcessToken", err)
	}
	return tokenSID(token)
}

// tokenSID closes the token.
func tokenSID(token windows.Token) (string, error) {
	defer token.Close()
	user, err := token.GetTokenUser()
	if err != nil {
		return "", os.NewSyscallError("GetTokenInformation", err)
	}
	return user.User.Sid.String(), nil
}

// clientSID asks in whose name the client has connected. For that a thread becomes the client for a moment; should it not come back from
// there, it ends with its goroutine.
func clientSID(h windows.Handle) (sid string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if r, _, e := procImpersonateNamedPipeClient.Call(uintptr(h)); r == 0 {
			runtime.UnlockOSThread()
			err = os.NewSyscallError("ImpersonateNamedPipeClient", e)
			return
		}
		var token windows.Token
		err = os.NewSyscallError("OpenThreadToken", windows.OpenThreadToken(windows.CurrentThread(), windows.TOKEN_QUERY, true, &token))
		if e := windows.RevertToSelf(); e != nil {
			err = errors.Join(os.NewSyscallError("RevertToSelf", e), err)
		} else {
			runtime.UnlockOSThread()
		}
		if token != 0 {
			var e error
			sid, e = tokenSID(token)
			err = errors.Join(err, e)
		}
	}()
	<-done
	return sid, err
}

// NameOf returns the path of a pipe, or "" if the system does not say.
func NameOf(h windows.Handle) string {
	var info struct {
		length uint32
		name   [300]uint16
	}
	if windows.GetFileInformationByHandleEx(h, windows.FileNameInfo, (*byte)(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))) != nil {
		return ""
	}
	name := windows.UTF16ToString(info.name[:min(int(info.length/2), len(info.name))])
	for name != "" && name[0] == '\\' {
		name = name[1:]
	}
	if name == "" {
		return ""
	}
	return Prefix + name
}
