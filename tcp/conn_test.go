package tcp_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/tcp"
	"golang.org/x/net/nettest"
)

func TestServerConforms(t *testing.T) {
	sockettest.Conform(t, func(t *testing.T) (sockettest.Server, func() (net.Conn, error)) {
		srv := listen(t)
		return srv, func() (net.Conn, error) { return tcp.Dial(srv.Addr().String()) }
	})
}

// A Socket is what net.Conn promises, whichever end it is, whoever made it and whatever is between.
func TestConnConforms(t *testing.T) {
	p := socks(t)
	test := func(name string, swap, listenBeside, proxied bool) {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				srv, err := tcp.Listen("127.0.0.1:0")
				if err != nil {
					return nil, nil, nil, err
				}
				defer srv.Close()
				client := new(tcp.Socket)
				if proxied {
					client.SetProxy(p.Proxy)
				}
				if err := client.ConnectContext(t.Context(), srv.Addr().String()); err != nil {
					return nil, nil, nil, err
				}
				server, err := srv.AcceptContext(context.Background())
				if err != nil {
					return nil, nil, nil, err
				}
				if listenBeside {
					for _, c := range []*tcp.Socket{client, server} {
						c.OnReadyRead(func() {})
						c.OnDisconnected(func() {})
					}
				}
				stop := func() { client.Close(); server.Close() }
				if swap {
					return server, client, stop, nil
				}
				return client, server, stop, nil
			})
		})
	}
	test("Client", false, false, false)
	test("Server", true, false, false)
	test("WithCallbacks", false, true, false)
	test("ThroughProxy", false, false, true)
}

func TestConnIsHTTPs(t *testing.T) {
	srv := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.RemoteAddr, r.URL.Path, len(body))
	})}
	served := sockettest.Go(func() error { return server.Serve(srv) })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return tcp.DialContext(ctx, addr) }}
	client := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				size := mathrand.IntN(100_000)
				resp, err := client.Post(fmt.Sprintf("http://%v/%d/%d", srv.Addr(), i, j), "text/plain", bytes.NewReader(make([]byte, size)))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if want := fmt.Sprintf(" /%d/%d %d", i, j, size); err != nil || !strings.HasPrefix(string(got), "127.0.0.1:") || !strings.HasSuffix(string(got), want) {
					t.Errorf("got %q, %v; want 127.0.0.1:…%s", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	transport.CloseIdleConnections()
	must(t, server.Shutdown(t.Context()))
	wantIs(t, "Serve", sockettest.Done(t, "Serve returns", served), http.ErrServerClosed)
	if srv.IsListening() {
		t.Error("Shutdown has not closed the server")
	}
}

func TestConnUnderTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
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

	srv := listen(t)
	l := tls.NewListener(srv, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	served := sockettest.Go(func() error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.Copy(c, c)
		return err
	})
	client := tls.Client(dial(t, srv), &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	sent := make([]byte, 1<<20)
	rand.Read(sent)
	written := sockettest.Go(func() error {
		_, err := client.Write(sent)
		return errors.Join(err, client.CloseWrite())
	})
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(sent), err)
	}
	must(t, sockettest.Done(t, "all is written", written))
	client.Close()
	must(t, sockettest.Done(t, "the server's end is done", served))
}
