package tcp_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"
)

func TestSocketZeroValue(t *testing.T) {
	var c tcp.Socket
	log := watch(&c)
	wantState(t, &c, sock.UnconnectedState)
	if c.IsValid() || c.Err() != nil || c.ErrorString() != "" || c.SocketError() != sock.NoError || c.SocketDescriptor().IsValid() {
		t.Errorf("valid %v, error %v", c.IsValid(), c.Err())
	}
	if c.PeerName() != "" || c.PeerAddress().IsValid() || c.PeerPort() != 0 || c.LocalAddress().IsValid() || c.LocalPort() != 0 {
		t.Errorf("it is at %v:%d, its peer at %v:%d (%q)", c.LocalAddress(), c.LocalPort(), c.PeerAddress(), c.PeerPort(), c.PeerName())
	}
	for _, a := range []net.Addr{c.LocalAddr(), c.RemoteAddr()} {
		if a, ok := a.(*net.TCPAddr); !ok || a == nil {
			t.Errorf("an address is %#v", a)
		}
	}
	for name, err := range map[string]error{
		"WaitForConnected": c.WaitForConnected(0), "WaitForDisconnected": c.WaitForDisconnected(0), "WaitForReadyRead": c.WaitForReadyRead(0),
		"WaitForBytesWritten": c.WaitForBytesWritten(0), "SetDeadline": c.SetDeadline(time.Now()),
	} {
		wantIs(t, name, err, sock.OperationError)
	}
	c.Abort()
	c.DisconnectFromHost()
	must(t, c.Close())
	log.want(t)
}

func TestSocketConnectToHost(t *testing.T) {
	srv := listen(t)
	c := closeLater(t, new(tcp.Socket))
	log := watch(c)
	var want []string
	for range 2 { // the second time with the same Socket
		must(t, c.ConnectToHost("localhost", srv.ServerPort(), 0))
		if got := c.PeerName(); got != "localhost" {
			t.Errorf("while connecting the peer's name is %q", got)
		}
		must(t, c.WaitForConnected(sockettest.Long()))
		want = append(want, "HostLookupState", "ConnectingState", "ConnectedState", "connected")
		log.comes(t, want...)
		if !c.IsValid() || c.Err() != nil || c.PeerName() != "localhost" || c.PeerAddress() != loopback || c.PeerPort() != srv.ServerPort() {
			t.Errorf("valid %v, error %v, peer %q %v:%d", c.IsValid(), c.Err(), c.PeerName(), c.PeerAddress(), c.PeerPort())
		}
		server := next(t, srv)
		exchange(t, c, server)
		for name, err := range map[string]error{
			"ConnectToHost":       c.ConnectToHost("localhost", 1, 0),
			"ConnectContext":      c.ConnectContext(t.Context(), "localhost:1"),
			"SetSocketDescriptor": c.SetSocketDescriptor(sock.FromConn(server), sock.ConnectedState, 0),
		} {
			wantIs(t, name+" while connected", err, sock.OperationError, syscall.EISCONN)
		}
		want = append(want, "OperationError", "OperationError") // of the two that connect
		wantState(t, c, sock.ConnectedState)
		exchange(t, c, server)
		c.DisconnectFromHost()
		wantState(t, c, sock.UnconnectedState)
		want = append(want, "ClosingState", "UnconnectedState", "disconnected")
		log.comes(t, want...)
		if c.PeerName() != "" || c.PeerAddress().IsValid() || c.RemoteAddr().String() != srv.Addr().String() {
			t.Errorf("after the end the peer is %q, %v, %v", c.PeerName(), c.PeerAddress(), c.RemoteAddr())
		}
	}
	wantIs(t, "a mode", c.ConnectToHost("localhost", 1, 9), sock.UnsupportedSocketOperationError)
}

func TestSocketConnectErrors(t *testing.T) {
	refusing := sockettest.Refusing(t).Port()
	for name, test := range map[string]struct {
		host   string
		port   uint16
		code   sock.SocketError
		cause  error
		states []string
	}{
		"refused": {"127.0.0.1", refusing, sock.ConnectionRefusedError, syscall.ECONNREFUSED, []string{"HostLookupState", "ConnectingState"}},
		"port 0":  {"127.0.0.1", 0, sock.ConnectionRefusedError, syscall.ECONNREFUSED, []string{"HostLookupState", "ConnectingState"}},
		"unknown": {"no-such-host.invalid", 80, sock.HostNotFoundError, nil, []string{"HostLookupState"}},
		"empty":   {"", 80, sock.HostNotFoundError, nil, []string{"HostLookupState"}},
		"bracket": {"[::1]", 80, sock.HostNotFoundError, nil, []string{"HostLookupState"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := closeLater(t, new(tcp.Socket))
			log := watch(c)
			must(t, c.ConnectToHost(test.host, test.port, 0))
			err := c.WaitForConnected(sockettest.Long())
			wantIs(t, "WaitForConnected", err, test.code)
			if test.cause != nil {
				wantIs(t, "WaitForConnected", err, test.cause)
			}
			if c.SocketError() != test.code || c.Err() == nil || c.Err().Error() != err.Error() {
				t.Errorf("the last error is %v; want %v", c.Err(), err)
			}
			log.comes(t, append(test.states, test.code.Name(), "UnconnectedState")...)
			wantIs(t, "another wait", c.WaitForConnected(0), test.code)
			wantIs(t, "WaitForReadyRead", c.WaitForReadyRead(0), test.code)
			if test.host != "" {
				want := net.JoinHostPort(test.host, "")
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it does not say where: %v", err)
				}
			}
			srv := listen(t) // the Socket can be used again, and has no error then
			must(t, c.ConnectContext(t.Context(), srv.Addr().String()))
			if c.Err() != nil {
				t.Errorf("after a connection was made: %v", c.Err())
			}
		})
	}
}

func TestSocketConnectInAModeThatThereIsNot(t *testing.T) {
	var c tcp.Socket
	wantIs(t, "ConnectToHost", c.ConnectToHost("127.0.0.1", 1, 9), sock.UnsupportedSocketOperationError)
	wantIs(t, "Err", c.Err(), sock.UnsupportedSocketOperationError)
	wantIs(t, "WaitForConnected", c.WaitForConnected(0), sock.UnsupportedSocketOperationError)
	wantState(t, &c, sock.UnconnectedState)
}

func TestSocketConnectToWhatIsNoAddress(t *testing.T) {
	for _, address := range []string{"localhost", "[::1", "127.0.0.1:99999", "[::1]80"} {
		var c tcp.Socket
		err := c.ConnectContext(t.Context(), address)
		wantIs(t, address, err, sock.HostNotFoundError)
		if want := "connect tcp " + address + ": "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want it to begin with %q", err, want)
		}
	}
}

// The error is told while the attempt's state is still there. No other callback may be running then.
func TestSocketErrorComesBeforeTheState(t *testing.T) {
	for host, code := range map[string]sock.SocketError{"127.0.0.1": sock.ConnectionRefusedError, "no-such-host.invalid": sock.HostNotFoundError} {
		c := closeLater(t, new(tcp.Socket))
		states := make(chan sock.State, 10)
		c.OnErrorOccurred(func(sock.SocketError) { states <- c.State() })
		must(t, c.ConnectToHost(host, sockettest.Refusing(t).Port(), 0))
		wantIs(t, host, c.WaitForConnected(sockettest.Long()), code)
		if st := sockettest.Done(t, "the error is told", states); st != sock.HostLookupState && st != sock.ConnectingState {
			t.Errorf("%s: in OnErrorOccurred the state is %v", host, st)
		}
		wantState(t, c, sock.UnconnectedState)
	}
}

func TestDialUnknownZone(t *testing.T) {
	needIPv6(t)
	if _, err := tcp.Dial("[fe80::1%nosuchzone]:80"); err == nil || errors.Is(err, sock.UnknownSocketError) {
		t.Errorf("Dial: %v", err)
	}
}

// One family of two answers.
func TestSocketConnectOneFamilyAnswers(t *testing.T) {
	needIPv6(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		srv, err := tcp.Listen(addr)
		must(t, err)
		t.Cleanup(func() { srv.Close() })
		c := closeLater(t, new(tcp.Socket))
		must(t, c.ConnectToHost("both.test", srv.ServerPort(), 0))
		must(t, c.WaitForConnected(sockettest.Long()))
		if c.PeerAddress() != srv.ServerAddress() || c.PeerName() != "both.test" {
			t.Errorf("the peer is %q, %v; want %v", c.PeerName(), c.PeerAddress(), srv.ServerAddress())
		}
		exchange(t, c, next(t, srv))
	}
	_, err := tcp.Dial(net.JoinHostPort("both.test", "0"))
	wantIs(t, "neither answers", err, sock.ConnectionRefusedError)
}

func TestSocketConnectContexts(t *testing.T) {
	hole := netip.AddrPortFrom(loopback, blackHole(t)).String()
	holdSlow(t)
	for where, hostport := range map[string]string{"connecting": hole, "looking up": "slow.test.:80"} {
		for how, test := range map[string]struct {
			context func() (context.Context, context.CancelFunc)
			want    error
		}{
			"ended before": {func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				return ctx, cancel
			}, context.Canceled},
			"expired": {func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), small) }, context.DeadlineExceeded},
			"cancelled": {func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(small, cancel)
				return ctx, cancel
			}, context.Canceled},
		} {
			t.Run(where+", "+how, func(t *testing.T) {
				ctx, cancel := test.context()
				defer cancel()
				_, err := tcp.DialContext(ctx, hostport)
				wantIs(t, "DialContext", err, test.want, sock.SocketTimeoutError)
				var ne net.Error
				if !errors.As(err, &ne) || ne.Timeout() != (test.want == context.DeadlineExceeded) {
					t.Errorf("whether it is a timeout: %v", err)
				}
				ctx, cancel = test.context()
				defer cancel()
				var c tcp.Socket
				err = c.ConnectContext(ctx, hostport)
				wantIs(t, "ConnectContext", err, test.want, sock.SocketTimeoutError)
				if c.Err() != err {
					t.Errorf("the last error is %v; want %v", c.Err(), err)
				}
				wantState(t, &c, sock.UnconnectedState)
			})
		}
	}
}

// A wait that times out leaves the attempt under way.
func TestSocketWaitsWhileConnecting(t *testing.T) {
	hole := blackHole(t)
	c := closeLater(t, new(tcp.Socket))
	log := watch(c)
	must(t, c.ConnectToHost("127.0.0.1", hole, 0))
	for name, wait := range map[string]func(time.Duration) error{
		"WaitForConnected": c.WaitForConnected, "WaitForReadyRead": c.WaitForReadyRead, "WaitForDisconnected": c.WaitForDisconnected,
	} {
		for _, d := range []time.Duration{0, time.Millisecond} {
			wantIs(t, name, wait(d), sock.SocketTimeoutError, os.ErrDeadlineExceeded)
		}
		if c.SocketError() != sock.SocketTimeoutError {
			t.Errorf("%s: the last error is %v", name, c.Err())
		}
	}
	sockettest.Eventually(t, "it is connecting", func() bool { return c.State() == sock.ConnectingState })
	if c.IsValid() || c.PeerAddress().IsValid() || c.PeerPort() != 0 || c.PeerName() != "127.0.0.1" || c.BytesAvailable() != 0 {
		t.Errorf("valid %v, peer %q %v:%d", c.IsValid(), c.PeerName(), c.PeerAddress(), c.PeerPort())
	}
	wantIs(t, "ConnectToHost", c.ConnectToHost("127.0.0.1", 1, 0), sock.OperationError, syscall.EISCONN)
	_, err := c.Write([]byte("x"))
	wantIs(t, "Write", err, sock.OperationError)
	_, err = c.WriteBuffered([]byte("x"))
	wantIs(t, "WriteBuffered", err, sock.OperationError)
	waiting := sockettest.Go(func() error { return c.WaitForConnected(sock.Forever) })
	reading := sockettest.Go(func() error { return c.WaitForReadyRead(sock.Forever) })
	c.Abort()
	for _, wait := range []<-chan error{waiting, reading} {
		if err := sockettest.Done(t, "the waits return", wait); err == nil || errors.Is(err, sock.SocketTimeoutError) {
			t.Errorf("a wait after Abort: %v", err)
		}
	}
	if got := log.all(); got[len(got)-1] != "UnconnectedState" {
		t.Errorf("the events were %q", got)
	}
}

// An attempt can be given up at any moment, by any member; nothing is signalled of it but the state, and the Socket can connect again.
func TestSocketGivesUpWhileConnecting(t *testing.T) {
	hole := blackHole(t)
	release := holdSlow(t)
	ends := map[string]func(*tcp.Socket){
		"Abort":              (*tcp.Socket).Abort,
		"Close":              func(c *tcp.Socket) { c.Close() },
		"DisconnectFromHost": (*tcp.Socket).DisconnectFromHost,
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			srv := listen(t)
			t.Run("looking up", func(t *testing.T) {
				var c tcp.Socket
				log := watch(&c)
				must(t, c.ConnectToHost("slow.test.", 80, 0))
				wantState(t, &c, sock.HostLookupState)
				end(&c)
				log.want(t, "HostLookupState", "UnconnectedState")
				wantIs(t, "WaitForConnected", c.WaitForConnected(sock.Forever), net.ErrClosed)
			})
			t.Run("connecting", func(t *testing.T) {
				var c tcp.Socket
				log := watch(&c)
				must(t, c.ConnectToHost("127.0.0.1", hole, 0))
				log.comes(t, "HostLookupState", "ConnectingState")
				end(&c)
				log.want(t, "HostLookupState", "ConnectingState", "UnconnectedState")
				wantIs(t, "WaitForConnected", c.WaitForConnected(sock.Forever), net.ErrClosed)
			})
			for _, state := range []sock.State{sock.HostLookupState, sock.ConnectingState, sock.ConnectedState} {
				t.Run("in the callback of "+state.String(), func(t *testing.T) {
					var c tcp.Socket
					log := watch(&c)
					stop := c.OnStateChanged(func(st sock.State) {
						if st == state {
							end(&c)
						}
					})
					must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
					sockettest.Eventually(t, "it is unconnected", func() bool { return c.State() == sock.UnconnectedState })
					stop()
					must(t, c.ConnectContext(t.Context(), srv.Addr().String()))
					c.Abort()
					if state != sock.ConnectedState {
						for _, e := range log.all()[:2] {
							if e == "connected" || strings.HasSuffix(e, "Error") {
								t.Errorf("the events were %q", log.all())
							}
						}
					}
				})
			}
			t.Run("at any moment", func(t *testing.T) {
				news := atomic.Int64{}
				srv.OnNewConnection(func() {
					if s := srv.NextPendingConnection(); s != nil {
						news.Add(1)
						s.Abort()
					}
				})
				c := closeLater(t, new(tcp.Socket))
				c.OnConnected(func() { c.State() })
				for i := range 300 {
					var wg sync.WaitGroup
					must(t, c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0))
					wg.Go(func() { c.WaitForConnected(sockettest.Long()) })
					wg.Go(func() {
						for range i % 30 {
							runtime.Gosched()
						}
						end(c)
					})
					wg.Wait()
					sockettest.Eventually(t, "it is unconnected", func() bool { return c.State() == sock.UnconnectedState })
				}
			})
		})
	}
	release()
}

func TestDialAgainstClose(t *testing.T) {
	srv := listen(t)
	srv.OnNewConnection(func() {
		if s := srv.NextPendingConnection(); s != nil {
			s.Close()
		}
	})
	for range 100 {
		c := new(tcp.Socket)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.ConnectContext(ctx, srv.Addr().String()) })
		wg.Go(func() { c.Close() })
		wg.Go(cancel)
		wg.Go(func() { c.PeerAddress(); c.LocalAddr(); c.RemoteAddr(); c.PeerName(); c.SocketDescriptor() })
		wg.Wait()
		c.Abort()
		wantState(t, c, sock.UnconnectedState)
	}
}

// A callback that ends its goroutine, as t.FailNow does, neither stops the attempt nor the others' events.
func TestSocketCallbackEndsItsGoroutine(t *testing.T) {
	for _, state := range []sock.State{sock.HostLookupState, sock.ConnectingState, sock.ConnectedState} {
		for how, connect := range map[string]func(*tcp.Socket, *tcp.Server){
			"ConnectToHost":  func(c *tcp.Socket, srv *tcp.Server) { c.ConnectToHost("127.0.0.1", srv.ServerPort(), 0) },
			"ConnectContext": func(c *tcp.Socket, srv *tcp.Server) { c.ConnectContext(context.Background(), srv.Addr().String()) },
		} {
			t.Run(how+" "+state.String(), func(t *testing.T) {
				srv := listen(t)
				c := closeLater(t, new(tcp.Socket))
				stop := c.OnStateChanged(func(st sock.State) {
					if st == state {
						runtime.Goexit()
					}
				})
				log := watch(c)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					connect(c, srv)
				}()
				sockettest.Done(t, "the goroutine that connects ends", ended)
				sockettest.Eventually(t, "the attempt ends", func() bool { return c.State() == sock.ConnectedState || c.State() == sock.UnconnectedState })
				if how == "ConnectToHost" { // the one who waits in ConnectContext has gone, and with it the attempt may have
					log.comes(t, "HostLookupState", "ConnectingState", "ConnectedState", "connected")
					exchange(t, c, next(t, srv))
				}
				c.Abort()
				stop()
				again := listen(t) // the first may have that attempt's connection pending
				must(t, c.ConnectContext(t.Context(), again.Addr().String()))
				exchange(t, c, next(t, again))
			})
		}
	}
}
