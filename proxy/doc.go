// Package proxy makes TCP connections, and listens for them, through a proxy: SOCKS5 (RFC 1928, with the user and password of RFC 1929) for
// both, HTTP CONNECT for connections alone. What is a QNetworkProxy in Qt is a Proxy here, a plain value:
//
//	p, err := proxy.Parse("socks5://user:password@proxy.example:1080")
//	conn, err := p.DialContext(ctx, "tcp", "example.org:80")
//	listener, err := p.Listen(ctx, ":0")       // who connects to listener.Addr(), which the proxy chose, comes out of listener.Accept
//
// The zero Proxy stands for the one that SetApplicationProxy was given. Without that no proxy is used: neither the environment nor the
// system's settings are asked.
//
// The connection to the proxy is not encrypted, and neither are the user and the password: whoever carries it can read them.
//
// # Errors
//
// DialContext, Listen and Accept fail with an *sock.Error, whose code is one of:
//
//	ProxyNotFoundError                  the proxy's host name does not exist
//	ProxyConnectionRefusedError         the proxy cannot be connected to
//	ProxyConnectionClosedError          the proxy closed the connection before it had answered
//	ProxyConnectionTimeoutError         the proxy did not answer in time, or said that time ran out; also errors.Is SocketTimeoutError,
//	                                    os.ErrDeadlineExceeded and, if a context's time was up, context.DeadlineExceeded
//	ProxyAuthenticationRequiredError    the proxy wants another user or password, or another way to say them
//	ProxyProtocolError                  the proxy's answer makes no sense: it may be a proxy of another type
//
// or, if it was the proxy that could not do what it was asked, what a direct attempt fails with: ConnectionRefusedError, HostNotFoundError,
// NetworkError, SocketAccessError (its rules forbid it), UnsupportedSocketOperationError. A context that was cancelled is found by
// errors.Is(err, context.Canceled). The error's Addr is the proxy's address if it is about the proxy, else the one that was asked for.
package proxy
