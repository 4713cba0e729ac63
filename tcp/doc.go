// Package tcp has servers and sockets over TCP with the semantics that Qt documents for QTcpServer and QTcpSocket, as a net.Listener and a
// net.Conn. They are the same machines as those of package local, and differ from them in names, addresses and proxies only.
//
// In Go's words:
//
//	srv, err := tcp.Listen("localhost:8080")
//	…
//	http.Serve(srv, handler)
//
// and in Qt's:
//
//	var srv tcp.Server
//	srv.OnNewConnection(func() {
//		c := srv.NextPendingConnection()
//		c.WriteBuffered(greeting)
//		c.DisconnectFromHost()
//	})
//	err := srv.Listen(netip.Addr{}, 8080)
//
// Addresses are netip.Addr values; an IPv4 address is never mapped into IPv6, whatever the listening socket is. New connections have
// LowDelayOption and KeepAliveOption on, as in Go's net. A server sets both once, on its listening socket, from which accepted ones have
// them.
//
// A server and a socket may work through a proxy: see SetProxy. Neither the environment nor the system's settings are asked for one.
package tcp
