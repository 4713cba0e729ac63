//go:build !unix

package core

// Read is net.Conn's.
func (s *Socket) Read(p []byte) (int, error) { return s.ReadWith(p, nil) }

// Write is net.Conn's.
func (s *Socket) Write(p []byte) (int, error) { return s.WriteWith(p, nil) }
