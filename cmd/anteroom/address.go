package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"anteroom/local"
)

// An address says where a server is, or the one connection that there is already.
type address struct {
	kind   kind
	name   string     // of a local server, as package local takes it
	full   string     // of a local server: the path, or the abstract name with its @
	host   string     // of TCP; "": every address of this host
	port   uint16     // of TCP
	fd     uintptr    // of a descriptor
	fdName string     // of what systemd has passed: which of it; "": the only one
	ip     netip.Addr // of TCP: the host, if it is no name
}

// A kind says what an address is. Several are a set: of what a command takes.
type kind uint8

const (
	localName  kind = 1 << iota
	tcpPort         // tcp:HOST:PORT
	descriptor      // fd:N
	activated       // systemd:, by systemd or another that speaks its protocol
	stdio           // -
)

const (
	toServe   = localName | tcpPort | descriptor | activated
	toConnect = localName | tcpPort | descriptor
)

// What addresses begin with: words before a colon, and what Windows' pipes begin with.
const (
	localScheme   = "local:"
	unixScheme    = "unix"
	tcpScheme     = "tcp"
	fdScheme      = "fd"
	systemdScheme = "systemd"
	pipePrefix    = `\\.\pipe\`
)

// unsupported are words that are kept for what they mean, though this program does not know it yet: a script that says tls:… must never find itself
// at a file of that name.
var unsupported = []string{"exec", "pipe", "tls"}

// parseAddress reads an address:
//
//	NAME             a name in the temporary directory, as in Qt
//	/PATH            a file
//	@NAME            an abstract name
//	\\.\pipe\NAME    a named pipe of Windows
//	local:NAME       one of the above, whatever NAME looks like
//	unix:PATH        a file, as other programs say it: a path without a leading slash begins in the working directory
//	tcp:HOST:PORT    a TCP port; without HOST, of every address of this host
//	fd:N             a descriptor that the process was started with
//	systemd:FDNAME   a descriptor by its name; without FDNAME, the only one
//	-                stdin and stdout
//
// It says what is wrong, or not wanted, as a failure of usage; a local name that it lets through is one that the system can have.
func parseAddress(s string, wanted kind) (address, *failure) {
	a, f := readAddress(s)
	if f == nil && a.kind&wanted == 0 {
		f = a.unwanted(wanted)
	}
	if f != nil {
		if (address{}) != a { // it may have been meant as a name
			f.hints = append(f.hints, "a local server of that name is "+localScheme+s)
		}
		return address{}, f
	}
	return a, nil
}

// readAddress reads an address of any kind. With a failure it returns the zero address if s can only be a local name.
func readAddress(s string) (a address, f *failure) {
	if name, forced := strings.CutPrefix(s, localScheme); forced {
		return localAddress(name)
	}
	scheme, rest, found := strings.Cut(s, ":")
	scheme = strings.ToLower(scheme)
	switch {
	case s == "-":
		return address{kind: stdio}, nil
	case strings.HasPrefix(s, `\\`) && runtime.GOOS != "windows":
		return address{kind: localName}, usage("there are no named pipes on this system: %s", s)
	case strings.HasPrefix(s, `\\`) && !strings.HasPrefix(strings.ToLower(s), pipePrefix):
		return address{kind: localName}, usage(`a pipe is one of this machine, as in %sNAME: %s`, pipePrefix, s)
	case strings.HasPrefix(s, `\\`):
		return localAddress(s)
	case !found:
		return localAddress(s)
	}
	switch scheme {
	case unixScheme:
		return unixAddress(rest)
	case tcpScheme:
		a.kind = tcpPort
		a.host, a.port, f = splitHostPort(rest)
		a.ip, _ = netip.ParseAddr(a.host) // the zero Addr if it is a name
		return a, f
	case fdScheme:
		n, err := strconv.ParseUint(rest, 10, 31)
		if err != nil {
			f = usage("fd: is followed by a descriptor's number, as in fd:3, and not by %q", rest)
		}
		return address{kind: descriptor, fd: uintptr(n)}, f
	case systemdScheme:
		return address{kind: activated, fdName: rest}, nil
	}
	for _, word := range unsupported {
		if scheme == word {
			return address{kind: localName}, usage("%s: addresses are not supported yet: %s", word, s)
		}
	}
	return localAddress(s)
}

func localAddress(name string) (address, *failure) {
	full, err := local.FullServerName(name)
	if err != nil {
		const option = ", or set LongPathOption" // which is for programs
		return address{}, usage("%s", strings.TrimSuffix(err.Error(), option))
	}
	return address{kind: localName, name: name, full: full}, nil
}

func unixAddress(path string) (address, *failure) {
	switch {
	case runtime.GOOS == "windows":
		return address{kind: localName}, usage("there are no Unix-domain sockets on Windows: a name is that of a pipe")
	case path == "":
		return address{kind: localName}, usage("unix: is followed by a path")
	case path[0] == '@':
		return address{kind: localName}, usage("unix: is followed by a path: an abstract name is %s alone, and a file of that name unix:./%s", path, path)
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return address{kind: localName}, &failure{status: exitUsage, err: err}
	}
	return localAddress(full)
}

// splitHostPort reads HOST:PORT. A port may be said by its service's name.
func splitHostPort(s string) (string, uint16, *failure) {
	const form = "write tcp:HOST:PORT, as in tcp:localhost:80 or tcp:[::1]:80"
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		return "", 0, usage("tcp: is followed by a host, and not by slashes: tcp:%s", rest)
	}
	host, service, err := net.SplitHostPort(s)
	if err != nil {
		why, _ := errors.AsType[*net.AddrError](err)
		return "", 0, usage("tcp:%s: %s: %s", s, why.Err, form)
	}
	if strings.ContainsAny(host, "/ \x00") {
		return "", 0, usage("%q is no host: %s", host, form)
	}
	if service == "" {
		return "", 0, usage("tcp:%s has no port: %s", s, form)
	}
	port, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", service)
	if err != nil {
		return "", 0, usage("tcp:%s: %q is neither a port's number, from 0 to 65535, nor a service's name", s, service)
	}
	return host, uint16(port), nil
}

// unwanted says why an address is none for a command.
func (a address) unwanted(wanted kind) *failure {
	switch {
	case wanted == localName:
		return usage("a local name is wanted, and %s is none", a)
	case a.kind == activated:
		return usage("%s is a socket that listens: only serve takes it, and bridge as FROM", a)
	case a.kind == stdio:
		return usage("only bridge takes -, stdin and stdout")
	}
	return usage("%s is of no use here", a)
}

// String returns the address as it is said: a local one by its path, or abstract name.
func (a address) String() string {
	switch a.kind {
	case tcpPort:
		return tcpScheme + ":" + a.hostport()
	case descriptor:
		return fmt.Sprintf("%s:%d", fdScheme, a.fd)
	case activated:
		return systemdScheme + ":" + a.fdName
	case stdio:
		return "-"
	}
	return a.full
}

// operand returns a local address as a command line takes it: the name, which local: keeps from being read as anything else.
func (a address) operand() string {
	if b, f := parseAddress(a.name, localName); f != nil || b.name != a.name || a.name[0] == '-' {
		return localScheme + a.name
	}
	return a.name
}

func (a address) hostport() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// checkDialled says why nobody can connect to an address.
func (a address) checkDialled() *failure {
	switch {
	case a.kind == tcpPort && a.host == "":
		return usage("%s has no host, which only a server may leave out: this one is tcp:localhost:%d", a, a.port)
	case a.kind == tcpPort && a.port == 0:
		return usage("%s: the system chooses a port for a server alone, which then says it", a)
	}
	return nil
}

// checkBesideStdio says why an address cannot be used by who carries stdin and stdout.
func (a address) checkBesideStdio() *failure {
	if a.kind != descriptor || a.fd > 1 {
		return nil
	}
	name := [...]string{"stdin", "stdout"}[a.fd]
	return usage("%s is %s, which is carried, and cannot be the address, too", a, name)
}

// obstacle says what stands where a local server's socket would, or "" if that is a socket, or nothing. Linux says of both that the
// connection was refused.
func (a address) obstacle() string {
	if a.kind != localName || a.full[0] == '@' || runtime.GOOS == "windows" {
		return "" // it is no file
	}
	info, err := os.Stat(a.full) // through links, as connect
	switch {
	case err != nil || info.Mode()&fs.ModeSocket != 0:
		return ""
	case info.IsDir():
		return a.full + " is a directory"
	}
	return a.full + " is a file, and not a socket"
}

// lookUp returns the address to listen on: the zero Addr for every one. Of a name's addresses it is an IPv4 one if there is one, as in Go's net.
func (a address) lookUp(ctx context.Context) (netip.Addr, error) {
	if a.host == "" || a.ip.IsValid() {
		return a.ip, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range found {
		if ip = ip.Unmap(); ip.Is4() {
			return ip, nil
		}
	}
	return found[0], nil
}

// hints says what is surprising about a name that was looked for in vain.
func (a address) hints() []string {
	if strings.HasPrefix(a.name, "./") || strings.HasPrefix(a.name, "../") {
		return []string{fmt.Sprintf("a name without a leading slash never means this directory: this one is %s", a.full)}
	}
	return nil
}

// oneAddress reads the only operand of a command.
func oneAddress(operands []string, wanted kind) (address, error) {
	switch len(operands) {
	case 0:
		return address{}, usage("there is no address")
	case 1:
		a, f := parseAddress(operands[0], wanted)
		if f != nil {
			return address{}, f
		}
		return a, nil
	}
	return address{}, usage("one address is enough, and %d are given: %s", len(operands), strings.Join(operands, " "))
}
