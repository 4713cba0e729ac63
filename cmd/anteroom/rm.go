package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"anteroom/local"
)

const helpRemove = `Remove the sockets' files of servers that have crashed

Usage: anteroom rm [FLAG…] ADDRESS…

A file is removed only if the kernel proves that no server has it any more, and
only a socket of this user's; what else there is stays as it is, and is an error
with exit status 3. That nothing is there is one with exit status 1. Of several
addresses each is tried; the highest exit status counts. Linux only so far.

  -n, --dry-run    say what would be removed, and remove nothing; a file whose
                   mode keeps its owner from connecting is not known to be dead
  -f, --force      that nothing is there is no error
  -q, --quiet      say nothing but errors

Example: clean up the temporary directory
  $ anteroom ls --stale '/tmp/*'
  $ anteroom rm -n /tmp/old
  anteroom: would remove /tmp/old
  $ anteroom rm /tmp/old
  anteroom: removed /tmp/old
`

func runRemove(w *world, args []string) error {
	var dry, force bool
	v := &voice{w: w.stderr}
	fs := newFlagSet("rm")
	fs.bool("n dry-run", &dry)
	fs.bool("f force", &force)
	fs.bool("q quiet", &v.quiet)
	operands, err := fs.parse(args)
	if err != nil {
		return err
	}
	if len(operands) == 0 {
		return usage("there is no address")
	}
	worst := exitDone
	for _, s := range operands {
		if err := remove(v, s, dry, force); err != nil {
			f := &failure{status: statusOf(err), err: err}
			errors.As(err, &f)
			v.failure("rm", f)
			worst = max(worst, f.status)
		}
	}
	return silent(worst)
}

// remove removes what an address means, or, if dry, says whether it would.
func remove(v *voice, s string, dry, force bool) error {
	at, f := parseAddress(s, localName)
	switch {
	case f != nil:
		return f
	case at.full[0] == '@':
		return usage("%s is an abstract name, which has no file to remove", at.full)
	}
	if _, err := os.Lstat(at.full); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		if force {
			return nil
		}
		return &failure{exitPeer, fmt.Errorf("%s: nothing is there", at.full), at.hints()}
	}
	if dry {
		if err := provenDead(at.full); err != nil {
			return err
		}
		v.say("would remove %s", at.full)
		return nil
	}
	if err := local.RemoveStale(at.name); err != nil {
		return err
	}
	v.say("removed %s", at.full)
	return nil
}
