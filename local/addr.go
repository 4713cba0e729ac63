package local

// A PipeAddr is the address of a server on Windows: the path of its pipe. Of a client's end it is "".
type PipeAddr string

// Network returns "pipe".
func (PipeAddr) Network() string { return "pipe" }

// String returns the path.
func (a PipeAddr) String() string { return string(a) }
