package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
)

// connecting returns a socket that has begun to connect.
func connecting(t testing.TB, srv *local.Server) *local.Socket {
	t.Helper()
	c := closeLater(t, new(local.Socket))
	must(t, c.ConnectToServer(srv.FullServerName(), 0))
	return c
}

// The system queues two connections of a backlog of one, and then lets clients wait: how many connect tells how many were accepted.
const queued = 2

func TestServerLimitIsExact(t *testing.T) {
	for _, limit := range []int{-1, 0, 1, 3, 30} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			sockettest.NeedExactLocalBacklog(t)
			var srv local.Server
			srv.SetMaxPendingConnections(limit)
			srv.SetListenBacklogSize(1)
			var news atomic.Int64
			srv.OnNewConnection(func() { news.Add(1) })
			listenWith(t, &srv)
			may := max(limit, 0)
			for i := range may + queued {
				if err := connecting(t, &srv).WaitForConnected(sockettest.Long()); err != nil {
					t.Fatalf("client %d: %v", i, err)
				}
			}
			waiting := connecting(t, &srv)
			if err := waiting.WaitForConnected(sockettest.Short()); !errors.Is(err, sock.SocketTimeoutError) {
				t.Fatalf("client %d: %v; want it to wait, because %d may be pending", may+queued, err, limit)
			}
			if got := news.Load(); got != int64(may) {
				t.Errorf("%d connections were accepted; want %d", got, may)
			}

			// Each that is taken lets in one more, and not two.
			for i := range 3 {
				if limit <= 0 {
					c, err := srv.AcceptContext(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					c.Abort()
				} else {
					closeLater(t, srv.NextPendingConnection()).Abort()
				}
				if err := waiting.WaitForConnected(sockettest.Long()); err != nil {
					t.Fatalf("the client that waited, when one was taken: %v", err)
				}
				waiting = connecting(t, &srv)
				if err := waiting.WaitForConnected(sockettest.Short()); !errors.Is(err, sock.SocketTimeoutError) {
					t.Fatalf("a client that comes after %d were taken: %v; want it to wait", i+1, err)
				}
				if limit > 0 {
					sockettest.Eventually(t, "another one is pending", func() bool { return news.Load() == int64(may+i+1) })
				}
			}
		})
	}
}

func TestServerLimitZeroAcceptsOnlyWhileSomebodyWaits(t *testing.T) {
	for _, limit := range []int{0, -5} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			var srv local.Server
			srv.SetMaxPendingConnections(limit)
			listenWith(t, &srv)
			for range 5 {
				dial(t, &srv)
			}
			sockettest.Stays(t, "nothing is pending", func() bool { return !srv.HasPendingConnections() && srv.NextPendingConnection() == nil })
			must(t, srv.WaitForNewConnection(0)) // a look is enough: a client is there
			must(t, srv.WaitForNewConnection(0)) // and the same one is pending still
			if closeLater(t, srv.NextPendingConnection()); srv.HasPendingConnections() {
				t.Error("a wait has let in more than one")
			}
			for range 2 {
				c, err := srv.Accept()
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				sockettest.Stays(t, "nothing is pending", func() bool { return !srv.HasPendingConnections() })
			}
			for range 2 { // as many as wait
				next(t, &srv)
			}
			wantIs(t, "a wait without a client", srv.WaitForNewConnection(0), sock.SocketTimeoutError)
		})
	}
}

func TestServerLimitCanBeRaisedWhileListening(t *testing.T) {
	var srv local.Server
	srv.SetMaxPendingConnections(0)
	var news atomic.Int64
	srv.OnNewConnection(func() { news.Add(1) })
	listenWith(t, &srv)
	for range 6 {
		dial(t, &srv)
	}
	for limit := range 6 {
		srv.SetMaxPendingConnections(limit)
		sockettest.Eventually(t, "as many are pending as the limit allows", func() bool { return news.Load() == int64(limit) })
	}
	srv.SetMaxPendingConnections(1) // those that are pending stay
	for range 5 {
		closeLater(t, srv.NextPendingConnection())
	}
	next(t, &srv)
}

func TestServerServesMoreClientsThanItsLimit(t *testing.T) {
	srv := listen(t)
	const clients = 200
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c, err := local.Dial(srv.FullServerName())
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			defer c.Close()
			if _, err := fmt.Fprintf(c, "%8d", i); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			got := make([]byte, 8)
			if _, err := io.ReadFull(c, got); err != nil || string(got) != fmt.Sprintf("%8d", i) {
				t.Errorf("client %d: read %q, %v", i, got, err)
			}
		})
	}
	for range clients {
		c := next(t, srv)
		wg.Go(func() {
			defer c.Close()
			if _, err := io.CopyN(c, c, 8); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestServerPauseStaysOverTakingAndListening(t *testing.T) {
	srv := listen(t)
	dial(t, srv)
	sockettest.Eventually(t, "the first is pending", srv.HasPendingConnections)
	srv.PauseAccepting()
	for range 3 {
		dial(t, srv)
	}
	closeLater(t, srv.NextPendingConnection())
	sockettest.Stays(t, "nothing is accepted while paused", func() bool { return !srv.HasPendingConnections() })
	wantIs(t, "a wait while paused", srv.WaitForNewConnection(sockettest.Short()), sock.SocketTimeoutError)
	ctx, cancel := context.WithTimeout(t.Context(), sockettest.Short())
	defer cancel()
	_, err := srv.AcceptContext(ctx)
	wantIs(t, "AcceptContext while paused", err, context.DeadlineExceeded)
	accepted := sockettest.Go(func() net.Conn { c, _ := srv.Accept(); return c })
	srv.SetMaxPendingConnections(7) // does not resume either
	sockettest.Stays(t, "Accept gets nothing while paused", func() bool { return len(accepted) == 0 })
	srv.ResumeAccepting()
	if c := sockettest.Done(t, "Accept returns after resuming", accepted); c != nil {
		c.Close()
	}
	next(t, srv)
	next(t, srv)

	srv.PauseAccepting()
	must(t, srv.Close())
	listenWith(t, srv)
	dial(t, srv)
	sockettest.Stays(t, "nothing is accepted after listening anew", func() bool { return !srv.HasPendingConnections() })
	srv.ResumeAccepting()
	next(t, srv)
}

// Whoever accepts goes on until there is nobody more, also when one is taken for each that comes.
func TestServerAcceptsOneForAnotherThatIsTaken(t *testing.T) {
	srv := listen(t)
	dial(t, srv)
	sockettest.Eventually(t, "the first is pending", srv.HasPendingConnections)
	srv.PauseAccepting()
	dial(t, srv)
	dial(t, srv)
	sockettest.Stays(t, "the first is pending still", srv.HasPendingConnections) // and the poller has told of the others
	srv.NextPendingConnection().Close()
	srv.ResumeAccepting()
	for range 2 {
		sockettest.Eventually(t, "the others are pending", srv.HasPendingConnections)
		srv.NextPendingConnection().Close()
	}
}

// A callback may wait for the next connection, also if somebody must be asked about that first.
func TestServerAcceptInACallback(t *testing.T) {
	for name, set := range map[string]func(*local.Server){
		"neither":               func(*local.Server) {},
		"SetAdmit":              func(s *local.Server) { s.SetAdmit(func(local.Peer) error { return nil }) },
		"SetIncomingConnection": func(s *local.Server) { s.SetIncomingConnection(s.IncomingConnection) },
	} {
		for _, loops := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", loops ", loops), func(t *testing.T) {
				srv := new(local.Server)
				if loops {
					srv.SetLoops(runLoops(t, 1))
				}
				set(srv)
				waits, second := make(chan bool, 1), make(chan error, 1)
				srv.OnNewConnection(func() {
					c := srv.NextPendingConnection()
					if c == nil {
						return
					}
					defer c.Close()
					waits <- true
					ctx, cancel := context.WithTimeout(context.Background(), sockettest.Long()) // so that nothing is left when it fails
					defer cancel()
					d, err := srv.AcceptContext(ctx)
					if err == nil {
						d.Close()
					}
					second <- err
				})
				listenWith(t, srv)
				dial(t, srv)
				sockettest.Done(t, "a callback runs", waits)
				dial(t, srv)
				must(t, sockettest.Done(t, "its Accept returns", second))
			})
		}
	}
}

// busyServer returns a server with a callback, check or override that is at work with the first connection until free is called, and a second
// connection, which was accepted meanwhile.
func busyServer(t *testing.T, set func(srv *local.Server, work func())) (srv *local.Server, first *local.Socket, free func()) {
	t.Helper()
	srv = new(local.Server)
	busy, leave := make(chan bool, 1), make(chan bool)
	var once sync.Once
	set(srv, func() {
		once.Do(func() {
			busy <- true
			<-leave
		})
	})
	listenWith(t, srv)
	first = dial(t, srv)
	sockettest.Done(t, "it is at work", busy)
	dial(t, srv)
	srv.WaitForNewConnection(small)
	free = sync.OnceFunc(func() { close(leave) })
	t.Cleanup(free)
	return srv, first, free
}

// Methods that do not wait ask nobody: a check or an override does not come in the middle of a callback, or of another one.
func TestServerAsksOneAtATime(t *testing.T) {
	var inside, nested atomic.Int32
	enter := func() (leave func()) {
		if inside.Add(1) > 1 {
			nested.Add(1)
		}
		return func() { inside.Add(-1) }
	}
	for name, set := range map[string]func(srv *local.Server, work func()){
		"override": func(srv *local.Server, work func()) {
			srv.SetIncomingConnection(func(d sock.Descriptor) {
				defer enter()()
				work()
				srv.IncomingConnection(d)
			})
		},
		"check beside a callback": func(srv *local.Server, work func()) {
			srv.SetAdmit(func(local.Peer) error {
				defer enter()()
				return nil
			})
			srv.OnNewConnection(func() {
				defer enter()()
				work()
				srv.SetMaxPendingConnections(10)
				srv.PauseAccepting()
				srv.ResumeAccepting()
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, _, free := busyServer(t, set)
			free()
			next(t, srv).Abort()
			next(t, srv).Abort()
			if nested.Load() > 0 {
				t.Error("one was called before the other had returned")
			}
		})
	}
}

// A connection that is refused is closed before anybody is asked about the next one.
func TestServerClosesWhomItRefusesAtOnce(t *testing.T) {
	second, asked := make(chan bool), 0
	defer close(second)
	_, first, free := busyServer(t, func(srv *local.Server, work func()) {
		srv.SetAdmit(func(local.Peer) error {
			if asked++; asked > 1 {
				<-second
			}
			work()
			return errors.New("not today")
		})
	})
	free()
	wantEnd(t, first)
}

// The access options of a file are the system's to keep: nobody has to be asked, and a callback that takes its time keeps no taker waiting.
func TestServerWithAccessOptionsBesideABusyCallback(t *testing.T) {
	srv, _, _ := busyServer(t, func(srv *local.Server, work func()) {
		srv.SetSocketOptions(local.UserAccessOption)
		srv.OnNewConnection(func() {
			work()
		})
	})
	srv.NextPendingConnection().Abort()
	ctx, cancel := context.WithTimeout(t.Context(), sockettest.Long())
	defer cancel()
	c, err := srv.AcceptContext(ctx)
	must(t, err)
	must(t, c.Close())
}

func TestServerOverrideThatACallbackSetsAndWaitsFor(t *testing.T) {
	srv := new(local.Server)
	waits, waited := make(chan bool, 1), make(chan error, 1)
	var once sync.Once
	srv.OnNewConnection(func() {
		once.Do(func() {
			srv.NextPendingConnection().Abort()
			srv.SetIncomingConnection(func(d sock.Descriptor) { d.Close() })
			waits <- true
			waited <- srv.WaitForNewConnection(sockettest.Long())
		})
	})
	listenWith(t, srv)
	dial(t, srv)
	sockettest.Done(t, "it waits", waits)
	dial(t, srv)
	must(t, sockettest.Done(t, "the wait returns", waited))
}

// Close closes what was accepted, also what somebody was going to be asked about.
func TestServerCloseWhileSomebodyIsToBeAsked(t *testing.T) {
	srv := new(local.Server)
	srv.SetAdmit(func(local.Peer) error { return nil })
	listenWith(t, srv)
	busy, free := make(chan bool, 1), make(chan bool)
	defer close(free)
	srv.OnNewConnection(func() {
		srv.NextPendingConnection().Abort()
		busy <- true
		<-free
	})
	dial(t, srv)
	sockettest.Done(t, "a callback runs", busy)
	c := dial(t, srv)
	srv.WaitForNewConnection(small) // accepts it, and has it wait for the check
	must(t, srv.Close())
	wantEnd(t, c)
}

func TestLoopsThatDoNotRunAndAServersClose(t *testing.T) {
	sockettest.NeedLoops(t)
	g, err := loop.NewGroup(1)
	must(t, err)
	defer g.Close()
	srv := new(local.Server)
	srv.SetLoops(g)
	srv.SetAdmit(func(local.Peer) error { return nil })
	listenWith(t, srv)
	c := dial(t, srv)
	srv.WaitForNewConnection(small)
	must(t, srv.Close())
	wantEnd(t, c)
}

func TestServerPauseAcceptingWhenItReturnsAcceptsNoMore(t *testing.T) {
	srv := listen(t)
	for range 100 {
		srv.PauseAccepting()
		c := dial(t, srv)
		if srv.HasPendingConnections() {
			t.Fatal("a connection was accepted after PauseAccepting")
		}
		srv.ResumeAccepting()
		next(t, srv).Abort()
		c.Abort()
	}
}

func TestDialFullBacklogWaitsUntilItsContextEnds(t *testing.T) {
	srv, resume := queueFull(t)
	sockettest.Rests(t, "dialling a server with a full queue", func() {
		ctx, cancel := context.WithTimeout(t.Context(), sockettest.Scale(300*time.Millisecond))
		defer cancel()
		_, err := local.DialContext(ctx, srv.FullServerName())
		wantIs(t, "DialContext", err, sock.SocketTimeoutError, context.DeadlineExceeded, os.ErrDeadlineExceeded)
	})

	ctx, cancelNow := context.WithCancel(t.Context())
	dialled := sockettest.Go(func() error { _, err := local.DialContext(ctx, srv.FullServerName()); return err })
	waits(t, "awaitAttempt")
	cancelNow()
	wantIs(t, "DialContext", sockettest.Done(t, "DialContext returns", dialled), sock.SocketTimeoutError, context.Canceled)

	waiting := connecting(t, srv)
	wantState(t, waiting, sock.ConnectingState)
	wantIs(t, "WaitForConnected", waiting.WaitForConnected(small), sock.SocketTimeoutError)
	wantState(t, waiting, sock.ConnectingState) // a wait's end is not the attempt's
	context := closeLater(t, new(local.Socket))
	made := sockettest.Go(func() error { return context.ConnectContext(t.Context(), srv.FullServerName()) })
	resume()
	must(t, waiting.WaitForConnected(sockettest.Long()))
	must(t, sockettest.Done(t, "ConnectContext returns", made))
	wantState(t, waiting, sock.ConnectedState)
}

func TestDialFullBacklogThenServerCloses(t *testing.T) {
	srv, _ := queueFull(t)
	waiting := connecting(t, srv)
	log := watch(t, waiting)
	must(t, srv.Close())
	err := waiting.WaitForConnected(sockettest.Long())
	if !errors.Is(err, sock.HostNotFoundError) && !errors.Is(err, sock.ConnectionRefusedError) {
		t.Errorf("WaitForConnected: %v", err)
	}
	wantState(t, waiting, sock.UnconnectedState)
	sockettest.Eventually(t, "the callbacks are told", func() bool { return len(log.all()) == 2 })
	log.want(t, sock.CodeOf(err).Name(), "UnconnectedState")
	if waiting.Err() == nil || waiting.Err().Error() != err.Error() {
		t.Errorf("Err: %v; want %v", waiting.Err(), err)
	}
}

func TestDialFullBacklogGivenUp(t *testing.T) {
	srv, _ := queueFull(t)
	for name, giveUp := range map[string]func(*local.Socket){
		"Close":                func(c *local.Socket) { must(t, c.Close()) },
		"Abort":                (*local.Socket).Abort,
		"DisconnectFromServer": (*local.Socket).DisconnectFromServer,
	} {
		t.Run(name, func(t *testing.T) {
			c := connecting(t, srv)
			log := watch(t, c)
			waiters := []<-chan error{
				sockettest.Go(func() error { return c.WaitForConnected(sock.Forever) }),
				sockettest.Go(func() error { return c.WaitForReadyRead(sock.Forever) }),
				sockettest.Go(func() error { return c.WaitForDisconnected(sock.Forever) }),
				sockettest.Go(func() error { _, err := c.Read(make([]byte, 1)); return err }),
			}
			waits(t, "local.(*Socket).WaitForConnected", "local.(*Socket).WaitForReadyRead", "local.(*Socket).WaitForDisconnected")
			giveUp(c)
			wantState(t, c, sock.UnconnectedState)
			for i, w := range waiters {
				if err := sockettest.Done(t, "who waits returns", w); err == nil || errors.Is(err, sock.SocketTimeoutError) {
					t.Errorf("wait %d: %v", i, err)
				}
			}
			log.want(t, "UnconnectedState") // no error, and no disconnected: there was no connection
			if c.Err() != nil {
				t.Errorf("the error is %v; want none", c.Err())
			}
		})
	}
}
