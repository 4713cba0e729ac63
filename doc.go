// Package anteroom is the map of this module: servers and sockets that programs reach by a local name or by a TCP port, with the
// semantics that Qt documents, said in Go. An anteroom is the room in which arrivals wait before they are let in: a server accepts
// eagerly, up to a limit, and keeps what it accepted until somebody takes it.
//
// # Two ways of use
//
// As a Go programmer: [anteroom/local.Listen] and [anteroom/tcp.Listen] give a net.Listener, and the two Dial functions a net.Conn, on which
// http, gRPC and TLS run. Deadlines, contexts and errors.Is work as in package net; a full queue is waited for, a server
// that has crashed can be replaced without harm to a living one, and access rights are right from birth.
//
// As one who knows Qt: [anteroom/local.Server] and [anteroom/local.Socket] have the members of QLocalServer and QLocalSocket, under their
// names, and those of package tcp have the members of QTcpServer and QTcpSocket:
// pending connections, signals, waits, states and buffers. Programs of both kinds, and real Qt programs, meet under one name.
//
// # The packages
//
//   - [anteroom/local]: servers and sockets by name
//   - [anteroom/tcp]: servers and sockets by host and port, also through a proxy
//   - [anteroom/proxy]: SOCKS5 and HTTP proxies
//   - [anteroom/loop]: event loops, for very many connections or for Qt's way of callbacks
//   - [anteroom/sock]: the errors, states and descriptors that all packages share
//   - [anteroom/datastream]: Qt's QDataStream format
//   - cmd/anteroom: the command; "anteroom demo" shows the rest
//
// docs/qt.md maps each of Qt's documented members to ours, and says what differs and why; docs/platforms.md says what works where.
package anteroom
