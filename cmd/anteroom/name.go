package main

import "fmt"

const helpName = `Print the path that a name means, or an abstract name with its @

Usage: anteroom name ADDRESS…

One line is printed for each address. Nothing needs to be there, and nothing is
made. A name that cannot be one, such as an empty one or one that is too long,
is an error with exit status 2.

Example:
  $ anteroom name fortune
  /tmp/fortune
`

func runName(w *world, args []string) error {
	operands, err := newFlagSet("name").parse(args)
	if err != nil {
		return err
	}
	if len(operands) == 0 {
		return usage("there is no address")
	}
	var failed *failure
	for _, s := range operands {
		a, f := parseAddress(s, localName)
		if f != nil {
			if failed != nil {
				(&voice{w: w.stderr}).failure("name", failed)
			}
			failed = f
			continue
		}
		if _, err := fmt.Fprintln(w.stdout, a.full); err != nil {
			return outputError(err)
		}
	}
	if failed != nil {
		return failed
	}
	return nil
}
