package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"anteroom/cmd/anteroom/internal/load"
	"anteroom/local"
	"anteroom/loop"
	"anteroom/sock"
	"anteroom/tcp"
)

// A selfKind is a kind of server that --self measures.
type selfKind struct {
	transport string // local or tcp
	style     string // blocking or loops
	sink      bool   // it throws away what comes, instead of sending it back
}

var selfKinds = []selfKind{{"local", "blocking", false}, {"local", "loops", false}, {"tcp", "blocking", false}, {"tcp", "loops", false}}

func (k selfKind) String() string { return fmt.Sprintf("%s,%s,%t", k.transport, k.style, k.sink) }

func (k *selfKind) set(s string) error {
	words := strings.Split(s, ",")
	if len(words) == 3 {
		*k = selfKind{words[0], words[1], words[2] == "true"}
		plain := *k
		plain.sink = false
		for _, known := range selfKinds {
			if plain == known {
				return nil
			}
		}
	}
	return fmt.Errorf("%q is no server of --self", s)
}

// What the server's process says on stdout, and is asked on stdin, a line each. It ends with its stdin, also when the process that measures
// was killed.
const (
	selfListening   = "listening on "
	selfUnsupported = "unsupported" // this system's loops take no sockets
	selfCPU         = "cpu"
)

// serveSelf is the server's process of --self.
func serveSelf(w *world, k selfKind) error {
	signal.Ignore(os.Interrupt) // a terminal's ^C is for the process that measures, which ends this one
	s, err := startSelf(k)
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintln(w.stdout, selfUnsupported)
		return nil
	}
	if err != nil {
		return fail(err)
	}
	defer s.close()
	fmt.Fprintln(w.stdout, selfListening+servedAt(s.srv))
	for in := bufio.NewScanner(w.stdin); in.Scan(); {
		if in.Text() == selfCPU {
			t, ok := load.CPUTime()
			if !ok {
				t = -1
			}
			fmt.Fprintln(w.stdout, int64(t))
		}
	}
	return nil
}

// A selfServer serves in a process of its own.
type selfServer struct {
	srv   server
	loops *loop.Group // nil: blocking
	all   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // of a blocking one; nil: it is closed
}

func startSelf(k selfKind) (s *selfServer, err error) {
	s = &selfServer{conns: make(map[net.Conn]bool)}
	if k.style == "loops" {
		if s.loops, err = loop.NewGroup(0); err != nil {
			return nil, err
		}
	}
	if k.transport == "local" {
		srv := new(local.Server)
		s.srv = srv
		if s.loops != nil {
			h := newLoopEcho[*local.Socket](k.sink)
			srv.SetLoops(s.loops)
			srv.SetHandler(local.Handler{ReadyRead: h.readyRead, BytesWritten: h.bytesWritten})
			srv.OnNewConnection(func() { takeAll(srv.NextPendingConnection) })
		}
		srv.SetSocketOptions(local.UserAccessOption)
		err = srv.Listen("anteroom-bench-" + strings.ToLower(rand.Text()[:8]))
	} else {
		srv := new(tcp.Server)
		s.srv = srv
		if s.loops != nil {
			h := newLoopEcho[*tcp.Socket](k.sink)
			srv.SetLoops(s.loops)
			srv.SetHandler(tcp.Handler{ReadyRead: h.readyRead, BytesWritten: h.bytesWritten})
			srv.OnNewConnection(func() { takeAll(srv.NextPendingConnection) })
		}
		err = srv.Listen(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	if err != nil {
		if s.loops != nil {
			s.loops.Close()
		}
		return nil, err
	}
	if s.loops != nil {
		s.all.Go(func() { s.loops.Run(context.Background()) })
	} else {
		s.all.Go(func() { s.accept(k.sink) })
	}
	return s, nil
}

// takeAll takes what is pending.
func takeAll[C comparable](next func() C) {
	var none C
	for next() != none {
	}
}

// accept serves each connection with a goroutine.
func (s *selfServer) accept(sink bool) {
	for {
		c, err := s.srv.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.conns == nil {
			c.Close()
		} else {
			s.conns[c] = true
			s.all.Go(func() { s.serve(c, sink) })
		}
		s.mu.Unlock()
	}
}

func (s *selfServer) serve(c net.Conn, sink bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err == nil && !sink {
			_, err = c.Write(buf[:n])
		}
		if err != nil {
			break
		}
	}
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// close ends the server and its connections.
func (s *selfServer) close() {
	s.srv.Close()
	if s.loops != nil {
		s.loops.Close()
	}
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.all.Wait()
}

// A loopConn is a connection that lives on a loop.
type loopConn interface {
	ReadAvailable([]byte) (int, error)
	WriteBuffered([]byte) (int, error)
	BytesToWrite() int64
}

// A loopEcho is what the connections of a server on loops do.
type loopEcho[C loopConn] struct {
	sink    bool
	buffers sync.Pool
}

func newLoopEcho[C loopConn](sink bool) *loopEcho[C] {
	return &loopEcho[C]{sink, sync.Pool{New: func() any { return new([64 << 10]byte) }}}
}

// tooMuch is how much may wait to be sent back to a client that does not read, before nothing more is read from it.
const tooMuch = 1 << 20

func (e *loopEcho[C]) readyRead(c C) {
	if !e.sink && c.BytesToWrite() > tooMuch {
		return // bytesWritten goes on
	}
	buf := e.buffers.Get().(*[64 << 10]byte)
	n, _ := c.ReadAvailable(buf[:])
	if n > 0 && !e.sink {
		c.WriteBuffered(buf[:n])
	}
	e.buffers.Put(buf)
}

// bytesWritten reads what readyRead has left.
func (e *loopEcho[C]) bytesWritten(c C, _ int64) {
	if !e.sink && c.BytesToWrite() == 0 {
		e.readyRead(c)
	}
}

// A selfProcess is a server's process, seen from the one that measures.
type selfProcess struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // what it says; closed at its end
	at    address
}

// startProcess starts a server's process, and waits until it listens.
func startProcess(ctx context.Context, w *world, k selfKind) (*selfProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "bench", "--self-server="+k.String())
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = w.stderr
	setGroup(cmd)
	p := &selfProcess{cmd: cmd, lines: make(chan string, 1)}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	line, err := p.line(ctx)
	if err == nil && line == selfUnsupported {
		err = fmt.Errorf("%s: %w", k.style, errors.ErrUnsupported)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	at, ok := strings.CutPrefix(line, selfListening)
	if k.transport == "local" {
		at = localScheme + at // whatever it looks like
	}
	a, f := parseAddress(at, localName|tcpPort)
	if !ok || f != nil {
		p.stop()
		return nil, fmt.Errorf("the server's process said %q in place of where it listens", line)
	}
	p.at = a
	return p, nil
}

// line returns what the process says next.
func (p *selfProcess) line(ctx context.Context) (string, error) {
	limit := time.NewTimer(sock.DefaultWait)
	defer limit.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			return "", errors.New("the server's process has ended")
		}
		return line, nil
	case <-limit.C:
		return "", errors.New("the server's process does not answer")
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// cpuTime returns how long the process has computed, and asks it where the system does not say that: then it answers when it comes to it.
func (p *selfProcess) cpuTime() (time.Duration, error) {
	if t, ok := load.CPUTimeOf(p.cmd.Process.Pid); ok {
		return t, nil
	}
	if _, err := fmt.Fprintln(p.in, selfCPU); err != nil {
		return 0, err
	}
	line, err := p.line(context.Background())
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(line, 10, 64)
	if err == nil && n < 0 {
		err = errors.ErrUnsupported
	}
	return time.Duration(n), err
}

// stop ends the process, which removes what it has made; one that does not end is killed.
func (p *selfProcess) stop() {
	p.in.Close()
	kill := time.AfterFunc(sock.DefaultWait, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.lines {
	}
	p.cmd.Wait()
}

// measureSelf measures each kind of server in each mode, and prints what was measured, also if not all was.
func (b *bench) measureSelf(ctx context.Context) error {
	var all []*measured
	var failed error
	noLoops := false
	b.bar.of = len(b.o.modes) * len(selfKinds)
	for _, mode := range b.o.modes {
		for _, k := range selfKinds {
			if failed == nil && ctx.Err() == nil {
				m, err := b.measureKind(ctx, mode, k)
				switch {
				case errors.Is(err, errors.ErrUnsupported):
					noLoops = true
				case err != nil:
					failed = err
				default:
					all = append(all, m)
					failed = m.failure()
				}
			}
			b.bar.index++
		}
	}
	b.bar.clear()
	if noLoops {
		b.v.say("event loops take no sockets on this system")
	}
	print := printSelf
	if b.o.json {
		print = writeSelfJSON
	}
	if err := print(b.w.stdout, b.o.Config, all); err != nil {
		return outputError(err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return failed
}

func (b *bench) measureKind(ctx context.Context, mode load.Mode, k selfKind) (*measured, error) {
	k.sink = mode == load.Stream
	p, err := startProcess(ctx, b.w, k)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	o := b.o
	o.sizeFor(mode)
	d := &dialler{v: b.v, at: p.at, o: dialOptions{timeout: o.Timeout}}
	if err := d.prepare(ctx, mode); err != nil {
		return nil, err
	}
	defer d.close()
	cfg := o.Config
	cfg.Dial, cfg.ServerCPU, cfg.Progress = d.dial, p.cpuTime, b.bar.show
	b.bar.label = fmt.Sprintf("%s, %s, %s", mode, k.transport, k.style)
	res, err := load.Run(ctx, cfg)
	if err != nil {
		return nil, explainRun(ctx, err)
	}
	return &measured{address: p.at.String(), kind: k, cfg: cfg, res: res}, nil
}

// printSelf prints a table.
func printSelf(out io.Writer, cfg load.Config, all []*measured) error {
	if len(all) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %d CPUs, %s; %d connections%s, %v each; server CPU is for one operation\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), cfg.Connections, rateText(cfg.Rate), roundly(cfg.Duration))
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "MODE\tBYTES\tTRANSPORT\tSERVER\tRATE\tP50\tP90\tP99\tP99.9\tMAX\tSERVER CPU")
	for _, m := range all {
		r, l := m.res, m.res.Latency
		row := []string{string(m.cfg.Mode), strconv.Itoa(m.cfg.Size), m.kind.transport, m.kind.style, brief(r.PerSecond(r.Done)) + "/s",
			short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max), "-"}
		if m.cfg.Mode == load.Connect {
			row[1] = "-"
		}
		if m.cfg.Mode == load.Stream {
			row[4] = byteRate(r.PerSecond(r.Sent))
		}
		if !m.timed() {
			for i := 5; i < 10; i++ {
				row[i] = "-"
			}
		}
		if r.KnowsServer && r.Done > 0 {
			row[10] = short(r.ServerCPU / time.Duration(r.Done))
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
	_, err := io.WriteString(out, b.String())
	return err
}

// writeSelfJSON writes one object.
func writeSelfJSON(out io.Writer, _ load.Config, all []*measured) error {
	results := make([]benchObject, 0, len(all))
	for _, m := range all {
		results = append(results, m.object())
	}
	return writeJSON(out, struct {
		OS      string        `json:"os"`
		Arch    string        `json:"arch"`
		CPUs    int           `json:"cpus"`
		Go      string        `json:"go"`
		Results []benchObject `json:"results"`
	}{runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), results})
}
