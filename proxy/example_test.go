package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"anteroom/proxy"
)

// A connection through a SOCKS5 proxy is a net.Conn like any other.
func ExampleProxy_DialContext() {
	server, err := startSocksServer() // a SOCKS5 proxy for this example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0") // somebody to connect to
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			fmt.Fprint(conn, "welcome")
			conn.Close()
		}
	}()

	p, err := proxy.Parse("socks5://" + server.listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	conn, err := p.DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	fmt.Printf("%s %v, from the peer: %v\n", text, err, conn.RemoteAddr().String() == l.Addr().String())
	// Output: welcome <nil>, from the peer: true
}

// A server that is reached at the proxy's address, not at its own.
func ExampleProxy_Listen() {
	server, err := startSocksServer() // a SOCKS5 proxy for this example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	p := server.proxy()
	l, err := p.Listen(context.Background(), ":0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := net.Dial("tcp", l.Addr().String()) // a client, which knows nothing of a proxy
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(conn, "hello")
		conn.Close()
	}()

	conn, err := l.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	fmt.Printf("%s %v\n", text, err)
	// Output: hello <nil>
}
