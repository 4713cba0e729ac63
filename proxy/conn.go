package proxy

import (
	"net"
	"time"
)

// A Conn is a connection through a proxy, a net.Conn. It has no native handle of its own, which would be the connection to the proxy: NetConn
// returns that. Its methods may be called from any goroutine. What Read and Write fail with is what they fail with on that connection.
type Conn struct {
	conn          *net.TCPConn
	local, remote net.Addr
}

// NetConn returns the connection to the proxy, a *net.TCPConn, on which everything is the peer's, both ways. Closing either closes both.
func (c *Conn) NetConn() net.Conn { return c.conn }

// LocalAddr returns the address from which the proxy is connected to the peer, if it said so; else this end's of the connection to the proxy.
// It is an *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the peer's address, not the proxy's: an *net.TCPAddr, or an Addr if only a host name is known. Of a connection that
// came out of Accept it is what the proxy said.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) { return c.conn.Read(b) }

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) { return c.conn.Write(b) }

// Close implements net.Conn.
func (c *Conn) Close() error { return c.conn.Close() }

// CloseRead ends reading. What the peer sends meanwhile is lost.
func (c *Conn) CloseRead() error { return c.conn.CloseRead() }

// CloseWrite ends writing: the proxy, and by it the peer, reads the end after what was written. Some proxies (tinyproxy is one) end the
// connection both ways then.
func (c *Conn) CloseWrite() error { return c.conn.CloseWrite() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }
