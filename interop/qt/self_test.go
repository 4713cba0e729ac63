//go:build unix

// The peers against each other and against plain net, without this library: when these pass, a failure elsewhere is ours.

package qt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"
)

const threeMiB = 3 << 20

var fortunes = []struct{ name, text string }{
	{"plain", "You've been leading a dog's life. Stay off the furniture."},
	{"empty", ""},
	{"long", strings.Repeat("You will be surprised by a loud noise. ", 2500)}, // Linux lets an argument be 128 KiB,
	{"not ASCII", "Grüße, 世界, и 🐕"},
	{"lines", "two\nlines, a \\ and a \x01"},
}

// families are the first words of the peer's modes, with a name to listen on for each.
var families = []struct {
	name   string
	listen func(t testing.TB) string
}{
	{"local", socketPath},
	{"tcp", func(testing.TB) string { return "127.0.0.1:0" }},
}

// qstring is a QString in QDataStream's format, said anew here so that the test of the peers needs nothing of ours.
func qstring(text string) []byte {
	units := utf16.Encode([]rune(text))
	b := binary.BigEndian.AppendUint32(nil, uint32(2*len(units)))
	for _, u := range units {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

func TestPeersTalkToEachOther(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			eachQtPair(t, func(t *testing.T, serverQt, clientQt int) {
				start := func(t *testing.T, major int, mode string, args ...string) *peer {
					return startPeer(t, major, nil, append([]string{family.name + "-" + mode}, args...)...)
				}
				for _, fortune := range fortunes {
					t.Run("fortune "+fortune.name, func(t *testing.T) {
						server := start(t, serverQt, "fortune-server", family.listen(t), "--text", fortune.text, "--count", "2")
						client := start(t, clientQt, "fortune-client", server.expect(t, "listening "), "--count", "2")
						for range 2 {
							if got := unescape(t, client.expect(t, "fortune ")); got != fortune.text {
								t.Errorf("got fortune %.100q, want %.100q", got, fortune.text)
							}
						}
						wantDone(t, client, server)
					})
				}
				t.Run("send", func(t *testing.T) {
					server := start(t, serverQt, "recv-server", family.listen(t), "--count", "1")
					client := start(t, clientQt, "send", server.expect(t, "listening "), "--bytes", fmt.Sprint(threeMiB))
					wantSummary(t, client.expect(t, "sent "))
					wantSummary(t, server.expect(t, "received "))
					wantDone(t, client, server)
				})
				t.Run("recv", func(t *testing.T) {
					server := start(t, serverQt, "send-server", family.listen(t), "--bytes", fmt.Sprint(threeMiB), "--count", "1")
					client := start(t, clientQt, "recv", server.expect(t, "listening "))
					wantSummary(t, client.expect(t, "received "))
					wantSummary(t, server.expect(t, "sent "))
					wantDone(t, client, server)
				})
				t.Run("script", func(t *testing.T) {
					server := start(t, serverQt, "server-script", family.listen(t))
					server.send(t, "listen")
					client := start(t, clientQt, "client-script", server.expect(t, "listening "))
					testConversation(t, server, client)
				})
			})
		})
	}
}

// testConversation holds one conversation between two scripts, with most of their commands.
func testConversation(t *testing.T, server, client *peer) {
	client.send(t, "connect")
	client.expect(t, "connected")
	server.expect(t, "newConnection")
	wantResult(t, server, "next", "1")
	wantResult(t, server, "next", "none")

	wantResult(t, client, "write-line hello", "6")
	server.expect(t, "readyRead 6")
	wantResult(t, server, "readline", `6 hello\n`)
	server.send(t, "write 300\nflush") // in one piece: the event loop must not send what flush is to send
	server.expect(t, "= flush true")
	client.expect(t, "readyRead 300")
	if got := client.do(t, "read 300"); unescape(t, got) != "300 "+string(pattern(300)) {
		t.Errorf("read 300: got %q", got)
	}
	wantResult(t, client, "wait-ready 10", "false")
	wantResult(t, client, "bytes", "0 0")

	wantResult(t, server, "disconnect", "0")
	client.expect(t, "disconnected")
	want := []string{"state 6", "state 0", "readChannelFinished", "disconnected"}
	if got := client.stdout.since("error 1"); !slices.Equal(got, want) {
		t.Errorf("after the peer's end: got signals %q, want %q", got, want)
	}
	wantResult(t, client, "state", "0")
	for _, p := range []*peer{client, server} {
		p.send(t, "quit")
	}
	wantDone(t, client, server)
}

func TestPeerTalksToPlainNet(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		t.Run("as server", func(t *testing.T) {
			for _, fortune := range fortunes {
				server := startPeer(t, major, nil, "local-fortune-server", socketPath(t), "--text", fortune.text, "--count", "1")
				got := readAll(t, dial(t, server.expect(t, "listening ")))
				if want := qstring(fortune.text); !bytes.Equal(got, want) {
					t.Errorf("%s: got % x, want % x", fortune.name, head(got), head(want))
				}
				wantDone(t, server)
			}
		})
		t.Run("as client", func(t *testing.T) {
			for _, fortune := range fortunes {
				l := listen(t)
				client := startPeer(t, major, nil, "local-fortune-client", l.Addr().String())
				c := accept(t, l)
				// In two pieces, so that the client's transaction has to begin again.
				b := qstring(fortune.text)
				for _, piece := range [][]byte{b[:3], b[3:]} {
					if _, err := c.Write(piece); err != nil {
						t.Fatal(err)
					}
				}
				c.Close()
				if got := unescape(t, client.expect(t, "fortune ")); got != fortune.text {
					t.Errorf("%s: got %.100q", fortune.name, got)
				}
				wantDone(t, client)
			}
		})
		t.Run("echo", func(t *testing.T) {
			server := startPeer(t, major, nil, "local-echo-server", socketPath(t), "--count", "1")
			c := dial(t, server.expect(t, "listening "))
			sent := pattern(threeMiB)
			go c.Write(sent)
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("the echo differs (%v)", err)
			}
			c.Close()
			wantDone(t, server)
		})
		t.Run("incomplete fortune", func(t *testing.T) {
			l := listen(t)
			client := startPeer(t, major, nil, "local-fortune-client", l.Addr().String())
			c := accept(t, l)
			c.Write(qstring("cut short")[:9])
			c.Close()
			client.expect(t, "not one fortune")
			wantExit(t, client, 1)
		})
	})
}

func TestPeerSaysWhyItCannotConnect(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		client := startPeer(t, major, nil, "local-recv", socketPath(t))
		client.expect(t, "error 2 QLocalSocket::connectToServer: Invalid name")
		wantExit(t, client, 1)
	})
}

func TestPeerRemovesItsSocketUnlessKilled(t *testing.T) {
	tests := []struct {
		name   string
		end    func(p *peer)
		remain bool
	}{
		{"end of stdin", func(p *peer) { p.stdin.Close() }, false},
		{"SIGTERM", func(p *peer) { p.cmd.Process.Signal(syscall.SIGTERM) }, false},
		{"crash", (*peer).kill, true},
	}
	eachQt(t, func(t *testing.T, major int) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				path := socketPath(t)
				server := startPeer(t, major, nil, "local-echo-server", path, "--access", "user")
				if got := server.expect(t, "listening "); got != path {
					t.Errorf("listening on %q, want %q", got, path)
				}
				if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o700 {
					t.Errorf("the socket is %v (%v), want mode 0700", fi, err)
				}
				test.end(server)
				server.wait()
				if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) == test.remain {
					t.Errorf("afterwards the socket's file: %v", err)
				}
			})
		}
	})
}

func TestPeerFindsBareNamesInTMPDIR(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		dir, name := shortDir(t), bareName()
		server := startPeer(t, major, []string{"TMPDIR=" + dir}, "local-echo-server", name+"-ü")
		if got, want := server.expect(t, "listening "), filepath.Join(dir, name+"-ü"); got != want {
			t.Errorf("listening on %q, want %q", got, want)
		}
		if _, err := os.Stat(filepath.Join(dir, name+"-ü")); err != nil {
			t.Error(err)
		}
	})
}

func TestPeerAbstractNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has abstract names")
	}
	name := bareName()
	old := startPeer(t, 5, nil, "local-echo-server", name, "--abstract")
	wantExit(t, old, 77)

	server := startPeer(t, 6, nil, "local-fortune-server", name, "--abstract", "--text", "here", "--count", "2")
	server.expect(t, "listening "+name)
	client := startPeer(t, 6, nil, "local-fortune-client", name, "--abstract")
	client.expect(t, "fortune here")
	if got := readAll(t, dial(t, "@"+name)); !bytes.Equal(got, qstring("here")) {
		t.Errorf("got % x", got)
	}
	wantDone(t, client, server)
}

func TestPeerVersionIsItsQt(t *testing.T) {
	eachQt(t, func(t *testing.T, major int) {
		p := startPeer(t, major, nil, "--version")
		p.expect(t, fmt.Sprintf("%d.", major))
		wantDone(t, p)
	})
}

func dial(t testing.TB, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func listen(t testing.TB) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketPath(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.SetDeadline(time.Now().Add(patience))
	return l
}

func accept(t testing.TB, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// head is enough of b for a failure's message.
func head(b []byte) []byte { return b[:min(len(b), 64)] }

func wantSummary(t testing.TB, got string) {
	t.Helper()
	if want := summary(pattern(threeMiB)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func wantResult(t testing.TB, p *peer, command, want string) {
	t.Helper()
	if got := p.do(t, command); got != want {
		t.Errorf("%s: %s: got %q, want %q", p.title, command, got, want)
	}
}

func wantDone(t testing.TB, peers ...*peer) {
	t.Helper()
	for _, p := range peers {
		if err := p.wait(); err != nil {
			t.Errorf("%s: %v", p.title, err)
		}
	}
}

func wantExit(t testing.TB, p *peer, status int) {
	t.Helper()
	var exit *exec.ExitError
	if err := p.wait(); !errors.As(err, &exit) || exit.ExitCode() != status {
		t.Errorf("%s: ended with %v, want status %d", p.title, err, status)
	}
}
