package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"anteroom/local"
	"anteroom/proxy"
	"anteroom/sock"
	"anteroom/tcp"
)

// helpLimits, helpAccess and helpListenProxy are about the flags of listenOptions, helpActivated about addresses.
const (
	helpLimits = `      --max-pending N       how many connections are accepted ahead (default 30)
      --backlog N           how many more the system queues (default: its limit)
`
	helpAccess = `      --access WHO          who may connect: user, group, other, or several of
                            them with commas, or world for all three
                            (default: as the umask says)
      --group GROUP         the group that --access group means, by name or number
                            (default: this process's own)
      --allow-uid USER,…    only these users may connect, by name or number, and
      --allow-gid GROUP,…   those of these groups; nobody else, not even this
                            process's own user. Who is refused is told on stderr
      --replace-stale       take the name over from a server that has crashed, if
                            the kernel proves that it has; never from a live one
`
	helpListenProxy = `      --proxy URL           listen through a proxy, on an address of its own:
                            socks5://[USER[:PASSWORD]@]HOST[:PORT]. Without
                            PASSWORD, it is what the environment variable
                            ANTEROOM_PROXY_PASSWORD says, which ps(1) does not
                            show. The proxy may give another port after each
                            client: stderr says so
`
	helpActivated = `With systemd: as the address to serve, that is the socket which systemd, or
another that speaks its protocol (LISTEN_FDS), has passed; with systemd:FDNAME
the one of that name; with fd:N the one of that number, whoever has passed it. It
may be a local one or one of TCP. Its file stays, and who may connect, as far as
the file says it, was decided by whoever has made it.
`
)

// listenOptions is what a command is told about the server that it makes. The proxy is for TCP, the limits are for both kinds, and the rest for local names.
type listenOptions struct {
	access     local.SocketOptions
	group      string // "": this process's
	allow      admission
	replace    bool
	maxPending int // -1: as it is
	backlog    int // 0: as it is
	proxy      proxy.Proxy
	once       bool
	said       string // where clients were told to find the server
}

func (o *listenOptions) flags(fs flagSet) {
	o.maxPending = -1
	fs.text("access", o.setAccess)
	fs.text("group", o.setGroup)
	fs.text("allow-uid", o.allow.addUsers)
	fs.text("allow-gid", o.allow.addGroups)
	fs.bool("replace-stale", &o.replace)
	fs.number("max-pending", 0, &o.maxPending)
	fs.number("backlog", 0, &o.backlog)
	fs.bool("once", &o.once)
}

func (o *listenOptions) setAccess(s string) error {
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

func (o *listenOptions) setGroup(s string) error {
	id, err := parseID(s, "group", lookupGroup)
	o.group = strconv.Itoa(id)
	return err
}

// check says why the options do not go with an address, or with each other.
func (o *listenOptions) check(at address) error {
	ofFile := o.access != local.NoOptions || o.group != "" || o.replace
	proxied := o.proxy.Type != proxy.DefaultProxy
	switch {
	case at.kind&(activated|descriptor) != 0 && (ofFile || o.backlog > 0):
		return usage("--access, --group, --replace-stale and --backlog are for a socket that is made here, and not for one that is passed")
	case at.kind&(tcpPort|stdio) != 0 && (ofFile || o.allow.asked()):
		return usage("--access, --group, --allow-uid, --allow-gid and --replace-stale are for local names, and not for %s", at)
	case at.kind == stdio && (o.maxPending >= 0 || o.backlog > 0):
		return usage("--max-pending and --backlog are for a server, and not for stdin and stdout")
	case o.group != "" && o.access&local.GroupAccessOption == 0:
		return usage("--group says which group --access group means, and that is not given")
	case !proxied:
		return nil
	case at.kind != tcpPort:
		return usage("a proxy listens on TCP ports, and not at %s", at)
	case o.proxy.Capabilities()&proxy.ListeningCapability == 0:
		return usage("an HTTP proxy cannot listen: that takes one of SOCKS5")
	case at.ip.IsLoopback() || at.host == "localhost":
		return usage("%s is this machine's own address, which a proxy cannot listen on: write tcp::%d for the proxy's", at, at.port)
	}
	return nil
}

// listenUnless is listen, unless a signal comes before it is done, as a proxy may keep it waiting.
func (o *listenOptions) listenUnless(caught <-chan os.Signal, v *voice, at address) (srv server, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv, err = o.listen(ctx, v, at)
	}()
	select {
	case <-done:
		return srv, err
	case sig := <-caught:
		cancel()
		<-done
		if err == nil {
			srv.Close()
		}
		return nil, signalled(sig)
	}
}

// listen makes a server that listens at an address, and whose errors of accepting are told.
func (o *listenOptions) listen(ctx context.Context, v *voice, at address) (server, error) {
	var passed sock.Descriptor
	ofTCP := at.kind == tcpPort
	switch at.kind {
	case activated:
		d, err := passedSocket(at.fdName)
		if err != nil {
			return nil, err
		}
		passed = d
	case descriptor:
		passed = sock.FromFd(at.fd)
	}
	if fd, ok := passed.Fd(); ok {
		var err error
		if ofTCP, err = isTCP(fd); ofTCP && o.allow.asked() {
			err = errors.New("--allow-uid and --allow-gid are for local sockets, and the one that is passed is of TCP")
		}
		if err != nil && (ofTCP || at.kind == descriptor) { // else ListenDescriptor says it
			passed.Close()
			return nil, &failure{status: exitUsage, err: err}
		}
	}

	srv := server(new(tcp.Server))
	listen := func() error { return o.listenTCP(ctx, srv.(*tcp.Server), at) }
	if !ofTCP {
		srv = new(local.Server)
		listen = func() error { return o.listenLocal(srv.(*local.Server), at) }
	}
	if passed.IsValid() {
		listen = func() error { return srv.ListenDescriptor(passed) }
	}
	switch {
	case o.maxPending >= 0:
		srv.SetMaxPendingConnections(o.maxPending)
	case o.once:
		srv.SetMaxPendingConnections(0) // nobody is let in who is not served
	}
	if srv, ok := srv.(*local.Server); ok && o.allow.asked() {
		srv.SetAdmit(o.allow.admit)
	}
	srv.OnAcceptError(func(err error) { v.complain("%v", err) })
	if err := listen(); err != nil {
		passed.Close()
		return nil, o.explain(err, at)
	}
	o.said = servedAt(srv)
	v.say("listening on %s", o.said)
	return srv, nil
}

func (o *listenOptions) listenLocal(srv *local.Server, at address) error {
	srv.SetSocketOptions(o.access)
	srv.SetSocketGroup(o.group)
	srv.SetReplaceStale(o.replace)
	srv.SetListenBacklogSize(o.backlog)
	return srv.Listen(at.name)
}

func (o *listenOptions) listenTCP(ctx context.Context, srv *tcp.Server, at address) error {
	srv.SetListenBacklogSize(o.backlog)
	srv.SetProxy(o.proxy)
	srv.SetProxyRebind(!o.once)
	ctx, cancel := context.WithTimeout(ctx, sock.DefaultWait)
	defer cancel()
	addr, err := at.lookUp(ctx)
	if err != nil {
		return fmt.Errorf("listen %s: %w", at, err)
	}
	return srv.ListenContext(ctx, addr, at.port)
}

// followProxy says where clients find a server that listens through a proxy, each time that this changes, until stop. The proxy may give
// another port after each client, and nothing tells of that.
func (o *listenOptions) followProxy(v *voice, srv server) (stop func()) {
	if o.proxy.Type == proxy.DefaultProxy {
		return func() {}
	}
	said := o.said // and not where it is now, which may be elsewhere already
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stopping:
				return
			}
			if at := servedAt(srv); at != said {
				v.say("listening on %s", at)
				said = at
			}
		}
	}()
	return func() {
		close(stopping)
		<-stopped
	}
}

func (o *listenOptions) explain(err error, at address) error {
	if !errors.Is(err, sock.AddressInUseError) {
		return fail(err, at.hints()...)
	}
	if at.kind == tcpPort {
		return fail(err, "another server has the port")
	}
	if info, statErr := os.Lstat(at.full); statErr == nil && info.Mode()&fs.ModeSocket == 0 {
		return fail(err) // no server can answer
	}
	hints := []string{fmt.Sprintf("%q shows whether a server answers there", "anteroom connect "+at.operand())}
	if !o.replace && runtime.GOOS == "linux" && at.full[0] != '@' {
		hints = append(hints, "--replace-stale takes the name over from a server that has crashed")
	}
	return fail(err, hints...)
}

// passedSocket returns the socket that the process was started with, or the one of a name.
func passedSocket(name string) (fits sock.Descriptor, err error) {
	passed, err := sock.Activations()
	if err != nil {
		return fits, &failure{status: exitUsage, err: err}
	}
	found := 0
	var names []string
	for _, a := range passed {
		names = append(names, strconv.Quote(a.Name))
		if name == "" || a.Name == name {
			fits.Close()
			fits = a.Descriptor
			found++
		} else {
			a.Descriptor.Close()
		}
	}
	if found == 1 {
		return fits, nil
	}
	fits.Close()
	fits = sock.Descriptor{}
	switch {
	case len(passed) == 0:
		f := usage("systemd: no socket was passed: LISTEN_PID and LISTEN_FDS do not say so to this process")
		f.hints = []string{`one way to pass one is "systemd-socket-activate -l PATH anteroom serve systemd: -- CMD"`}
		return fits, f
	case name == "":
		return fits, usage("systemd: %d sockets were passed, and one is served: say which, as in systemd:FDNAME; they are named %s", len(passed), strings.Join(names, ", "))
	case found == 0:
		return fits, usage("systemd: no socket was passed that is named %q; there are %s", name, strings.Join(names, ", "))
	}
	return fits, usage("systemd: %d sockets were passed that are named %q, and one is served", found, name)
}
