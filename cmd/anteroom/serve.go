package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"anteroom/local"
	"anteroom/sock"
)

const helpServe = `Serve a name: a process for each connection, or stdin and stdout with one client

Usage: anteroom serve [FLAG…] ADDRESS -- CMD [ARG…]
       anteroom serve [FLAG…] ADDRESS

With CMD, it is run for each connection, which is its stdin and its stdout.
Without CMD, one client is served: what it says goes to stdout, and stdin goes
to it; the end of either side is passed on; then serve ends.

      --access WHO          who may connect: user, group, other, or several of
                            them with commas, or world for all three
                            (default: as the umask says)
      --group GROUP         the group that --access group means, by name or number
                            (default: serve's own)
      --allow-uid USER,…    only these users may connect, by name or number, and
      --allow-gid GROUP,…   those of these groups; nobody else, not even serve's
                            own user. Who is refused is told on stderr
      --replace-stale       take the name over from a server that has crashed, if
                            the kernel proves that it has; never from a live one
      --max-pending N       how many connections are accepted ahead (default 30)
      --backlog N           how many more the system queues (default: its limit)
      --max-conns N         how many processes run at once (default 100); further
                            connections wait
      --once                serve one connection, and end with CMD's exit status
  -q, --quiet               say nothing but errors
  -v, --verbose             say who connects, and how CMD ends

With systemd: as the address, serve takes the socket that systemd, or another
that speaks its protocol (LISTEN_FDS), has started it with; with systemd:FDNAME
the one of that name. Its file stays, and who may connect, as far as the file
says it, was decided by whoever has made it.

CMD finds in its environment:
  ANTEROOM_SERVER_NAME    the name that is served, as it was given; with
                          systemd: the socket's path, or abstract name
  ANTEROOM_CONN_ID        the connection's number, from 1 on
  ANTEROOM_PEER_PID, ANTEROOM_PEER_UID, ANTEROOM_PEER_GID
                          who has connected, if the system says it

At SIGINT, SIGTERM or SIGHUP serve stops listening and waits until the processes
that run have ended; a second signal kills them.

Example: each client is told who it is
  $ anteroom serve who -- sh -c 'echo "process $ANTEROOM_PEER_PID"' &
  $ anteroom connect --wait=5s who
  process 4711

Example: a server that is started by its first client
  $ systemd-socket-activate -l /tmp/echo anteroom serve systemd: -- cat
`

// serveOptions is what serve is told.
type serveOptions struct {
	at         address
	access     local.SocketOptions
	group      string // "": this process's
	allow      admission
	replace    bool
	maxPending int // -1: as it is
	backlog    int // 0: as it is
	maxConns   int
	once       bool
	command    []string // nil: stdin and stdout
	program    string   // the file of command[0]
}

func runServe(w *world, args []string) error {
	v := &voice{w: w.stderr}
	o, err := parseServe(v, args)
	if err != nil {
		return err
	}
	srv := new(local.Server)
	srv.SetSocketOptions(o.access)
	srv.SetSocketGroup(o.group)
	srv.SetReplaceStale(o.replace)
	srv.SetListenBacklogSize(o.backlog)
	if o.allow.asked() {
		srv.SetAdmit(o.allow.admit)
	}
	switch {
	case o.maxPending >= 0:
		srv.SetMaxPendingConnections(o.maxPending)
	case o.once:
		srv.SetMaxPendingConnections(0) // nobody is let in who is not served
	}

	caught, stop := w.signals() // before there is a file that has to be removed
	defer stop()
	defer srv.OnAcceptError(func(err error) { v.complain("%v", err) })()
	if o.at.passed {
		if err := listenPassed(srv, o.at.fdName); err != nil {
			return err
		}
		o.at.name = srv.FullServerName()
	} else if err := srv.Listen(o.at.name); err != nil {
		return explainListen(err, o)
	}
	defer srv.Close()
	v.say("listening on %s", srv.FullServerName())

	s := &serving{w: w, v: v, o: o, srv: srv, slots: make(chan struct{}, o.maxConns), running: make(map[*exec.Cmd]bool)}
	if o.command == nil {
		return s.oneClient(caught)
	}
	return s.processes(caught)
}

func parseServe(v *voice, args []string) (o serveOptions, err error) {
	own, command, given := splitCommand(args)
	o = serveOptions{maxPending: -1, maxConns: 100, command: command}
	fs := newFlagSet("serve")
	fs.text("access", o.setAccess)
	fs.text("group", o.setGroup)
	fs.text("allow-uid", o.allow.addUsers)
	fs.text("allow-gid", o.allow.addGroups)
	fs.bool("replace-stale", &o.replace)
	fs.number("max-pending", 0, &o.maxPending)
	fs.number("backlog", 0, &o.backlog)
	fs.number("max-conns", 1, &o.maxConns)
	fs.bool("once", &o.once)
	fs.bool("q quiet", &v.quiet)
	fs.bool("v verbose", &v.verbose)
	operands, err := fs.parse(own)
	switch {
	case err != nil:
		return o, err
	case given && len(command) == 0:
		return o, usage("there is no command after --")
	case len(operands) > 1 && !given:
		return o, usage("one address is enough; a command follows --: serve %s -- %s", operands[0], strings.Join(operands[1:], " "))
	}
	if o.at, err = oneAddress(operands, parseServed); err != nil {
		return o, err
	}
	switch {
	case o.at.passed && (o.access != local.NoOptions || o.group != "" || o.replace || o.backlog > 0):
		return o, usage("--access, --group, --replace-stale and --backlog are for a socket that serve makes, and not for one that it is given")
	case o.group != "" && o.access&local.GroupAccessOption == 0:
		return o, usage("--group says which group --access group means, and that is not given")
	}
	if !given {
		o.once = true
		return o, nil
	}
	o.program, err = findProgram(command[0])
	return o, err
}

func (o *serveOptions) setAccess(s string) error {
	who := map[string]local.SocketOptions{
		"user":  local.UserAccessOption,
		"group": local.GroupAccessOption,
		"other": local.OtherAccessOption,
		"world": local.WorldAccessOption,
	}
	for word := range strings.SplitSeq(s, ",") {
		option, ok := who[word]
		if !ok {
			return fmt.Errorf("%q is none of user, group, other and world", word)
		}
		o.access |= option
	}
	return nil
}

func (o *serveOptions) setGroup(s string) error {
	id, err := parseID(s, "group", lookupGroup)
	o.group = strconv.Itoa(id)
	return err
}

// listenPassed makes a server accept from the socket that the process was started with, or from the one of a name.
func listenPassed(srv *local.Server, name string) error {
	passed, err := sock.Activations()
	if err != nil {
		return &failure{status: exitUsage, err: err}
	}
	var fits []sock.Activation
	var names []string
	for _, a := range passed {
		names = append(names, strconv.Quote(a.Name))
		if name == "" || a.Name == name {
			fits = append(fits, a)
		} else {
			a.Descriptor.Close()
		}
	}
	if len(fits) == 1 {
		if err := srv.ListenDescriptor(fits[0].Descriptor); err != nil {
			fits[0].Descriptor.Close()
			return fail(err)
		}
		return nil
	}
	for _, a := range fits {
		a.Descriptor.Close()
	}
	switch {
	case len(passed) == 0:
		f := usage("systemd: no socket was passed: LISTEN_PID and LISTEN_FDS do not say so to this process")
		f.hints = []string{`one way to pass one is "systemd-socket-activate -l PATH anteroom serve systemd: -- CMD"`}
		return f
	case name == "":
		return usage("systemd: %d sockets were passed, and one is served: say which, as in systemd:FDNAME; they are named %s", len(passed), strings.Join(names, ", "))
	case len(fits) == 0:
		return usage("systemd: no socket was passed that is named %q; there are %s", name, strings.Join(names, ", "))
	}
	return usage("systemd: %d sockets were passed that are named %q, and one is served", len(fits), name)
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
	return "", &failure{exitNotRunable, fmt.Errorf("%s: it cannot be executed", name), nil}
}

// onPath reports whether there is a file of that name where commands are looked for; then it is not executable.
func onPath(name string) bool {
	return !strings.ContainsRune(name, filepath.Separator) && slices.ContainsFunc(filepath.SplitList(os.Getenv("PATH")), func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	})
}

func explainListen(err error, o serveOptions) error {
	at := o.at
	if errors.Is(err, sock.AddressInUseError) {
		if info, statErr := os.Lstat(at.full); statErr == nil && info.Mode()&fs.ModeSocket == 0 {
			return fail(err) // no server can answer
		}
		hints := []string{fmt.Sprintf("%q shows whether a server answers there", "anteroom connect "+at.name)}
		if !o.replace && runtime.GOOS == "linux" && at.full[0] != '@' {
			hints = append(hints, "--replace-stale takes the name over from a server that has crashed")
		}
		return fail(err, hints...)
	}
	return fail(err, at.hints()...)
}

// serving is a server at work.
type serving struct {
	w     *world
	v     *voice
	o     serveOptions
	srv   *local.Server
	slots chan struct{} // as many as processes may run

	mu      sync.Mutex
	running map[*exec.Cmd]bool
	killed  bool // those that start now are killed, too
	lastID  int
	all     sync.WaitGroup
}

// oneClient serves one client with stdin and stdout.
func (s *serving) oneClient(caught <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		c, err := s.srv.AcceptContext(ctx)
		if err != nil {
			result <- fail(err)
			return
		}
		defer c.Close()
		defer context.AfterFunc(ctx, c.Abort)()
		s.srv.Close()
		s.v.detail("connected%s", inBrackets(peerWords(c)))
		r := &relay{conn: c, w: s.w}
		err = r.run()
		sent, received := r.total()
		s.v.detail("sent %d bytes, received %d", sent, received)
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case sig := <-caught:
		return signalled(sig)
	}
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
		c, err := s.srv.AcceptContext(ctx)
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
func (s *serving) serve(c *local.Socket) error {
	defer func() { <-s.slots }()
	s.mu.Lock()
	s.lastID++
	id := s.lastID
	s.mu.Unlock()
	s.v.detail("connection %d%s", id, inBrackets(peerWords(c)))
	cmd, err := s.start(c, id)
	if err != nil {
		s.v.complain("connection %d: %v", id, err)
		return silent(exitPeer)
	}
	err = cmd.Wait()
	s.mu.Lock()
	delete(s.running, cmd)
	s.mu.Unlock()
	if cmd.ProcessState == nil {
		s.v.complain("connection %d: %v", id, err)
		return silent(exitPeer)
	}
	s.v.detail("connection %d: %v", id, cmd.ProcessState)
	return silent(exitStatus(cmd.ProcessState))
}

// start starts a process with a connection as its stdin and stdout. The connection is the process's from now on, and closed here in any case.
func (s *serving) start(c *local.Socket, id int) (*exec.Cmd, error) {
	defer c.Close()
	cmd := exec.Command(s.o.program)
	cmd.Args = s.o.command
	cmd.Stderr = s.w.stderr
	cmd.Env = s.environ(c, id)
	setGroup(cmd)
	f, err := handOver(c)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdin, cmd.Stdout = f, f

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed {
		return nil, errors.New("a signal has ended the server")
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.running[cmd] = true
	return cmd, nil
}

// environ returns the environment of a connection's process. It says nothing about other connections, such as the one by which this
// program is served.
func (s *serving) environ(c *local.Socket, id int) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ANTEROOM_PEER_") })
	env = append(env, "ANTEROOM_SERVER_NAME="+s.o.at.name, fmt.Sprintf("ANTEROOM_CONN_ID=%d", id))
	p, err := c.Peer()
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
