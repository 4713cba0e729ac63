package local

import "anteroom/sock"

// MaxDescriptors is how many descriptors one SendDescriptors passes at most.
const MaxDescriptors = 64

// SendDescriptors passes descriptors, of open connections or of listeners, to the process at the other end, together with p, which holds
// one byte at least and is sent whole. It waits like Write, after what WriteBuffered holds, until the write deadline. Once it returned nil
// the descriptors are the peer's: they are closed here. After an error they are still the caller's; if some of p was sent by then, the
// peer may have them too.
//
// The peer must ask for them with ReceiveDescriptors: they travel with the first byte of p, and a plain read of that byte drops them. It
// fails with UnsupportedSocketOperationError if p is empty, if there are no descriptors or more than MaxDescriptors, if one is not valid
// or lent, and off Unix.
func (s *Socket) SendDescriptors(p []byte, ds ...sock.Descriptor) error {
	return s.sendDescriptors(p, ds)
}

// ReceiveDescriptors waits, like Read, for bytes and for descriptors that travel with them: it reads at most len(p) bytes, and returns
// how many, with the descriptors that came, which are the caller's and closed on exec. There are none if the peer sent none with these
// bytes. At the peer's end it returns io.EOF.
//
// If the peer sent more descriptors than MaxDescriptors, or the process has no room for all of them, those that came are closed, and it
// fails with SocketResourceError. It fails with OperationError if bytes are buffered (by Peek, ReadLine and the like), which came without
// their descriptors.
func (s *Socket) ReceiveDescriptors(p []byte) (int, []sock.Descriptor, error) {
	return s.receiveDescriptors(p)
}
