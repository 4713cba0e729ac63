package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
)

// A command is what the first word of a command line names. Its help is written by hand, and ends with an example that works.
type command struct {
	name string
	help string
	run  func(w *world, args []string) error
}

var commands = []command{
	{"demo", helpDemo, runDemo},
	{"serve", helpServe, runServe},
	{"connect", helpConnect, runConnect},
	{"bridge", helpBridge, runBridge},
	{"ls", helpList, runList},
	{"rm", helpRemove, runRemove},
	{"name", helpName, runName},
	{"bench", helpBench, runBench},
}

const help = `anteroom serves and reaches programs by a local name, as Qt's QLocalServer and
QLocalSocket do, or by a TCP port

Usage: anteroom COMMAND [FLAG…] [ARGUMENT…]

  demo       see servers and their clients at work; ends by itself
  serve      serve a name, or a port: a process per connection, or stdin, stdout
  connect    talk to a server: stdin goes to it, what it says to stdout
  bridge     relay between any two addresses, for many connections
  ls         list the local servers of this machine, and what has crashed
  rm         remove the files of local servers that have crashed
  name       print the path that a local name means
  bench      measure a server, or what this machine can do
  help       say how to use a command

  -h, --help       this text, or a command's
      --version    the version, and what it was made with and for

Addresses:
  NAME             a name in the temporary directory ($TMPDIR, else /tmp), as Qt
  /PATH            a file; unix:PATH is the same, and unix:./PATH one in this
                   directory
  @NAME            an abstract name, which has no file; Linux only
  \\.\pipe\NAME    a named pipe, as NAME is one on Windows; Windows only
  local:NAME       the name, whatever it looks like: local:tcp:80
  tcp:HOST:PORT    a TCP port: tcp:localhost:80, tcp:[::1]:http. A server's is
                   on every address of this machine with tcp::80, and chosen by
                   the system with tcp:HOST:0
  fd:N             a socket that this program was started with, by its number
  systemd:         one that listens, from systemd; systemd:FDNAME by its name
  -                stdin and stdout, for bridge

Exit status:
  0    done                          4    permission denied
  1    the network, or the peer      124  timed out
  2    wrong usage                   130  ended by SIGINT (128 + the signal)
  3    something has the name

Data goes to stdout, and words go to stderr.

Example, in two terminals:
  $ anteroom serve fortune -- date
  $ anteroom connect fortune
`

// run runs the command line and returns the exit status.
func run(args []string, w *world) int {
	cmd, err := dispatch(args, w)
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(w.stdout, cmd.help)
		err = outputError(err)
	}
	if err == nil {
		return exitDone
	}
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{status: statusOf(err), err: err}
	}
	if f.err == nil {
		return f.status
	}
	v := &voice{w: w.stderr}
	v.failure(cmd.name, f)
	if f.status == exitUsage {
		v.complain("try %q", strings.TrimSpace("anteroom help "+cmd.name))
	}
	return f.status
}

// dispatch runs the command that the first word names. It returns that command, or one that has no name and is the whole program's.
// Who asks for help gets flag.ErrHelp.
func dispatch(args []string, w *world) (command, error) {
	whole := command{help: help}
	if len(args) == 0 {
		return whole, usage("there is no command")
	}
	name := args[0]
	switch name {
	case "-h", "-help", "--help":
		return whole, flag.ErrHelp
	case "-version", "--version":
		_, err := fmt.Fprintln(w.stdout, version())
		return whole, outputError(err)
	case "help":
		switch len(args) {
		case 1:
			return whole, flag.ErrHelp
		case 2:
			name = args[1]
			if name == "help" {
				return whole, flag.ErrHelp
			}
		default:
			return whole, usage("help is about one command, and not about %d", len(args)-1)
		}
	}
	for _, cmd := range commands {
		if cmd.name != name {
			continue
		}
		if args[0] == "help" {
			return cmd, flag.ErrHelp
		}
		return cmd, cmd.run(w, args[1:])
	}
	if strings.HasPrefix(name, "-") && name != "-" {
		return whole, usage("there is no flag %s before the command", name)
	}
	return whole, usage("there is no command %q", name)
}

// version says which version this is, and what it was made with and for.
func version() string {
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("anteroom %s %s %s/%s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// outputError makes a failure of what went wrong with writing to stdout. A reader that has gone, as head does, is no reason for words.
func outputError(err error) error {
	switch {
	case err == nil:
		return nil
	case isBrokenPipe(err):
		return silent(exitSignal + int(syscall.SIGPIPE))
	}
	return &failure{status: exitPeer, err: fmt.Errorf("stdout: %w", err)}
}
