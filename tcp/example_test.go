package tcp_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"sync"

	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

// A server and a client in Go's words.
func Example() {
	srv, err := tcp.Listen("localhost:0") // 0: a port that is free
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	go func() {
		for {
			conn, err := srv.Accept()
			if err != nil {
				return // the server was closed
			}
			fmt.Fprintln(conn, "welcome")
			conn.Close()
		}
	}()

	conn, err := tcp.Dial(srv.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	fmt.Printf("%q %v\n", text, err)
	// Output: "welcome\n" <nil>
}

// A server and a client in Qt's words, in one goroutine.
func ExampleServer_NextPendingConnection() {
	var srv tcp.Server
	if err := srv.Listen(netip.MustParseAddr("127.0.0.1"), 0); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	var client tcp.Socket
	if err := client.ConnectToHost("127.0.0.1", srv.ServerPort(), sock.ReadOnly); err != nil {
		log.Fatal(err)
	}

	if err := srv.WaitForNewConnection(sock.DefaultWait); err != nil {
		log.Fatal(err)
	}
	socket := srv.NextPendingConnection()
	fmt.Println("a client at", socket.PeerAddress())
	socket.WriteBuffered([]byte("a day of good news\n"))
	socket.DisconnectFromHost() // when all is written

	for !client.CanReadLine() {
		if err := client.WaitForReadyRead(sock.DefaultWait); err != nil {
			log.Fatal(err)
		}
	}
	line, err := client.ReadLine(0)
	fmt.Printf("%q %v\n", line, err)
	client.Abort()
	// Output:
	// a client at 127.0.0.1
	// "a day of good news\n" <nil>
}

// Callbacks take the place of Qt's signals.
func ExampleSocket_ConnectToHost() {
	var srv tcp.Server
	srv.OnNewConnection(func() {
		socket := srv.NextPendingConnection()
		socket.WriteBuffered([]byte("hello"))
		socket.DisconnectFromHost()
	})
	if err := srv.Listen(netip.MustParseAddr("127.0.0.1"), 0); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	var done sync.WaitGroup
	done.Add(1)
	var client tcp.Socket
	client.OnConnected(func() { fmt.Println("connected to", client.PeerName()) })
	client.OnErrorOccurred(func(e sock.SocketError) { fmt.Println("error:", e) })
	client.OnDisconnected(func() {
		text, _ := client.Peek(100) // what has arrived stays readable
		fmt.Printf("disconnected, with %q unread\n", text)
		done.Done()
	})
	client.ConnectToHost("localhost", srv.ServerPort(), sock.ReadWrite) // a failure is told to OnErrorOccurred
	done.Wait()
	// Output:
	// connected to localhost
	// error: closed by the peer
	// disconnected, with "hello" unread
}

func ExampleDial() {
	_, err := tcp.Dial("localhost:1") // a port that nobody uses any more
	fmt.Println(errors.Is(err, sock.ConnectionRefusedError), sock.CodeOf(err).Name())
	// Output: true ConnectionRefusedError
}

// Who may come in is decided by address, before a connection is pending.
func ExampleServer_SetAdmit() {
	var srv tcp.Server
	ours := netip.MustParsePrefix("10.0.0.0/8")
	srv.SetAdmit(func(peer netip.AddrPort) error {
		if !ours.Contains(peer.Addr()) {
			return fmt.Errorf("%v is not in %v", peer.Addr(), ours)
		}
		return nil
	})
	refused := make(chan error, 1)
	srv.OnAcceptError(func(err error) { refused <- err })
	if err := srv.Listen(netip.MustParseAddr("127.0.0.1"), 0); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	client, err := tcp.Dial(srv.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	err = <-refused
	why, _ := errors.AsType[*sock.Error](err)
	fmt.Println(errors.Is(err, sock.SocketAccessError), why.Err, srv.HasPendingConnections())
	// Output: true 127.0.0.1 is not in 10.0.0.0/8 false
}

// A server listens on a port of a SOCKS5 proxy. What the proxy cannot do, Listen says.
func ExampleServer_SetProxy() {
	var srv tcp.Server
	srv.SetProxy(proxy.Proxy{Type: proxy.HttpProxy, HostName: "proxy.example"})
	err := srv.Listen(netip.Addr{}, 8080)
	fmt.Println(errors.Is(err, sock.UnsupportedSocketOperationError))

	srv.SetProxy(proxy.Proxy{Type: proxy.Socks5Proxy, HostName: "proxy.example"})
	err = srv.Listen(netip.MustParseAddr("127.0.0.1"), 0) // this host, and not the proxy
	fmt.Println(srv.ServerAddress(), err)
	srv.Close()
	// Output:
	// true
	// 127.0.0.1 <nil>
}
