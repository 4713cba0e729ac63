//go:build !unix

package local

import "anteroom/sock"

func (s *Socket) sendDescriptors([]byte, []sock.Descriptor) error {
	return opError("send descriptors", nil, errUnsupported)
}

func (s *Socket) receiveDescriptors([]byte) (int, []sock.Descriptor, error) {
	return 0, nil, opError("receive descriptors", nil, errUnsupported)
}
