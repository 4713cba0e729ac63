package local_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"golang.org/x/net/nettest"
)

// A Socket is what net.Conn promises, whoever made it, whichever end it is, and whether callbacks listen beside Read and Write or not.
func TestConnConforms(t *testing.T) {
	dialers := map[string]func(name string) (*local.Socket, error){
		"Dial": local.Dial,
		"ConnectToServer": func(name string) (*local.Socket, error) {
			c := new(local.Socket)
			return c, c.ConnectToServer(name, sock.ReadWrite)
		},
		"again": func(name string) (*local.Socket, error) { // a socket that has had a connection before
			c := new(local.Socket)
			if err := c.ConnectContext(context.Background(), name); err != nil {
				return nil, err
			}
			c.Close()
			return c, c.ConnectContext(context.Background(), name)
		},
	}
	takers := map[string]func(*local.Server) (*local.Socket, error){
		"Accept": func(srv *local.Server) (*local.Socket, error) { return srv.AcceptContext(context.Background()) },
		"NextPendingConnection": func(srv *local.Server) (*local.Socket, error) {
			if err := srv.WaitForNewConnection(sockettest.Long()); err != nil {
				return nil, err
			}
			return srv.NextPendingConnection(), nil
		},
	}
	ears := func(c *local.Socket) {
		c.OnReadyRead(func() {})
		c.OnDisconnected(func() {})
		c.OnStateChanged(func(sock.State) {})
		c.OnErrorOccurred(func(sock.SocketError) {})
	}
	test := func(name, dialer, taker string, swap, listenBeside bool) {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				srv, err := local.Listen(sockettest.Name(t))
				if err != nil {
					return nil, nil, nil, err
				}
				defer srv.Close()
				client, err := dialers[dialer](srv.FullServerName())
				if err != nil {
					return nil, nil, nil, err
				}
				server, err := takers[taker](srv)
				if err != nil {
					return nil, nil, nil, err
				}
				if dialer == "again" { // that was the first
					server.Close()
					if server, err = takers[taker](srv); err != nil {
						return nil, nil, nil, err
					}
				}
				if listenBeside {
					ears(client)
					ears(server)
				}
				stop := func() { client.Close(); server.Close() }
				if swap {
					return server, client, stop, nil
				}
				return client, server, stop, nil
			})
		})
	}
	test("dialled", "Dial", "Accept", false, false)
	test("accepted", "Dial", "Accept", true, false)
	test("connected", "ConnectToServer", "NextPendingConnection", false, false)
	test("pending", "ConnectToServer", "NextPendingConnection", true, false)
	test("again", "again", "Accept", false, false)
	test("with callbacks", "Dial", "Accept", false, true)
}

func TestConnIsHTTPs(t *testing.T) {
	var srv local.Server
	listenWith(t, &srv)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
	})
	served := sockettest.Go(func() error { return http.Serve(&srv, handler) })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return local.DialContext(ctx, srv.FullServerName())
	}}
	client := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				size := mathrand.IntN(100_000)
				resp, err := client.Post(fmt.Sprintf("http://local/%d/%d", i, j), "text/plain", bytes.NewReader(make([]byte, size)))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if want := fmt.Sprintf("POST /%d/%d %d", i, j, size); err != nil || string(got) != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	must(t, srv.Close())
	wantIs(t, "http.Serve", sockettest.Done(t, "http.Serve returns", served), net.ErrClosed)
	transport.CloseIdleConnections()
}

func TestConnHTTPServerShutsDown(t *testing.T) {
	var srv local.Server
	listenWith(t, &srv)
	server := &http.Server{Handler: http.NotFoundHandler()}
	served := sockettest.Go(func() error { return server.Serve(&srv) })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return local.DialContext(ctx, srv.FullServerName())
	}}
	resp, err := (&http.Client{Transport: transport}).Get("http://local/")
	must(t, err)
	resp.Body.Close()
	must(t, server.Shutdown(t.Context()))
	if err := sockettest.Done(t, "Serve returns", served); err != http.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
	transport.CloseIdleConnections()
	if srv.IsListening() {
		t.Error("Shutdown has not closed the server")
	}
}

// certificate makes a certificate for "local", and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"local"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestConnUnderTLS(t *testing.T) {
	cert, pool := certificate(t)
	var srv local.Server
	listenWith(t, &srv)
	l := tls.NewListener(&srv, &tls.Config{Certificates: []tls.Certificate{cert}})
	served := sockettest.Go(func() error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.Copy(c, c)
		return err
	})
	client := tls.Client(dial(t, &srv), &tls.Config{RootCAs: pool, ServerName: "local"})
	sent := make([]byte, 1<<20)
	rand.Read(sent)
	go func() {
		client.Write(sent)
		client.CloseWrite()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(sent), err)
	}
	client.Close()
	if err := sockettest.Done(t, "the server's end is done", served); err != nil {
		t.Error(err)
	}
}

// Many megabytes arrive as they were sent, in both directions at once, by whatever way they are written and read.
func TestConnCopiesBitExactly(t *testing.T) {
	const total = 64 << 20
	random := func(seed byte) io.Reader {
		return io.LimitReader(mathrand.NewChaCha8([32]byte{seed}), total)
	}
	sum := func(r io.Reader) []byte {
		h := sha256.New()
		io.Copy(h, r)
		return h.Sum(nil)
	}
	client, server := pair(t)
	var wg sync.WaitGroup
	for seed, ends := range map[byte][2]*local.Socket{1: {client, server}, 2: {server, client}} {
		wg.Go(func() {
			if n, err := io.Copy(ends[0], random(seed)); n != total || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			if err := ends[0].CloseWrite(); sockettest.HasHalfClose && err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			h := sha256.New()
			var received io.Reader = ends[1]
			if !sockettest.HasHalfClose {
				received = io.LimitReader(received, total)
			}
			n, err := io.Copy(h, received)
			if n != total || err != nil || !bytes.Equal(h.Sum(nil), sum(random(seed))) {
				t.Errorf("read %d, %v, or other bytes than were sent", n, err)
			}
		})
	}
	wg.Wait()
}

func TestConnCopiesBitExactlyInQtsWay(t *testing.T) {
	const total = 16 << 20
	client, server := pair(t)
	client.SetReadBufferSize(100_000)
	h := sha256.New()
	received := make(chan int64, 1)
	var n int64
	buf := make([]byte, 30_000)
	take := func() {
		for {
			got, _ := client.ReadAvailable(buf)
			if got == 0 {
				return
			}
			h.Write(buf[:got])
			n += int64(got)
		}
	}
	client.OnReadyRead(take)
	client.OnDisconnected(func() { take(); received <- n })
	source := mathrand.NewChaCha8([32]byte{3})
	want := sha256.New()
	server.OnBytesWritten(func(int64) {})
	for left := total; left > 0; {
		b := make([]byte, min(left, 1+mathrand.IntN(200_000)))
		source.Read(b)
		want.Write(b)
		if _, err := server.WriteBuffered(b); err != nil {
			t.Fatal(err)
		}
		left -= len(b)
		for server.BytesToWrite() > 1<<20 {
			must(t, server.WaitForBytesWritten(sockettest.Long()))
		}
	}
	must(t, server.Close())
	if got := sockettest.Done(t, "all is received", received); got != total || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
		t.Errorf("received %d bytes, or other ones than were sent; want %d", got, total)
	}
}

func TestConnReadBufferSizeHoldsThePeerBack(t *testing.T) {
	client, server := pair(t)
	client.SetReadBufferSize(1000)
	client.OnReadyRead(func() {}) // somebody listens, and nobody reads
	b := make([]byte, 64<<20)
	server.SetWriteDeadline(time.Now().Add(5 * sockettest.Short()))
	n, err := server.Write(b)
	if !errors.Is(err, sock.SocketTimeoutError) {
		t.Errorf("Write of 64 MiB that nobody reads: %d, %v; want a timeout", n, err)
	}
	if got := client.BytesAvailable(); got != 1000 {
		t.Errorf("%d bytes are available; want 1000", got)
	}
	server.Abort()
	if got, err := io.Copy(io.Discard, client); got != int64(n) || err != nil {
		t.Errorf("read %d, %v; want the %d that were written", got, err, n)
	}
}

// A raw connection is that of one connection, and not of the socket's next one.
func TestConnRawOfAConnectionThatHasGone(t *testing.T) {
	srv := listen(t)
	c := closeLater(t, new(local.Socket))
	must(t, c.ConnectToServer(srv.FullServerName(), sock.ReadWrite))
	must(t, c.WaitForConnected(sockettest.Long()))
	raw, err := c.SyscallConn()
	must(t, err)
	waits := make(chan struct{}, 1)
	waited := sockettest.Go(func() error {
		return raw.Read(func(uintptr) bool {
			select {
			case waits <- struct{}{}:
			default:
			}
			return false
		})
	})
	sockettest.Done(t, "it waits", waits)
	c.Abort()
	must(t, c.ConnectToServer(srv.FullServerName(), sock.ReadWrite))
	must(t, c.WaitForConnected(sockettest.Long()))
	wantIs(t, "the Read that waits", sockettest.Done(t, "it ends", waited), net.ErrClosed)
	unwanted := func(fd uintptr) bool {
		t.Errorf("it is called with %d", fd)
		return true
	}
	wantIs(t, "Read", raw.Read(unwanted), net.ErrClosed)
	wantIs(t, "Write", raw.Write(unwanted), net.ErrClosed)
	if err := raw.Control(func(fd uintptr) { unwanted(fd) }); err == nil {
		t.Error("Control does not fail")
	}
}

func TestConnRawMayCallTheSocket(t *testing.T) {
	c, _ := pair(t)
	rawMayCallTheSocket(t, c)
}

func TestLoopRawMayCallTheSocket(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, _ := loopPair(t, l)
	raw := rawMayCallTheSocket(t, c)
	must(t, raw.Control(func(uintptr) { // twice, and the connection ends meanwhile
		must(t, raw.Control(func(uintptr) { c.Abort() }))
		wantState(t, c, sock.UnconnectedState)
	}))
	if err := raw.Control(func(uintptr) {}); err == nil {
		t.Error("Control of a connection that has gone does not fail")
	}
}

// rawMayCallTheSocket tests that what a raw connection calls may call the socket, whatever others do with that meanwhile.
func rawMayCallTheSocket(t *testing.T, c *local.Socket) syscall.RawConn {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	others, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(others)
		for {
			select {
			case <-stop:
				return
			default:
				c.BytesAvailable()
			}
		}
	}()
	sockettest.Done(t, "all calls return", sockettest.Go(func() bool {
		for range 1000 {
			raw.Write(func(uintptr) bool { c.State(); return true })
			raw.Control(func(uintptr) { c.State() })
		}
		return true
	}))
	close(stop)
	<-others
	return raw
}
