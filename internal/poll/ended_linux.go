package poll

import "golang.org/x/sys/unix"

const pollEnded = unix.POLLRDHUP
