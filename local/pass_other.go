//go:build !unix

package local

import (
	"anteroom/internal/core"
	"anteroom/sock"
)

var errNoPassing = core.Because("descriptors cannot be passed on this system", sock.UnsupportedSocketOperationError)

func (s *Socket) sendDescriptors([]byte, []sock.Descriptor) error {
	return opError("send descriptors", nil, errNoPassing)
}

func (s *Socket) receiveDescriptors([]byte) (int, []sock.Descriptor, error) {
	return 0, nil, opError("receive descriptors", nil, errNoPassing)
}
