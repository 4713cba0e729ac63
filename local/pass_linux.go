package local

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// recvFlags has what is received closed on exec from birth.
const recvFlags = unix.MSG_CMSG_CLOEXEC

// scmPidfd is the type of a message that brings a descriptor nobody has sent: the sender's process, if the socket was told to ask for it.
const scmPidfd = 4

// closeStray closes the descriptor of such a message, and reports whether it was one.
func closeStray(m *unix.SocketControlMessage) bool {
	if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != scmPidfd || len(m.Data) < 4 {
		return false
	}
	unix.Close(int(int32(binary.NativeEndian.Uint32(m.Data))))
	return true
}
