package local

// struct unpcbid
const (
	peerLevel  = 0
	peerOption = 3 // LOCAL_PEEREID

	peerPID = 0
	peerUID = 1
	peerGID = 2
)
