//go:build unix

// Our tcp.Server and tcp.Socket against QTcpSocket and QTcpServer: the same bytes, the same ends, the same signals in the same order.

package qt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/datastream"
	"anteroom/internal/sockettest"
	"anteroom/sock"
	"anteroom/tcp"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// listenTCP returns a server of ours, and where a peer finds it.
func listenTCP(t testing.TB) (*tcp.Server, string) {
	t.Helper()
	srv := new(tcp.Server)
	if err := srv.Listen(loopback, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv, srv.Addr().String()
}

// nextTCP takes a connection.
func nextTCP(t testing.TB, srv *tcp.Server) *tcp.Socket {
	t.Helper()
	if err := srv.WaitForNewConnection(patience); err != nil {
		t.Fatal(err)
	}
	s := srv.NextPendingConnection()
	if s == nil {
		t.Fatal("WaitForNewConnection is nil, and so is NextPendingConnection")
	}
	t.Cleanup(s.Abort)
	return s
}

// startTCP starts a server of Qt's, and returns where it listens.
func startTCP(t testing.TB, major int, mode string, args ...string) (qt *peer, addr string) {
	t.Helper()
	qt = startPeer(t, major, nil, append([]string{"tcp-" + mode, "127.0.0.1:0"}, args...)...)
	if mode == "server-script" {
		qt.send(t, "listen")
	}
	return qt, qt.expect(t, "listening ")
}

// A tcpVocabulary is one of the two ways to use a server and a socket.
type tcpVocabulary struct {
	name    string
	take    func(t *testing.T, srv *tcp.Server) *tcp.Socket
	connect func(t *testing.T, addr string) *tcp.Socket
	send    func(t *testing.T, s *tcp.Socket, b []byte) // all of b, and then the end
	receive func(t *testing.T, s *tcp.Socket) []byte    // up to the peer's end
}

var tcpVocabularies = []tcpVocabulary{
	{
		name: "net",
		take: func(t *testing.T, srv *tcp.Server) *tcp.Socket { t.Helper(); return accept(t, srv).(*tcp.Socket) },
		connect: func(t *testing.T, addr string) *tcp.Socket {
			t.Helper()
			s, err := tcp.Dial(addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Abort)
			return s
		},
		send: func(t *testing.T, s *tcp.Socket, b []byte) {
			t.Helper()
			if _, err := s.Write(b); err != nil {
				t.Fatal(err)
			}
			s.Close()
		},
		receive: func(t *testing.T, s *tcp.Socket) []byte { t.Helper(); return readAll(t, s) },
	},
	{
		name: "Qt",
		take: func(t *testing.T, srv *tcp.Server) *tcp.Socket { t.Helper(); return nextTCP(t, srv) },
		connect: func(t *testing.T, addr string) *tcp.Socket {
			t.Helper()
			s := new(tcp.Socket)
			t.Cleanup(s.Abort)
			connectTCP(t, s, addr)
			if err := s.WaitForConnected(patience); err != nil {
				t.Fatal(err)
			}
			return s
		},
		send: func(t *testing.T, s *tcp.Socket, b []byte) {
			t.Helper()
			if n, err := s.WriteBuffered(b); n != len(b) || err != nil {
				t.Fatalf("WriteBuffered: got %d, %v, want %d", n, err, len(b))
			}
			s.DisconnectFromHost()
			if s.State() == sock.UnconnectedState {
				return // the system took everything at once
			}
			// The end may come before the wait.
			if err := s.WaitForDisconnected(patience); err != nil && s.State() != sock.UnconnectedState {
				t.Fatal(err)
			}
			if err := s.Err(); err != nil || s.BytesToWrite() != 0 {
				t.Errorf("disconnected with %d bytes to write, error %v", s.BytesToWrite(), err)
			}
		},
		receive: func(t *testing.T, s *tcp.Socket) []byte {
			t.Helper()
			var all []byte
			for buf := make([]byte, 64<<10); ; {
				n, err := s.ReadAvailable(buf)
				all = append(all, buf[:n]...)
				switch {
				case err == io.EOF:
					return all
				case err != nil:
					t.Fatal(err)
				case n > 0:
					continue
				}
				if err := s.WaitForReadyRead(patience); err != nil && !errors.Is(err, sock.RemoteHostClosedError) {
					t.Fatal(err)
				}
			}
		},
	},
}

// connectTCP begins to connect, in Qt's way.
func connectTCP(t testing.TB, s *tcp.Socket, addr string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ConnectToHost(host, uint16(n), sock.ReadWrite); err != nil {
		t.Fatal(err)
	}
}

// eachTCPVocabulary runs f for both Qts and both vocabularies.
func eachTCPVocabulary(t *testing.T, f func(t *testing.T, major int, v tcpVocabulary)) {
	eachQt(t, func(t *testing.T, major int) {
		for _, v := range tcpVocabularies {
			t.Run(v.name, func(t *testing.T) { f(t, major, v) })
		}
	})
}

// forms are the ways in which the fortune examples of Qt's versions have written a fortune.
var forms = []struct {
	name  string
	write func(w *datastream.Writer, text string)
	read  func(r *datastream.Reader) (text string, announced bool)
}{
	{"string", func(w *datastream.Writer, text string) { w.String(text) }, func(r *datastream.Reader) (string, bool) { return r.String(), true }},
	{"block", func(w *datastream.Writer, text string) {
		w.Uint16(uint16(len(qstring(text))))
		w.String(text)
	}, func(r *datastream.Reader) (string, bool) {
		n, text := r.Uint16(), r.String()
		return text, int(n) == len(qstring(text))
	}},
	{"units", func(w *datastream.Writer, text string) {
		w.Uint32(uint32(len(qstring(text))-4) / 2)
		w.String(text)
	}, func(r *datastream.Reader) (string, bool) {
		n, text := r.Uint32(), r.String()
		return text, int(n) == (len(qstring(text))-4)/2
	}},
}

// eachForm runs f for each form, and for the fortunes that fit it.
func eachForm(t *testing.T, f func(t *testing.T, form int, text string)) {
	for i, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			for _, fortune := range fortunes {
				if form.name != "block" || len(qstring(fortune.text)) < 1<<16 {
					f(t, i, fortune.text)
				}
			}
		})
	}
}

func TestTCPServerGivesFortunesToQt(t *testing.T) {
	eachTCPVocabulary(t, func(t *testing.T, major int, v tcpVocabulary) {
		srv, addr := listenTCP(t)
		eachForm(t, func(t *testing.T, form int, text string) {
			client := startPeer(t, major, nil, "tcp-fortune-client", addr, "--form", forms[form].name)
			var b bytes.Buffer
			w := datastream.NewWriter(&b)
			forms[form].write(w, text)
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			v.send(t, v.take(t, srv), b.Bytes())
			if got := unescape(t, client.expect(t, "fortune ")); got != text {
				t.Errorf("Qt got %.100q, want %.100q", got, text)
			}
			wantDone(t, client)
		})
	})
}

func TestTCPSocketFetchesFortunesFromQt(t *testing.T) {
	eachTCPVocabulary(t, func(t *testing.T, major int, v tcpVocabulary) {
		eachForm(t, func(t *testing.T, form int, text string) {
			server, addr := startTCP(t, major, "fortune-server", "--text", text, "--form", forms[form].name, "--count", "1")
			all := v.receive(t, v.connect(t, addr))
			r := datastream.NewReader(bytes.NewReader(all))
			got, announced := forms[form].read(r)
			if got != text || !announced || r.Err() != nil {
				t.Errorf("got %.100q, %v, length %v; want %.100q", got, r.Err(), announced, text)
			}
			if r.Uint8(); r.Err() != io.EOF {
				t.Errorf("there is more than one fortune in %d bytes (%v)", len(all), r.Err())
			}
			wantDone(t, server)
		})
	})
}

// The client's loop of Qt's example: a transaction at each readyRead.
func TestTCPSocketFetchesFortuneFromQtInTransactions(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		for _, fortune := range fortunes {
			server, addr := startTCP(t, major, "fortune-server", "--text", fortune.text, "--count", "1")
			var s tcp.Socket
			t.Cleanup(s.Abort)
			r := datastream.NewReader(datastream.ReaderFunc(s.ReadAvailable))
			got := make(chan string, 1)
			ended := make(chan struct{})
			s.OnReadyRead(func() {
				r.StartTransaction()
				text := r.String()
				if r.CommitTransaction() {
					got <- text
				} else if r.Err() != nil {
					t.Error(r.Err())
				}
			})
			s.OnDisconnected(func() { close(ended) })
			connectTCP(t, &s, addr)
			if text := receiveSoon(t, got); text != fortune.text {
				t.Errorf("%s: got %.100q", fortune.name, text)
			}
			receiveSoon(t, ended)
			wantDone(t, server)
		}
	})
}

func TestTCPServerExchangesMegabytesWithQt(t *testing.T) {
	eachTCPVocabulary(t, func(t *testing.T, major int, v tcpVocabulary) {
		srv, addr := listenTCP(t)

		client := startPeer(t, major, nil, "tcp-recv", addr)
		v.send(t, v.take(t, srv), pattern(threeMiB))
		wantSummary(t, client.expect(t, "received "))
		wantDone(t, client)

		client = startPeer(t, major, nil, "tcp-send", addr, "--bytes", fmt.Sprint(threeMiB))
		wantSummary(t, summary(v.receive(t, v.take(t, srv))))
		wantDone(t, client)
	})
}

func TestTCPSocketExchangesMegabytesWithQt(t *testing.T) {
	eachTCPVocabulary(t, func(t *testing.T, major int, v tcpVocabulary) {
		server, addr := startTCP(t, major, "recv-server", "--count", "1")
		v.send(t, v.connect(t, addr), pattern(threeMiB))
		wantSummary(t, server.expect(t, "received "))
		wantDone(t, server)

		server, addr = startTCP(t, major, "send-server", "--bytes", fmt.Sprint(threeMiB), "--count", "1")
		wantSummary(t, summary(v.receive(t, v.connect(t, addr))))
		wantDone(t, server)
	})
}

func TestTCPEchoOfMegabytes(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		t.Run("from Qt", func(t *testing.T) {
			server, addr := startTCP(t, major, "echo-server", "--count", "1")
			s, err := tcp.Dial(addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Abort)
			sent := pattern(threeMiB)
			go s.Write(sent)
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(s, got); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, got, sent)
			s.Close()
			wantDone(t, server)
		})
		t.Run("from ours", func(t *testing.T) {
			srv, addr := listenTCP(t)
			srv.OnNewConnection(func() {
				if s := srv.NextPendingConnection(); s != nil {
					s.OnReadyRead(func() {
						b, _ := s.Peek(int(s.BytesAvailable()))
						s.Skip(int64(len(b)))
						s.WriteBuffered(b)
					})
				}
			})
			client := startPeer(t, major, nil, "tcp-client-script", addr)
			client.send(t, "connect")
			client.expect(t, "connected")
			client.send(t, fmt.Sprintf("write %d", threeMiB))
			for available := ""; available != fmt.Sprint(threeMiB); {
				available = client.expect(t, "readyRead ")
			}
			wantSummary(t, client.do(t, "digest"))
			client.send(t, "disconnect")
			client.expect(t, "disconnected")
		})
	})
}

// We write and end our half; Qt, which knows no halves, ends the whole when it has read that, and sends what it has queued first.
func TestTCPSocketCloseWriteEndsQtsReading(t *testing.T) {
	eachSide(t, func(t *testing.T, major int, s side) {
		ours, qt := s.meet(t, major)
		qt.send(t, "write 300\nflush")
		qt.expect(t, "= flush true")
		if n, err := ours.WriteBuffered(pattern(threeMiB)); n != threeMiB || err != nil {
			t.Fatal(n, err)
		}
		if err := ours.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		qt.expect(t, "disconnected")
		want := []string{"state 6", "state 0", "readChannelFinished", "disconnected"}
		if got := qt.stdout.since("error 1 The remote host closed the connection"); !slices.Equal(got, want) {
			t.Errorf("after our half's end Qt had signals %q, want %q", got, want)
		}
		wantSummary(t, qt.do(t, "digest"))
		if got := readAll(t, ours); !bytes.Equal(got, pattern(300)) || ours.State() != sock.ConnectedState {
			t.Errorf("read %d bytes of 300 to Qt's end, in %v", len(got), ours.State())
		}
	})
}

// Qt's end is a half-close for whoever only reads and writes.
func TestTCPSocketReadMeetsQtsDisconnectAsHalfClose(t *testing.T) {
	eachSide(t, func(t *testing.T, major int, s side) {
		ours, qt := s.meet(t, major)
		qt.send(t, fmt.Sprintf("write %d\ndisconnect", threeMiB))
		qt.expect(t, "= disconnect ")
		wantSummary(t, summary(readAll(t, ours)))
		qt.expect(t, "disconnected")
		if ours.State() != sock.ConnectedState || ours.Err() != nil {
			t.Errorf("after EOF: %v, %v", ours.State(), ours.Err())
		}
		ours.Close()
		if ours.State() != sock.UnconnectedState {
			t.Errorf("after Close: %v", ours.State())
		}
	})
}

func TestTCPServerIsReachedByQtUnderEachName(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		var srv tcp.Server
		if err := srv.Listen(netip.Addr{}, 0); err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		port := fmt.Sprint(srv.ServerPort())
		for host, want := range map[string][]string{"127.0.0.1": {"127.0.0.1"}, "::1": {"::1"}, "::ffff:127.0.0.1": {"127.0.0.1"}, "localhost": {"127.0.0.1", "::1"}} {
			t.Run(host, func(t *testing.T) {
				if strings.Contains(host, ":") && !srv.ServerAddress().Is6() {
					t.Skip("needs IPv6")
				}
				qt := startPeer(t, major, nil, "tcp-client-script", net.JoinHostPort(host, port))
				qt.send(t, "connect")
				qt.expect(t, "connected")
				s := nextTCP(t, &srv)
				if got := s.PeerAddress().String(); !slices.Contains(want, got) {
					t.Errorf("our peer is at %s, want one of %q", got, want)
				}
				// Qt calls it as it was asked to; ours never by a mapped address.
				names := strings.Fields(qt.do(t, "name"))
				if len(names) != 2 || names[0] != port || strings.TrimPrefix(names[1], "::ffff:") != s.LocalAddress().String() {
					t.Errorf("Qt's peer is %q, want port %s of %v", names, port, s.LocalAddress())
				}
				qt.send(t, "write-line hello")
				for !s.CanReadLine() {
					if err := s.WaitForReadyRead(patience); err != nil {
						t.Fatal(err)
					}
				}
				s.DisconnectFromHost()
				qt.expect(t, "disconnected")
			})
		}
	})
}

func TestTCPServerServesFiftyQtsAtOnce(t *testing.T) {
	const clients, each = 50, 3
	eachQt(t, func(t *testing.T, major int) {
		for _, callbacks := range []bool{false, true} {
			t.Run(map[bool]string{false: "Connections", true: "OnNewConnection"}[callbacks], func(t *testing.T) {
				srv, addr := listenTCP(t)
				fortune := encodeString(t, fortunes[0].text)
				served := make(chan struct{}, 2*clients*each)
				var all sync.WaitGroup
				if callbacks {
					srv.OnNewConnection(func() {
						s := srv.NextPendingConnection()
						if s == nil {
							return
						}
						s.OnDisconnected(func() { served <- struct{}{} })
						s.WriteBuffered(fortune)
						s.DisconnectFromHost()
					})
				} else {
					all.Go(func() {
						for s, err := range srv.Connections(context.Background()) {
							if err != nil {
								return
							}
							all.Go(func() {
								if _, err := s.Write(fortune); err != nil {
									t.Error(err)
								}
								s.Close()
								served <- struct{}{}
							})
						}
					})
				}
				var qts []*peer
				for range clients {
					qts = append(qts, startPeer(t, major, nil, "tcp-fortune-client", addr, "--count", strconv.Itoa(each)))
				}
				for _, qt := range qts {
					for range each {
						if got := unescape(t, qt.expect(t, "fortune ")); got != fortunes[0].text {
							t.Errorf("%s: got %q", qt.title, got)
						}
					}
				}
				wantDone(t, qts...)
				for n := range clients * each { // a client may know of its end before we do
					sockettest.Done(t, fmt.Sprintf("client %d of %d is served", n+1, clients*each), served)
				}
				srv.Close()
				all.Wait()
				if n := len(served); n > 0 {
					t.Errorf("%d more clients were served than there are", n)
				}
			})
		}
	})
}

// Where QTcpServer's pausing, limit and wait differ from ours: what Qt does, and what we do.
func TestTCPServerPendingDiffersFromQts(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		clients := func(t *testing.T, addr string, n int) {
			for range n {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
			}
		}
		both := func(name string, theirs func(t *testing.T, qt *peer, addr string), ours func(t *testing.T, srv *tcp.Server, addr string)) {
			t.Run(name, func(t *testing.T) {
				t.Run("Qt's", func(t *testing.T) {
					qt, addr := startTCP(t, major, "server-script")
					theirs(t, qt, addr)
				})
				t.Run("ours", func(t *testing.T) {
					srv, addr := listenTCP(t)
					ours(t, srv, addr)
				})
			})
		}
		both("the limit is exact in both", func(t *testing.T, qt *peer, addr string) {
			wantResult(t, qt, "max 2", "2")
			clients(t, addr, 3)
			qt.expect(t, "newConnection")
			qt.expect(t, "newConnection")
			qt.send(t, "next\nnext\nnext") // without a turn of the event loop, which would fetch the third
			qt.expect(t, "= next 1")
			qt.expect(t, "= next 2")
			qt.expect(t, "= next none")
			qt.expect(t, "newConnection")
		}, func(t *testing.T, srv *tcp.Server, addr string) {
			srv.SetMaxPendingConnections(2)
			news := make(chan struct{}, 10)
			srv.OnNewConnection(func() { news <- struct{}{} })
			clients(t, addr, 3)
			receiveSoon(t, news)
			receiveSoon(t, news)
			if len(news) > 0 {
				t.Error("a third is pending")
			}
			nextTCP(t, srv)
			receiveSoon(t, news)
		})
		both("a wait with one pending", func(t *testing.T, qt *peer, addr string) {
			clients(t, addr, 1)
			qt.expect(t, "newConnection")
			wantResult(t, qt, "wait-new 20", "false timed out") // though one is pending
			wantResult(t, qt, "pending", "true")
		}, func(t *testing.T, srv *tcp.Server, addr string) {
			clients(t, addr, 1)
			for range 2 {
				if err := srv.WaitForNewConnection(patience); err != nil {
					t.Error(err)
				}
			}
		})
		both("a wait with a limit of 0", func(t *testing.T, qt *peer, addr string) {
			wantResult(t, qt, "max 0", "0")
			clients(t, addr, 1)
			wantResult(t, qt, "wait-new 10000", "true") // though none is pending
			wantResult(t, qt, "pending", "false")
		}, func(t *testing.T, srv *tcp.Server, addr string) {
			srv.SetMaxPendingConnections(0)
			clients(t, addr, 1)
			nextTCP(t, srv)
		})
		both("taking while paused", func(t *testing.T, qt *peer, addr string) {
			clients(t, addr, 1)
			qt.expect(t, "newConnection")
			wantResult(t, qt, "pause", "0")
			clients(t, addr, 1)
			wantResult(t, qt, "next", "1")
			qt.expect(t, "newConnection") // taking has resumed
		}, func(t *testing.T, srv *tcp.Server, addr string) {
			clients(t, addr, 1)
			if err := srv.WaitForNewConnection(patience); err != nil {
				t.Fatal(err)
			}
			srv.PauseAccepting()
			clients(t, addr, 1)
			nextTCP(t, srv)
			if err := srv.WaitForNewConnection(scaled(20 * time.Millisecond)); !errors.Is(err, sock.SocketTimeoutError) {
				t.Errorf("a wait while paused: %v", err)
			}
			srv.ResumeAccepting()
			nextTCP(t, srv)
		})
		both("raising a limit that is reached", func(t *testing.T, qt *peer, addr string) {
			wantResult(t, qt, "max 1", "1")
			clients(t, addr, 2)
			qt.expect(t, "newConnection")
			wantResult(t, qt, "max 2", "2")
			wantResult(t, qt, "state", "no connection") // a turn of the event loop
			qt.send(t, "next\nnext")
			qt.expect(t, "= next 1")
			qt.expect(t, "= next none") // the second was not accepted
		}, func(t *testing.T, srv *tcp.Server, addr string) {
			srv.SetMaxPendingConnections(1)
			news := make(chan struct{}, 10)
			srv.OnNewConnection(func() { news <- struct{}{} })
			clients(t, addr, 2)
			receiveSoon(t, news)
			srv.SetMaxPendingConnections(2)
			receiveSoon(t, news)
		})
	})
}

// A side is one of the two on which we can be.
type side struct {
	name string
	meet func(t *testing.T, major int) (ours *tcp.Socket, qt *peer)
}

var sides = []side{
	{"our client", func(t *testing.T, major int) (*tcp.Socket, *peer) {
		qt, addr := startTCP(t, major, "server-script")
		s := tcpVocabularies[0].connect(t, addr)
		qt.expect(t, "newConnection")
		wantResult(t, qt, "next", "1")
		return s, qt
	}},
	{"our server", func(t *testing.T, major int) (*tcp.Socket, *peer) {
		srv, addr := listenTCP(t)
		qt := startPeer(t, major, nil, "tcp-client-script", addr)
		qt.send(t, "connect")
		qt.expect(t, "connected")
		return nextTCP(t, srv), qt
	}},
}

// eachSide runs f for both Qts and on both sides.
func eachSide(t *testing.T, f func(t *testing.T, major int, s side)) {
	eachQt(t, func(t *testing.T, major int) {
		for _, s := range sides {
			t.Run(s.name, func(t *testing.T) { f(t, major, s) })
		}
	})
}
