package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A flagSet is the flags of a command, defined with package flag and read as the tools beside ours do: --name value, --name=value, -n, -nm
// for two letters, before, after and between the operands, until "--".
type flagSet struct{ *flag.FlagSet }

func newFlagSet(name string) flagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return flagSet{fs}
}

// bool, number, duration and text define a flag that may have a short name, too: "q quiet".

func (fs flagSet) bool(names string, to *bool) {
	for _, name := range strings.Fields(names) {
		fs.BoolVar(to, name, *to, "")
	}
}

func (fs flagSet) number(names string, least int, to *int) {
	fs.text(names, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least {
			return fmt.Errorf("%q is no number from %d on", s, least)
		}
		*to = n
		return nil
	})
}

func (fs flagSet) duration(names string, to *time.Duration) {
	fs.text(names, func(s string) (err error) {
		*to, err = parseDuration(s)
		return err
	})
}

func (fs flagSet) text(names string, set func(string) error) {
	for _, name := range strings.Fields(names) {
		fs.Func(name, "", set)
	}
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration such as 500ms, 10s or 2m", s)
	}
	return d, nil
}

// An optional is a flag that may stand alone, or be given a value after an equals sign.
type optional struct{ set func(value string) error }

func (optional) IsBoolFlag() bool { return true }
func (optional) String() string   { return "" }

func (o optional) Set(s string) error {
	if s == "true" { // which is what parse gives a flag that stands alone
		s = ""
	}
	return o.set(s)
}

// parse sets the flags and returns the operands. What follows "--" are operands, whatever it looks like. Errors are usage failures, or
// flag.ErrHelp.
func (fs flagSet) parse(args []string) (operands []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(operands, args...), nil
		case len(arg) < 2 || arg[0] != '-':
			operands = append(operands, arg)
		case strings.HasPrefix(arg, "--"):
			name, value, given := strings.Cut(arg[2:], "=")
			if len(name) < 2 {
				return nil, usage("there is no flag %s", arg)
			}
			args, err = fs.one("--"+name, value, given, args)
		default:
			for letters := arg[1:]; letters != "" && err == nil; {
				_, size := utf8.DecodeRuneInString(letters)
				name, value, given := letters[:size], "", false
				letters = letters[size:]
				if letters != "" && !fs.alone(name) { // -n5, -n=5
					value, given, letters = strings.TrimPrefix(letters, "="), true, ""
				}
				args, err = fs.one("-"+name, value, given, args)
			}
			if err != nil && len(arg) > 2 && fs.Lookup(arg[1:]) != nil {
				err = usage("there is no flag %s: a long one has two dashes, -%s", arg, arg)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return operands, nil
}

// one sets a flag, with its value if that was given with it, else with the argument that follows if the flag needs one.
func (fs flagSet) one(shown, value string, given bool, rest []string) ([]string, error) {
	name := strings.TrimLeft(shown, "-")
	f := fs.Lookup(name)
	switch {
	case f == nil && (shown == "-h" || shown == "--help"):
		return rest, flag.ErrHelp
	case f == nil:
		return rest, usage("there is no flag %s", shown)
	case given:
	case fs.alone(name):
		value = "true"
	case len(rest) == 0 || rest[0] == "--":
		return rest, usage("the flag %s needs a value", shown)
	default:
		value, rest = rest[0], rest[1:]
	}
	if err := f.Value.Set(value); err != nil {
		if _, plain := f.Value.(interface{ Get() any }); plain { // a bool's error speaks of parsing
			err = errors.New("it takes no value")
		}
		return rest, usage("the flag %s: %v", shown, err)
	}
	return rest, nil
}

// alone reports whether a flag needs no value.
func (fs flagSet) alone(name string) bool {
	f := fs.Lookup(name)
	if f == nil {
		return true
	}
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// splitCommand parts a command line at its first "--": what follows is another command's.
func splitCommand(args []string) (own, other []string, given bool) {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i], args[i+1:], true
	}
	return args, nil, false
}
