package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const helpServe = `Serve a name or a port: a process for each connection, or stdin and stdout with
one client

Usage: anteroom serve [FLAG…] ADDRESS -- CMD [ARG…]
       anteroom serve [FLAG…] ADDRESS

With CMD, it is run for each connection, which is its stdin and its stdout.
Without CMD, one client is served: what it says goes to stdout, and stdin goes
to it; the end of either side is passed on; then serve ends.
` + helpPipes + `
For local names and TCP ports:
      --max-conns N         how many processes run at once (default 100); further
                            connections wait
      --once                serve one connection, and end with CMD's exit status
` + helpEndAfter + helpLimits + `  -q, --quiet               say nothing but errors
  -v, --verbose             say who connects, and how CMD ends

For local names:
` + helpAccess + `
For TCP ports:
` + helpListenProxy + `
The first line on stderr says where clients find the server: with tcp:HOST:0 the
system chooses the port. Without a HOST, a port is served on every address of
this machine.

` + helpActivated + `
CMD finds in its environment:
  ANTEROOM_SERVER_NAME    the name that is served, as connect takes it; of a port
                          tcp:ADDRESS:PORT; of a socket that was passed its path,
                          abstract name or port
  ANTEROOM_CONN_ID        the connection's number, from 1 on
  ANTEROOM_PEER_PID, ANTEROOM_PEER_UID, ANTEROOM_PEER_GID, ANTEROOM_PEER_SID
                          who has connected to a name, if the system says it; the
                          last one on Windows
  ANTEROOM_PEER_ADDRESS, ANTEROOM_PEER_PORT
                          who has connected to a port

At SIGINT, SIGTERM or SIGHUP serve stops listening and waits until the processes
that run have ended; a second signal kills them.

Example: each client is told who it is
  $ anteroom serve who -- sh -c 'echo "process $ANTEROOM_PEER_PID"' &
  $ anteroom connect --wait=5s who
  process 4711

Example: a file for whoever connects to port 8080 of this machine first
  $ anteroom serve tcp::8080 <file

Example: a server that is started by its first client
  $ systemd-socket-activate -l /tmp/echo anteroom serve systemd: -- cat
`

// serveOptions is what serve is told.
type serveOptions struct {
	listenOptions
	at       address
	maxConns int
	endAfter time.Duration // without a command: relay's
	command  []string      // nil: stdin and stdout
	program  string        // the file of command[0]
}

func runServe(w *world, args []string) error {
	v := &voice{w: w.stderr}
	o, err := parseServe(v, args)
	if err != nil {
		return err
	}
	caught, stop := w.signals() // before there is a file that has to be removed
	defer stop()
	srv, err := o.listenUnless(caught, v, o.at)
	if err != nil {
		return err
	}
	defer srv.Close()
	s := &serving{w: w, v: v, o: o, srv: srv, name: servedAt(srv), slots: make(chan struct{}, o.maxConns), running: make(map[*exec.Cmd]bool)}
	if o.at.kind == localName {
		s.name = o.at.operand()
	}
	defer o.followProxy(v, srv)()
	if o.command == nil {
		return orSignal(caught, s.oneClient)
	}
	return s.processes(caught)
}

func parseServe(v *voice, args []string) (o serveOptions, err error) {
	own, command, given := splitCommand(args)
	o = serveOptions{maxConns: 100, command: command}
	fs := newFlagSet("serve")
	o.listenOptions.flags(fs)
	fs.text("proxy", setProxy(&o.proxy))
	fs.number("max-conns", 1, &o.maxConns)
	fs.duration("end-after", &o.endAfter)
	fs.bool("q quiet", &v.quiet)
	fs.bool("v verbose", &v.verbose)
	operands, err := fs.parse(own)
	switch {
	case err != nil:
		return o, err
	case given && o.endAfter > 0:
		return o, usage("--end-after is for serving without a command, which ends by itself")
	case given && len(command) == 0:
		return o, usage("there is no command after --")
	case len(operands) > 1 && !given:
		return o, usage("one address is enough; a command follows --: serve %s -- %s", operands[0], strings.Join(operands[1:], " "))
	}
	if o.at, err = oneAddress(operands, toServe); err != nil {
		return o, err
	}
	if err := o.check(o.at); err != nil {
		return o, err
	}
	if !given {
		if f := o.at.checkBesideStdio(); f != nil {
			return o, f
		}
		o.once = true
		return o, nil
	}
	o.program, err = findProgram(command[0])
	return o, err
}

// findProgram returns the file of a program, or a failure with the status of which a shell would end.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, exec.ErrDot):
		return "", &failure{exitNotFound, err, []string{"write ./" + name + " to run the one in this directory"}}
	case errors.Is(err, exec.ErrNotFound) && !onPath(name), errors.Is(err, fs.ErrNotExist):
		return "", &failure{exitNotFound, fmt.Errorf("%s: there is no such command", name), nil}
	}
	return "", &failure{exitNotRunnable, fmt.Errorf("%s: it cannot be executed", name), nil}
}

// onPath reports whether there is a file of that name where commands are looked for; then it is not executable.
func onPath(name string) bool {
	return !strings.ContainsRune(name, filepath.Separator) && slices.ContainsFunc(filepath.SplitList(os.Getenv("PATH")), func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	})
}

// serving is a server at work.
type serving struct {
	w     *world
	v     *voice
	o     serveOptions
	srv   server
	name  string        // for CMD
	slots chan struct{} // as many as processes may run

	mu      sync.Mutex
	running map[*exec.Cmd]bool
	killed  bool // those that start now are killed, too
	lastID  int
	all     sync.WaitGroup
}

// oneClient serves one client with stdin and stdout.
func (s *serving) oneClient(ctx context.Context) error {
	c, err := accept(ctx, s.srv)
	if err != nil {
		return fail(err)
	}
	s.srv.Close()
	s.v.detail("connected%s", inBrackets(peerWords(c)))
	return converse(ctx, s.w, s.v, passEnds(c, false), s.o.endAfter)
}

// processes serves each connection with a process.
func (s *serving) processes(caught <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.accept(ctx) }()
	var sig os.Signal
	select {
	case err := <-result: // with once
		s.srv.Close()
		return err
	case sig = <-caught:
	}
	cancel()
	s.srv.Close()

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-result
		s.all.Wait()
	}()
	if n := s.count(); n > 0 {
		s.v.say("stopped listening, waiting for %d to end; a second signal kills", n)
	}
	select {
	case <-ended:
	case <-caught:
		s.kill()
		<-ended
	}
	return signalled(sig)
}

// accept starts processes until ctx ends, or, with once, one, whose end it waits for.
func (s *serving) accept(ctx context.Context) error {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := accept(ctx, s.srv)
		if err != nil {
			return fail(err)
		}
		if s.o.once {
			s.srv.Close()
			return s.serve(c)
		}
		s.all.Go(func() { s.serve(c) })
	}
}

// serve runs a process for a connection, and waits for its end. What goes wrong is said here, and ends nothing else; the error is for once.
func (s *serving) serve(c conn) error {
	defer func() { <-s.slots }()
	s.mu.Lock()
	s.lastID++
	id := s.lastID
	s.mu.Unlock()
	s.v.detail("connection %d%s", id, inBrackets(peerWords(c)))
	cmd, h, err := s.start(c, id)
	if err != nil {
		s.v.complain("connection %d: %v", id, err)
		return silent(exitPeer)
	}
	err = cmd.Wait()
	h.wait()
	s.mu.Lock()
	delete(s.running, cmd)
	s.mu.Unlock()
	releaseGroup(cmd)
	if cmd.ProcessState == nil {
		s.v.complain("connection %d: %v", id, err)
		return silent(exitPeer)
	}
	s.v.detail("connection %d: %v", id, cmd.ProcessState)
	return silent(exitStatus(cmd.ProcessState))
}

// start starts a process with a connection as its stdin and stdout. The connection is no longer the caller's, also after an error.
func (s *serving) start(c conn, id int) (*exec.Cmd, *handed, error) {
	cmd := exec.Command(s.o.program)
	cmd.Args = s.o.command
	cmd.Stderr = s.w.stderr
	cmd.Env = s.environ(c, id)
	setGroup(cmd)
	h, err := handOver(c, cmd)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err = errors.New("a signal has ended the server"); !s.killed {
		err = cmd.Start()
	}
	h.started(err == nil)
	if err != nil {
		return nil, nil, err
	}
	startGroup(cmd)
	s.running[cmd] = true
	return cmd, h, nil
}

// environ returns the environment of a connection's process. It says nothing about other connections, such as the one by which this
// program is served, and nothing that is secret.
func (s *serving) environ(c conn, id int) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ANTEROOM_PEER_") || strings.HasPrefix(v, passwordVariable+"=")
	})
	env = append(env, "ANTEROOM_SERVER_NAME="+s.name, fmt.Sprintf("ANTEROOM_CONN_ID=%d", id))
	l, ok := localSocket(c)
	if !ok {
		host, port, err := net.SplitHostPort(c.RemoteAddr().String())
		if err != nil {
			return env
		}
		return append(env, "ANTEROOM_PEER_ADDRESS="+host, "ANTEROOM_PEER_PORT="+port)
	}
	p, err := l.Peer()
	if err != nil {
		return env
	}
	if p.PID > 0 {
		env = append(env, fmt.Sprintf("ANTEROOM_PEER_PID=%d", p.PID))
	}
	if p.UID >= 0 {
		env = append(env, fmt.Sprintf("ANTEROOM_PEER_UID=%d", p.UID))
	}
	if p.GID >= 0 {
		env = append(env, fmt.Sprintf("ANTEROOM_PEER_GID=%d", p.GID))
	}
	if p.SID != "" {
		env = append(env, "ANTEROOM_PEER_SID="+p.SID)
	}
	return env
}

// kill ends the processes that run, and those that would start.
func (s *serving) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	for cmd := range s.running {
		killGroup(cmd)
	}
}

func (s *serving) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.running)
}
