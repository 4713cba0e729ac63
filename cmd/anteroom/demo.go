package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os/exec"
	"sync/atomic"
	"time"

	"anteroom/datastream"
	"anteroom/local"
	"anteroom/sock"
	"anteroom/tcp"
)

const helpDemo = `See a server and its clients at work: what this program and its library are about

Usage: anteroom demo

A server listens on a name that nobody else uses, and clients come: in Go's
words, in Qt's, and more of them than are let in at once. One listens on a TCP
port of this machine, too. Each event is shown as it happens. What they speak is
Qt's fortune protocol, so Qt's own example clients would understand it. It ends
by itself, and leaves nothing behind.

In a terminal it has colours, unless NO_COLOR is set.

Example:
  $ anteroom demo
`

// demoLimit ends a demo that does not get on.
const demoLimit = 30 * time.Second

func runDemo(w *world, args []string) error {
	operands, err := newFlagSet("demo").parse(args)
	if err != nil {
		return err
	}
	if len(operands) > 0 {
		return usage("it takes no argument, and is given %q", operands[0])
	}
	caught, stop := w.signals()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), demoLimit)
	defer cancel()

	d := &demo{ctx: ctx, stage: newStage(w.stdout), name: "anteroom-demo-" + rand.Text()[:6]}
	result := make(chan error, 1)
	go func() { result <- d.play() }()
	select {
	case err = <-result:
	case sig := <-caught:
		stop() // a second one ends the process, whatever it waits for
		cancel()
		<-result // nothing is left behind
		return signalled(sig)
	}
	if err == nil {
		err = d.err
		return outputError(err)
	}
	return fail(err)
}

// A demo is a play in five acts, of one server after the other. All but the one with a port have the same name.
type demo struct {
	ctx context.Context
	*stage
	name string
	told int
}

func (d *demo) play() error {
	d.title("anteroom demo: servers that are reached by a name, or by a port")
	for _, act := range []struct {
		title, about string
		play         func() error
	}{
		{"In Go's words", "The server is a net.Listener and the client a net.Conn. What they speak is Qt's fortune protocol: " +
			"one QString, then the server hangs up.", d.inGo},
		{"In Qt's words", "The same two, with signals in place of waiting. The string is sent in two pieces; " +
			"a transaction reads it whole, or not at all.", d.inQt},
		{"By a port", "TCP differs in its addresses alone. The server speaks Qt's words here, and the client Go's: " +
			"each object has both, to be mixed as one likes.", d.byPort},
		{"The anteroom", "A server accepts ahead, up to a limit, which is 2 here. Those wait until the server takes them; " +
			"whoever comes when the room is full waits outside, in the system's queue.", d.waiting},
		{"Nobody home", "A closed server leaves no file. An error has a code, in Qt's words, and a cause, in Go's.", d.absent},
	} {
		d.part(act.title, act.about)
		if err := act.play(); err != nil {
			return err
		}
		if err := d.ctx.Err(); err != nil {
			return err
		}
	}
	d.end()
	return nil
}

// fortunes are what the server tells, in this order.
var fortunes = []string{
	"The shortest way to a house is its name.",
	"Half a sentence is no news.",
	"Knock once, and then trust the door.",
	"A full queue is patience, standing up.",
	"Nobody makes tea by polling the kettle.",
	"Close gently: somebody may be speaking.",
	"A name is an address without a street.",
	"Every port has a lighthouse: a number.",
}

func (d *demo) fortune() string {
	d.told++
	return fortunes[(d.told-1)%len(fortunes)]
}

// inGo is a server and a client as every Go program knows them.
func (d *demo) inGo() error {
	srv, err := local.Listen(d.name)
	if err != nil {
		return err
	}
	defer srv.Close()
	d.event("server", "listening", "on %s", srv.FullServerName())

	served := make(chan error, 1)
	go func() {
		conn, err := srv.AcceptContext(d.ctx)
		if err != nil {
			served <- err
			return
		}
		d.event("server", "Accept", "%s", from(conn))
		served <- d.tell(conn)
	}()
	conn, err := local.DialContext(d.ctx, d.name)
	if err != nil {
		return err
	}
	d.event("client", "Dial", "connected")
	if err := d.hear("client", conn); err != nil {
		return err
	}
	d.event("client", "Read", "io.EOF: the server has hung up")
	return errors.Join(<-served, srv.Close())
}

// from says who has connected.
func from(conn *local.Socket) string {
	if who := peerWords(conn); who != "" {
		return "from " + who
	}
	return "somebody has come"
}

// tell sends a fortune and closes the connection, as every net.Conn can.
func (d *demo) tell(conn net.Conn) error {
	defer conn.Close()
	var n counter
	out := datastream.NewWriter(io.MultiWriter(conn, &n))
	out.String(d.fortune())
	if err := out.Flush(); err != nil {
		return err
	}
	d.event("server", "Write, Close", "%d bytes: a length, and UTF-16", n)
	return nil
}

type counter int

func (n *counter) Write(p []byte) (int, error) { *n += counter(len(p)); return len(p), nil }

// hear reads a fortune, and the end.
func (d *demo) hear(who string, conn conn) error {
	defer conn.Close()
	defer context.AfterFunc(d.ctx, conn.Abort)()
	in := datastream.NewReader(conn)
	text := in.String()
	if err := in.Err(); err != nil {
		return err
	}
	d.said(who, "Read", text)
	if _ = in.Bool(); in.Err() != io.EOF {
		return fmt.Errorf("after the fortune: %w", in.Err())
	}
	return nil
}

// inQt is a server and a client as every Qt program knows them.
func (d *demo) inQt() error {
	var message bytes.Buffer
	out := datastream.NewWriter(&message)
	out.String(d.fortune())
	if err := out.Flush(); err != nil {
		return err
	}
	first, rest := message.Bytes()[:message.Len()/2], message.Bytes()[message.Len()/2:]

	srv := new(local.Server)
	taken := make(chan *local.Socket, 1)
	serverEnd := make(chan struct{})
	srv.OnNewConnection(func() {
		d.event("server", "newConnection", "pending: 1")
		conn := srv.NextPendingConnection()
		d.event("server", "taken", "by NextPendingConnection")
		conn.OnBytesWritten(func(n int64) { d.event("server", "bytesWritten", "%d", n) })
		conn.OnDisconnected(func() {
			d.event("server", "disconnected", "all is sent")
			close(serverEnd)
		})
		conn.WriteBuffered(first)
		taken <- conn
	})
	if err := srv.Listen(d.name); err != nil {
		return err
	}
	defer srv.Close()
	d.event("server", "listening", "on %s", srv.FullServerName())

	client := new(local.Socket)
	defer client.Abort()
	half, clientEnd := make(chan struct{}), make(chan struct{})
	var some bool
	in := datastream.NewReader(datastream.ReaderFunc(client.ReadAvailable))
	client.OnStateChanged(func(st sock.State) { d.event("client", "stateChanged", "%v", st) })
	client.OnConnected(func() { d.event("client", "connected", "to %s", client.FullServerName()) })
	client.OnReadyRead(func() {
		n := client.BytesAvailable()
		in.StartTransaction()
		text := in.String()
		switch {
		case in.CommitTransaction():
			d.event("client", "readyRead", "%d bytes: the rest, committed", n)
			d.said("client", "", text)
		case in.Err() == nil && !some:
			some = true
			d.event("client", "readyRead", "%d bytes: half a string, rolled back", n)
			close(half)
		}
	})
	client.OnErrorOccurred(func(e sock.SocketError) { d.event("client", "errorOccurred", "%s: the usual end", e.Name()) })
	client.OnDisconnected(func() {
		d.event("client", "disconnected", "nothing is left open")
		close(clientEnd)
	})
	if err := client.ConnectToServer(d.name, sock.ReadOnly); err != nil {
		return err
	}

	if !d.await(half) {
		return d.ctx.Err()
	}
	conn := <-taken
	defer conn.Abort()
	conn.WriteBuffered(rest)
	conn.DisconnectFromServer() // once the rest is sent
	if !d.await(serverEnd) || !d.await(clientEnd) {
		return d.ctx.Err()
	}
	return srv.Close()
}

// byPort is a server that other machines can reach, too, if it listens on another address than this one.
func (d *demo) byPort() error {
	srv := new(tcp.Server)
	told := make(chan error, 1)
	srv.OnNewConnection(func() {
		conn := srv.NextPendingConnection()
		d.event("server", "newConnection", "from %s, port %d", conn.PeerAddress(), conn.PeerPort())
		told <- d.tell(conn)
	})
	if err := srv.Listen(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0); err != nil {
		return err
	}
	defer srv.Close()
	d.event("server", "listening", "on %s, port %d, which the system chose", srv.ServerAddress(), srv.ServerPort())

	conn, err := tcp.DialContext(d.ctx, srv.Addr().String())
	if err != nil {
		return err
	}
	d.event("client", "Dial", "connected")
	if err := d.hear("client", conn); err != nil {
		return err
	}
	d.event("client", "Read", "io.EOF: the server has hung up")
	return errors.Join(<-told, srv.Close())
}

// waiting is what the library is named after.
func (d *demo) waiting() error {
	const room = 2
	srv := new(local.Server)
	srv.SetMaxPendingConnections(room)
	came := make(chan struct{}, len(fortunes))
	var pending atomic.Int32
	srv.OnNewConnection(func() {
		d.event("server", "newConnection", "pending: %d", pending.Add(1))
		came <- struct{}{}
	})
	if err := srv.Listen(d.name); err != nil {
		return err
	}
	defer srv.Close()
	d.event("server", "listening", "on %s", srv.FullServerName())

	var clients []*local.Socket
	for i := range room + 1 {
		conn, err := local.DialContext(d.ctx, d.name)
		if err != nil {
			return err
		}
		defer conn.Close()
		clients = append(clients, conn)
		if i == room {
			d.event(client(i), "Dial", "connected, but has to wait outside")
			break
		}
		d.event(client(i), "Dial", "connected")
		if !d.await(came) {
			return d.ctx.Err()
		}
	}
	for i, conn := range clients {
		if err := srv.WaitForNewConnection(demoLimit); err != nil {
			return err
		}
		d.event("server", "taken", "%s; pending: %d", client(i), pending.Add(-1))
		c := srv.NextPendingConnection() // which lets the next one in
		if i == 0 && !d.await(came) {
			return d.ctx.Err()
		}
		if err := d.tell(c); err != nil {
			return err
		}
		if err := d.hear(client(i), conn); err != nil {
			return err
		}
	}
	d.event("server", "Close", "pending: %d", pending.Load())
	return srv.Close()
}

func client(i int) string { return fmt.Sprintf("client %d", i+1) }

// absent is a client that comes when the server has gone.
func (d *demo) absent() error {
	client := new(local.Socket)
	client.OnStateChanged(func(st sock.State) { d.event("client", "stateChanged", "%v", st) })
	client.OnErrorOccurred(func(e sock.SocketError) { d.event("client", "errorOccurred", "%s", e.Name()) })
	err := client.ConnectToServer(d.name, 0)
	if err == nil {
		client.Abort()
		return errors.New("somebody else answers to the demo's name")
	}
	d.event("client", "Err", "%v", err)
	d.event("client", "errors.Is", "local.ServerNotFoundError: %t", errors.Is(err, local.ServerNotFoundError))
	d.event("client", "errors.Is", "fs.ErrNotExist: %t", errors.Is(err, fs.ErrNotExist))
	return nil
}

// await waits for a message, and reports whether it came before the demo has to end.
func (d *demo) await(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-d.ctx.Done():
		return false
	}
}

// end says how to go on.
func (d *demo) end() {
	d.title("Try next")
	d.advice("anteroom serve fortune -- date", "a process for each connection…")
	d.advice("anteroom connect fortune", "…and a client, in another terminal")
	d.advice("anteroom bridge tcp::4711 fortune", "who only knows TCP comes in, too")
	d.advice("anteroom help", "all commands, and what an address is")
	d.advice("go doc anteroom/local", "what the library has; anteroom/tcp is alike")
	if _, err := exec.LookPath("anteroom"); err != nil {
		d.advice("go install ./cmd/anteroom", "puts the command where the shell finds it")
	}
}
