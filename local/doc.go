// Package local is servers and sockets that programs on one machine reach by a name: Unix-domain sockets, and named pipes on Windows, with
// the semantics that Qt documents for QLocalServer and QLocalSocket. A Qt program and a program of this package find each other by the same name.
//
// # Two vocabularies
//
// A Server is a net.Listener and a Socket is a net.Conn: http, gRPC and TLS run on them, and a program that knows package net knows what
// to do. The same objects have Qt's members: pending connections, signals, and waits with a timeout. Both may be mixed; a connection
// goes to one taker.
//
//	srv, err := local.Listen("fortune")        // in Go's words
//	conn, err := srv.Accept()
//
//	var srv local.Server                       // in Qt's
//	err := srv.Listen("fortune")
//	err = srv.WaitForNewConnection(sock.DefaultWait)
//	socket := srv.NextPendingConnection()
//
// # Names
//
// A bare name stands in the temporary directory (TMPDIR, else /tmp), as in Qt; it never means the working directory. A name that begins
// with a slash is a path. A name that begins with @, or one that is used with AbstractNamespaceOption, is an abstract one, which Linux
// keeps without a file. On Windows a name is that of a pipe, \\.\pipe\NAME, unless it begins so already. FullServerName says what a name
// means.
//
// # Errors
//
// What fails returns an *sock.Error: errors.Is finds the code and the system's cause. After Close the cause is net.ErrClosed.
//
// # Concurrency
//
// Every method may be called at any time, from any goroutine and from within callbacks. Callbacks of one object run one at a time, in the
// order of what they tell of, with no lock held: in the goroutine that found the event, which is the server's acceptor, the socket's
// watcher (a goroutine that lives while a callback is registered and the socket is connected), or the caller whose method or wait caused
// it, before that method returns. While a callback runs, those that follow are left to its goroutine; so a wait inside a callback does
// not run callbacks of its own object. A function that registered a callback returns one that ends it, which takes effect at once.
package local
