package local_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"anteroom/local"
	"anteroom/sock"
)

// A server and a client in Go's words.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	srv, err := local.Listen(filepath.Join(dir, "greeter"))
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

	conn, err := local.Dial(srv.FullServerName())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	fmt.Printf("%q %v\n", text, err)
	// Output: "welcome\n" <nil>
}

// A Server is a net.Listener: net/http serves on it as on any other.
func ExampleServer_http() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	var srv local.Server
	srv.SetSocketOptions(local.UserAccessOption) // nobody else may connect
	if err := srv.Listen(filepath.Join(dir, "http")); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	go http.Serve(&srv, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	}))

	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return local.DialContext(ctx, srv.FullServerName())
		},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://local/status")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	// Output: 200 OK you asked for /status <nil>
}

// A server and a client in Qt's words, in one goroutine.
func ExampleServer_NextPendingConnection() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	var srv local.Server
	if err := srv.Listen(filepath.Join(dir, "fortune")); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	var client local.Socket
	if err := client.ConnectToServer(srv.FullServerName(), sock.ReadOnly); err != nil {
		log.Fatal(err)
	}

	if err := srv.WaitForNewConnection(sock.DefaultWait); err != nil {
		log.Fatal(err)
	}
	socket := srv.NextPendingConnection()
	socket.WriteBuffered([]byte("a day of good news\n"))
	socket.DisconnectFromServer() // when all is written

	for !client.CanReadLine() {
		if err := client.WaitForReadyRead(sock.DefaultWait); err != nil {
			log.Fatal(err)
		}
	}
	line, err := client.ReadLine(0)
	fmt.Printf("%q %v\n", line, err)
	client.Abort()
	// Output: "a day of good news\n" <nil>
}

// Callbacks take the place of Qt's signals.
func ExampleSocket_ConnectToServer() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	var srv local.Server
	srv.OnNewConnection(func() {
		socket := srv.NextPendingConnection()
		socket.WriteBuffered([]byte("hello"))
		socket.DisconnectFromServer()
	})
	if err := srv.Listen(filepath.Join(dir, "signals")); err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	var done sync.WaitGroup
	done.Add(1)
	var client local.Socket
	client.OnConnected(func() { fmt.Println("connected to", filepath.Base(client.ServerName())) })
	client.OnErrorOccurred(func(e sock.SocketError) { fmt.Println("error:", e) })
	client.OnDisconnected(func() {
		text, _ := client.Peek(100) // what has arrived stays readable
		fmt.Printf("disconnected, with %q unread\n", text)
		done.Done()
	})
	client.ConnectToServer(srv.FullServerName(), sock.ReadWrite) // a failure is told to OnErrorOccurred, too
	done.Wait()
	// Output:
	// connected to signals
	// error: closed by the peer
	// disconnected, with "hello" unread
}
