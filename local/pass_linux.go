package local

import "golang.org/x/sys/unix"

// recvFlags has what is received closed on exec from birth.
const recvFlags = unix.MSG_CMSG_CLOEXEC
