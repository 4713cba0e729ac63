package local

import "golang.org/x/sys/unix"

// struct sockpeercred
const (
	peerLevel  = unix.SOL_SOCKET
	peerOption = unix.SO_PEERCRED

	peerUID = 0
	peerGID = 1
	peerPID = 2
)
