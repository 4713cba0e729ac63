package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

func TestFlags(t *testing.T) {
	type values struct {
		quiet, verbose bool
		number         int
		duration       time.Duration
		optional       string
	}
	tests := []struct {
		args     string
		want     values
		operands string
		err      string
	}{
		{args: ""},
		{args: "a b", operands: "a b"},
		{args: "--quiet a", want: values{quiet: true}, operands: "a"},
		{args: "a -q", want: values{quiet: true}, operands: "a"},
		{args: "-qv a", want: values{quiet: true, verbose: true}, operands: "a"},
		{args: "-n 3 a", want: values{number: 3}, operands: "a"},
		{args: "-n3 a", want: values{number: 3}, operands: "a"},
		{args: "-n=3 a", want: values{number: 3}, operands: "a"},
		{args: "-qn3 a", want: values{quiet: true, number: 3}, operands: "a"},
		{args: "--number 3 a", want: values{number: 3}, operands: "a"},
		{args: "--number=3 a", want: values{number: 3}, operands: "a"},
		{args: "--duration=1m30s", want: values{duration: 90 * time.Second}},
		{args: "--optional a", want: values{optional: "alone"}, operands: "a"},
		{args: "--optional=x a", want: values{optional: "x"}, operands: "a"},
		{args: "- a", operands: "- a"},
		{args: "-- -q --number", operands: "-q --number"},
		{args: "a -- --", operands: "a --"},
		{args: "--help", err: "help"},
		{args: "-h", err: "help"},
		{args: "-qh", err: "help"},
		{args: "--no", err: "there is no flag --no"},
		{args: "--=x", err: "there is no flag --=x"},
		{args: "--q", err: "there is no flag --q"},
		{args: "-x", err: "there is no flag -x"},
		{args: "-é", err: "there is no flag -é"},
		{args: "-quiet", err: "there is no flag -quiet: a long one has two dashes, --quiet"},
		{args: "--number", err: "the flag --number needs a value"},
		{args: "-n", err: "the flag -n needs a value"},
		{args: "--number --", err: "the flag --number needs a value"},
		{args: "--number=x", err: `the flag --number: "x" is no number from 1 on`},
		{args: "--number=", err: `the flag --number: "" is no number from 1 on`},
		{args: "-n0", err: `the flag -n: "0" is no number from 1 on`},
		{args: "--duration=-1s", err: `the flag --duration: "-1s" is no duration such as 500ms, 10s or 2m`},
		{args: "--quiet=x", err: "the flag --quiet: it takes no value"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var got values
			fs := newFlagSet("test")
			fs.bool("q quiet", &got.quiet)
			fs.bool("v verbose", &got.verbose)
			fs.number("n number", 1, &got.number)
			fs.duration("duration", &got.duration)
			fs.Var(optional{func(s string) error {
				if got.optional = s; s == "" {
					got.optional = "alone"
				}
				return nil
			}}, "optional", "")
			operands, err := fs.parse(strings.Fields(test.args))
			if test.err != "" {
				if test.err == "help" && errors.Is(err, flag.ErrHelp) {
					return
				}
				if f, ok := errors.AsType[*failure](err); !ok || f.status != exitUsage || f.Error() != test.err {
					t.Fatalf("got the error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := strings.Join(operands, " "); got != test.want || s != test.operands {
				t.Errorf("got %+v and %q, want %+v and %q", got, s, test.want, test.operands)
			}
		})
	}
}
