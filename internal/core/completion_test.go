package core

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/sock"

	"golang.org/x/net/nettest"
)

// A fakeDevice is one end of a connection in memory. As on Windows, little of what is sent is taken at once; the rest is, when the peer has
// read it.
type fakeDevice struct {
	mu    *sync.Mutex // of both ends
	peer  *fakeDevice
	took  []byte // what has arrived
	ready func()
	left  []byte // what is being sent
	size  int
	done  func(int, error)
	shut  bool
}

func newFakeDevices() (a, b *fakeDevice) {
	mu := new(sync.Mutex)
	a, b = &fakeDevice{mu: mu}, &fakeDevice{mu: mu}
	a.peer, b.peer = b, a
	return a, b
}

const fakeRoom = 1000

func (d *fakeDevice) Recv(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := copy(p, d.took)
	d.took = d.took[n:]
	d.peer.push()
	switch {
	case n > 0:
		return n, nil
	case d.peer.shut:
		return 0, io.EOF
	}
	return 0, nil
}

// push moves what is being sent to the peer, as far as there is room. mu held.
func (d *fakeDevice) push() {
	if d.done == nil {
		return
	}
	n := min(len(d.left), fakeRoom-len(d.peer.took))
	d.peer.took = append(d.peer.took, d.left[:n]...)
	d.left = d.left[n:]
	if len(d.left) == 0 {
		go d.done(d.size, nil)
		d.done = nil
	}
	if n > 0 {
		d.peer.tell()
	}
}

// tell says that there is something to receive. mu held.
func (d *fakeDevice) tell() {
	if d.ready != nil {
		go d.ready()
		d.ready = nil
	}
}

func (d *fakeDevice) Arm(ready func()) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.took) > 0 || d.peer.shut {
		return true, nil
	}
	if d.ready != nil {
		panic("armed twice")
	}
	d.ready = ready
	return false, nil
}

func (d *fakeDevice) Send(p []byte, done func(int, error)) (int, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.done != nil:
		panic("two at a time")
	case d.peer.shut:
		return 0, false, io.ErrClosedPipe
	}
	d.left, d.size, d.done = p, len(p), done
	d.push()
	return 0, true, nil
}

func (d *fakeDevice) Whole() error      { return errors.ErrUnsupported }
func (d *fakeDevice) CloseRead() error  { return errors.ErrUnsupported }
func (d *fakeDevice) CloseWrite() error { return errors.ErrUnsupported }
func (d *fakeDevice) Fd() uintptr       { return noHandle }

func (d *fakeDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	d.tell()
	d.peer.tell()
	for _, end := range []*fakeDevice{d, d.peer} {
		if end.done != nil {
			go end.done(0, io.ErrClosedPipe)
			end.done = nil
		}
	}
	return nil
}

// A fakeConn is a Socket as a net.Conn.
type fakeConn struct{ *Socket }

func (fakeConn) LocalAddr() net.Addr  { return fakeEnd{} }
func (fakeConn) RemoteAddr() net.Addr { return fakeEnd{} }

func (c fakeConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

type fakeEnd struct{}

func (fakeEnd) Network() string { return "fake" }
func (fakeEnd) Addr() net.Addr  { return nil }
func (fakeEnd) String() string  { return "fake" }

// A Socket over what tells of completions is what net.Conn promises.
func TestCompletionTransportConforms(t *testing.T) {
	for name, listen := range map[string]bool{"alone": false, "with callbacks": true} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b := newFakeDevices()
				var ends []fakeConn
				for _, dev := range []*fakeDevice{a, b} {
					s := new(Socket)
					if err := s.Adopt("adopt", fakeEnd{}, NewCompletionTransport(dev), sock.ReadWrite); err != nil {
						return nil, nil, nil, err
					}
					if listen {
						s.OnReadyRead(func() {})
						s.OnDisconnected(func() {})
					}
					ends = append(ends, fakeConn{s})
				}
				return ends[0], ends[1], func() { ends[0].Close(); ends[1].Close() }, nil
			})
		})
	}
}

// What nobody reads is told of once for each arrival, and makes the peer wait when it is much.
func TestCompletionTransportTellsOfEachArrivalOnce(t *testing.T) {
	a, b := newFakeDevices()
	tr := NewCompletionTransport(b)
	defer tr.Close()
	in, _ := tr.Pollers()
	looks := make(chan struct{}, 1000)
	end := make(chan error, 1)
	go func() {
		end <- in.Wait(func(uintptr) bool {
			looks <- struct{}{}
			return false
		})
	}()
	<-looks
	from := NewCompletionTransport(a)
	defer from.Close()
	sent := 0
	_, out := from.Pollers()
	for chunk := make([]byte, 8<<10); sent < maxHeld; {
		if err := out.Wait(func(uintptr) bool {
			n, err := from.Write(chunk)
			if err != nil && err != ErrAgain {
				t.Error(err)
			}
			sent += n
			return err != ErrAgain
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := from.Write(make([]byte, 10_000)); n != 0 || err != ErrAgain {
		t.Errorf("with the peer full: %d, %v; want that it would wait", n, err)
	}
	if unread, ended, err := tr.Query(); unread != maxHeld || ended || err != nil {
		t.Errorf("%d bytes are unread, ended %v, %v; want %d", unread, ended, err, maxHeld)
	}
	if n := len(looks); n > 300 { // it arrives in 66 parts
		t.Errorf("who waits has been told %d times", n)
	}
	tr.Close()
	if err := <-end; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the wait: %v", err)
	}
}

// A deafDevice never tells: what it had to tell of was taken by somebody else before.
type deafDevice struct {
	Device
	armed   chan struct{}
	arrived chan []byte
}

func (d *deafDevice) Recv(p []byte) (int, error) {
	select {
	case b := <-d.arrived:
		return copy(p, b), nil
	default:
		return 0, nil
	}
}

func (d *deafDevice) Arm(func()) (bool, error) {
	close(d.armed)
	return false, nil
}

func (d *deafDevice) Close() error { return nil }

// Who only asks what has arrived takes it from the device: whoever waits there is told.
func TestCompletionQueryTellsWhoWaits(t *testing.T) {
	dev := &deafDevice{armed: make(chan struct{}), arrived: make(chan []byte, 1)}
	c := NewCompletionTransport(dev)
	in, _ := c.Pollers()
	read := make(chan int, 1)
	go in.Wait(func(uintptr) bool {
		n, _ := c.Read(make([]byte, 10))
		if n > 0 {
			read <- n
		}
		return n > 0
	})
	<-dev.armed
	dev.arrived <- []byte("hello")
	if n, _, err := c.Query(); n != 5 || err != nil {
		t.Errorf("%d bytes are unread, %v; want 5", n, err)
	}
	select {
	case n := <-read:
		if n != 5 {
			t.Errorf("%d bytes were read; want 5", n)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody has told who waits")
	}
	c.Close()
}

// A Write of nothing has nothing to wait for.
func TestCompletionWriteOfNothing(t *testing.T) {
	a, _ := newFakeDevices()
	s := new(Socket)
	if err := s.Adopt("adopt", fakeEnd{}, NewCompletionTransport(a), sock.ReadWrite); err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	s.SetWriteDeadline(time.Now().Add(time.Millisecond))
	if _, err := s.Write(make([]byte, 5000)); !errors.Is(err, os.ErrDeadlineExceeded) { // it is being sent
		t.Fatal(err)
	}
	s.SetWriteDeadline(time.Time{})
	if n, err := s.Write(nil); n != 0 || err != nil {
		t.Errorf("Write(nil): %d, %v", n, err)
	}
}

// adopted returns a Socket at one end of a connection in memory, with its device, and what is at the other.
func adopted(t *testing.T) (*Socket, *fakeDevice, *completionTransport) {
	t.Helper()
	a, b := newFakeDevices()
	s, peer := new(Socket), NewCompletionTransport(b)
	if err := s.Adopt("adopt", fakeEnd{}, NewCompletionTransport(a), sock.ReadWrite); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Abort()
		peer.Close()
	})
	return s, a, peer.(*completionTransport)
}

// writing starts a Write that has to wait, of 5000 times "w", and returns where its result comes.
func writing(t *testing.T, s *Socket) <-chan int {
	t.Helper()
	wrote := sockettest.Go(func() int { n, _ := s.Write(bytes.Repeat([]byte("w"), 5000)); return n })
	sockettest.Eventually(t, "the Write waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.flow != nil && s.flow.out.led
	})
	return wrote
}

// drain returns all that comes from a connection until it ends.
func drain(tr *completionTransport) <-chan []byte {
	return sockettest.Go(func() (all []byte) {
		in, _ := tr.Pollers()
		in.Wait(func(uintptr) bool {
			for p := make([]byte, 4096); ; {
				n, err := tr.Read(p)
				all = append(all, p[:n]...)
				if err != nil {
					return err != ErrAgain
				}
			}
		})
		return all
	})
}

// A Write that Disconnect ends leaves bytes under way, which do not count as those of WriteBuffered: all of these still go.
func TestCompletionDisconnectDuringAWriteKeepsWhatIsBuffered(t *testing.T) {
	for _, n := range []int{10, 8000} { // less than is under way, and more
		s, _, peer := adopted(t)
		wrote := writing(t, s)
		tail := bytes.Repeat([]byte("b"), n)
		if _, err := s.WriteBuffered(tail); err != nil {
			t.Fatal(err)
		}
		s.Disconnect()
		written := sockettest.Done(t, "the Write ends", wrote)
		got := sockettest.Done(t, "the connection ends", drain(peer))
		if want := append(bytes.Repeat([]byte("w"), written), tail...); !bytes.Equal(got, want) {
			t.Errorf("the peer has got %d bytes, %d of them buffered; want %d and %d", len(got), bytes.Count(got, []byte("b")), len(want), n)
		}
	}
}

// So do bytes that a callback writes when the Write has ended already.
func TestCompletionDisconnectDuringAWriteKeepsWhatACallbackWrites(t *testing.T) {
	s, _, peer := adopted(t)
	ended := make(chan struct{})
	s.OnStateChanged(func(state sock.State) {
		if state == sock.ClosingState {
			sockettest.Done(t, "the Write has ended", ended)
			s.WriteBuffered([]byte("tail"))
		}
	})
	wrote := writing(t, s)
	go func() {
		<-wrote
		close(ended)
	}()
	s.Disconnect()
	if got := sockettest.Done(t, "the connection ends", drain(peer)); !bytes.HasSuffix(got, []byte("wtail")) {
		t.Errorf("the peer has got %d bytes, and not the last ones", len(got))
	}
}

// What a Write has under way keeps nothing open once the connection is not wanted any more.
func TestCompletionEndDuringAWriteClosesTheDevice(t *testing.T) {
	for name, end := range map[string]func(s *Socket, ended <-chan int){
		"Close": func(s *Socket, _ <-chan int) { s.Close() },
		"Close, with a callback": func(s *Socket, ended <-chan int) {
			s.OnStateChanged(func(sock.State) { <-ended })
			s.Close()
		},
		"Disconnect and Abort": func(s *Socket, ended <-chan int) {
			s.WriteBuffered([]byte("tail"))
			s.Disconnect()
			<-ended
			s.Abort()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dev, _ := adopted(t)
			wrote, ended := writing(t, s), make(chan int)
			go func() {
				<-wrote
				close(ended)
			}()
			end(s, ended)
			dev.mu.Lock()
			defer dev.mu.Unlock()
			if !dev.shut {
				t.Error("the device is open still")
			}
		})
	}
}

// A handleDevice has a handle.
type handleDevice struct{ *fakeDevice }

func (handleDevice) Fd() uintptr { return 42 }

func TestCompletionRawConnTellsTheHandle(t *testing.T) {
	a, _ := newFakeDevices()
	s := new(Socket)
	if err := s.Adopt("adopt", fakeEnd{}, NewCompletionTransport(handleDevice{a}), sock.ReadWrite); err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(func(uintptr) bool) error{
		"Control": func(f func(uintptr) bool) error { return raw.Control(func(fd uintptr) { f(fd) }) },
		"Read":    raw.Read,
		"Write":   raw.Write,
	} {
		if err := call(func(fd uintptr) bool {
			if fd != 42 {
				t.Errorf("%s tells %#x", name, fd)
			}
			return true
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
