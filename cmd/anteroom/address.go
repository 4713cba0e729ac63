package main

import (
	"fmt"
	"strings"

	"anteroom/local"
)

// An address says where a server is: a local name or, for a server itself, a socket that it was started with.
type address struct {
	name   string // as package local takes it; "" if it was passed
	full   string // the path, or the abstract name with its @; "" if it was passed
	passed bool   // by systemd, or another that speaks its protocol
	fdName string // which of those that were passed; "": the only one
}

// schemes are the words before a colon that do not begin a local name, but another kind of address. They are kept for what they mean, also
// where this program does not know it yet: a script that says tcp:… must never find itself at a file of that name.
var schemes = []string{"exec", "fd", "pipe", "systemd", "tcp", "tls", "unix"}

const (
	localScheme   = "local:"
	systemdScheme = "systemd"
)

// parseAddress reads an address:
//
//	NAME         a name in the temporary directory, as in Qt
//	/PATH        a file
//	@NAME        an abstract name
//	local:NAME   one of the above, whatever NAME looks like
//
// It says what is wrong as a failure of usage; a name that it lets through is one that the system can have.
func parseAddress(s string) (address, *failure) {
	name, forced := strings.CutPrefix(s, localScheme)
	if !forced {
		if f := foreign(s); f != nil {
			return address{}, f
		}
	}
	full, err := local.FullServerName(name)
	if err != nil {
		return address{}, &failure{status: exitUsage, err: err}
	}
	return address{name: name, full: full}, nil
}

// parseServed reads the address of a server of ours, which may also be
//
//	systemd:         the socket that the process was started with
//	systemd:FDNAME   the one of that name
func parseServed(s string) (address, *failure) {
	if scheme, name, found := strings.Cut(s, ":"); found && strings.EqualFold(scheme, systemdScheme) {
		return address{passed: true, fdName: name}, nil
	}
	return parseAddress(s)
}

// foreign returns a failure if s is an address of a kind that is known, and not supported.
func foreign(s string) *failure {
	what := ""
	switch scheme, _, found := strings.Cut(s, ":"); {
	case s == "-":
		what = "stdin and stdout"
	case strings.HasPrefix(s, `\\`):
		what = "Windows' pipes"
	case found && strings.EqualFold(scheme, systemdScheme):
		f := usage("only serve takes %s", s)
		f.hints = []string{"a local server of that name is " + localScheme + s}
		return f
	case found && isScheme(scheme):
		what = scheme + ": addresses"
	default:
		return nil
	}
	f := usage("%s are not supported yet: %s", what, s)
	f.hints = []string{"a local server of that name is " + localScheme + s}
	return f
}

func isScheme(word string) bool {
	for _, s := range schemes {
		if strings.EqualFold(word, s) {
			return true
		}
	}
	return false
}

// hints says what is surprising about a name that was looked for in vain.
func (a address) hints() []string {
	if strings.HasPrefix(a.name, "./") || strings.HasPrefix(a.name, "../") {
		return []string{fmt.Sprintf("a name without a leading slash never means this directory: this one is %s", a.full)}
	}
	return nil
}

// oneAddress reads the only operand of a command.
func oneAddress(operands []string, parse func(string) (address, *failure)) (address, error) {
	switch len(operands) {
	case 0:
		return address{}, usage("there is no address")
	case 1:
		a, f := parse(operands[0])
		if f != nil {
			return address{}, f
		}
		return a, nil
	}
	return address{}, usage("one address is enough, and %d are given: %s", len(operands), strings.Join(operands, " "))
}
