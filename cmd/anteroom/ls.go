package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"anteroom/local"
)

const helpList = `List the local servers of this machine, and the files of those that have crashed

Usage: anteroom ls [--json] [--stale] [PATTERN…]

All stream sockets are listed that the system knows by a name, whoever made
them, and the sockets' files in the temporary directory ($TMPDIR, else /tmp) and
in $XDG_RUNTIME_DIR. A PATTERN is a name, a path, or either with *, ? and [a-z];
it restricts the list to those that it matches, and adds the files that it
means elsewhere. That a pattern matches nothing is an error with exit status 1.
Linux only.

      --json    an array of objects, with null for what is not known
      --stale   only what is stale; the exit status is 1 if nothing is

STATE is what the kernel says; no server is disturbed:
  live            a server listens, and clients find it by this name
  not listening   a socket has the name, and does not listen (yet)
  stale           a file whose socket is gone: "anteroom rm" removes it
  unknown         a server listens, but its file is not where it was, or may
                  not be looked at; or rights are missing to tell

NAME is what the other commands take, if there is more than a path. QUEUE is
how many clients wait to be accepted. PID and COMMAND are of the process that
holds the socket, if we may know it, and of several the first. Characters that
cannot be printed are written as in Go: \n, \x00.

The keys of --json: name, kind, state, owner, uid, mode, pid, command, queue,
backlog, path; and raw, the name's or the path's bytes in base64 if they are
not UTF-8.

Example:
  $ anteroom ls 'fort*' /run/docker.sock
  NAME     KIND  STATE  OWNER  MODE        PID   COMMAND   QUEUE  PATH
  -        path  live   root   srw-rw----  812   dockerd   0      /run/docker.sock
  fort     path  stale  ann    srwxr-xr-x  -     -         -      /tmp/fort
  fortune  path  live   ann    srwx------  4711  anteroom  0      /tmp/fortune
`

// A listed is a socket, or what has remained of one.
type listed struct {
	name           string // as the commands take it; "": there is but a path
	kind, state    string
	uid            int // -1: not known
	mode           int // the file's permissions; -1: there is no file, or it was not found
	pid            int // 0: not known
	command        string
	queue, backlog int      // -1: not known
	path           string   // "" for an abstract name
	also           []string // other paths that lead to the same file
}

const (
	kindPath     = "path"
	kindAbstract = "abstract"

	stateLive         = "live"
	stateNotListening = "not listening"
	stateStale        = "stale"
	stateUnknown      = "unknown"
)

var errNoSocket = errors.New("it is not a socket")

func runList(w *world, args []string) error {
	var asJSON, stale bool
	fs := newFlagSet("ls")
	fs.bool("json", &asJSON)
	fs.bool("stale", &stale)
	operands, err := fs.parse(args)
	if err != nil {
		return err
	}
	patterns, err := parsePatterns(operands)
	if err != nil {
		return err
	}
	paths := socketFiles(tempDir())
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		paths = append(paths, socketFiles(dir)...)
	}
	for _, p := range patterns {
		paths = append(paths, p.files()...)
	}
	list, err := findSockets(paths)
	if err != nil {
		return fail(err)
	}

	for _, l := range list {
		l.setName()
	}
	list = slices.DeleteFunc(list, func(l *listed) bool {
		matches := len(patterns) == 0
		for _, p := range patterns {
			if p.matches(l) {
				p.used, matches = true, true
			}
		}
		return !matches || stale && l.state != stateStale
	})
	slices.SortStableFunc(list, func(a, b *listed) int {
		return strings.Compare(a.address()+"\x00"+a.state+"\x00"+strconv.Itoa(a.pid), b.address()+"\x00"+b.state+"\x00"+strconv.Itoa(b.pid))
	})
	print := printTable
	if asJSON {
		print = printJSON
	}
	if err := print(w.stdout, list); err != nil {
		return outputError(err)
	}
	if stale {
		if len(list) == 0 {
			return silent(exitPeer)
		}
		return nil
	}
	var failed error
	for _, p := range patterns {
		if !p.used {
			(&voice{w: w.stderr}).complain("%s", p.missing())
			failed = silent(exitPeer)
		}
	}
	return failed
}

// tempDir returns the directory of bare names.
func tempDir() string {
	full, err := local.FullServerName("x")
	if err != nil {
		return os.TempDir()
	}
	return strings.TrimSuffix(full, "x")
}

// socketFiles returns the paths of the sockets' files in a directory.
func socketFiles(dir string) (paths []string) {
	entries, _ := os.ReadDir(dir) // of a directory that may not be read nothing is listed
	for _, e := range entries {
		if e.Type()&fs.ModeSocket != 0 {
			paths = append(paths, strings.TrimSuffix(dir, "/")+"/"+e.Name())
		}
	}
	return paths
}

// address is what the commands take, in any case.
func (l *listed) address() string {
	if l.path != "" {
		return l.path
	}
	return l.name
}

// setName sets the name of what stands in the temporary directory.
func (l *listed) setName() {
	if l.kind != kindPath {
		return
	}
	for _, path := range append([]string{l.path}, l.also...) {
		if name, ok := strings.CutPrefix(path, tempDir()); ok && name != "" {
			l.path, l.name = path, address{name: name}.operand()
			return
		}
	}
}

// A pattern says which sockets are listed.
type pattern struct {
	text string // as it was given
	glob string // without local:
	used bool   // it has matched
}

func parsePatterns(operands []string) (patterns []*pattern, err error) {
	for _, s := range operands {
		p := &pattern{text: s, glob: strings.TrimPrefix(s, localScheme)}
		if p.glob == "" || strings.ContainsRune(p.glob, 0) {
			return nil, usage("%q is no pattern of names", s)
		}
		if _, err := filepath.Match(p.glob, ""); err != nil {
			return nil, usage("%q is no pattern: a [ is not closed, or nothing follows a \\", s)
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// files returns the paths of what is there that the pattern means.
func (p *pattern) files() []string {
	glob, literal := p.glob, p.glob
	switch glob[0] {
	case '@':
		return nil
	case '/':
	default:
		escape := strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`)
		glob, literal = escape.Replace(tempDir())+glob, tempDir()+glob
	}
	paths, _ := filepath.Glob(glob) // the pattern was checked
	return append(paths, literal)
}

// matches reports whether a socket is meant: by its name, by its path, or by the last part of that.
func (p *pattern) matches(l *listed) bool {
	names := []string{strings.TrimPrefix(l.name, localScheme)}
	if l.kind == kindPath {
		for _, path := range append([]string{l.path}, l.also...) {
			names = append(names, path, filepath.Base(path))
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		ok, _ := filepath.Match(p.glob, name)
		return name != "" && (ok || name == p.glob)
	})
}

// missing says that the pattern has matched nothing.
func (p *pattern) missing() string {
	for _, path := range p.files() {
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
			return printable(path) + " is not a socket"
		}
	}
	return fmt.Sprintf("nothing matches %s", p.text)
}

// printTable prints columns, with a line of their names if there is something to print.
func printTable(out io.Writer, list []*listed) error {
	if len(list) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tSTATE\tOWNER\tMODE\tPID\tCOMMAND\tQUEUE\tPATH")
	for _, l := range list {
		columns := []string{printable(l.name), l.kind, l.state, printable(userName(l.uid)), "", "", printable(l.command), "", printable(l.path)}
		if l.mode >= 0 {
			columns[4] = "s" + fs.FileMode(l.mode & 0o777).String()[1:]
		}
		if l.pid > 0 {
			columns[5] = strconv.Itoa(l.pid)
		}
		if l.queue >= 0 {
			columns[7] = strconv.Itoa(l.queue)
		}
		for i := range columns {
			if columns[i] == "" {
				columns[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(columns, "\t"))
	}
	return t.Flush()
}

// printable writes what does not print as Go does.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// userName returns a user's name, or his number if he has none, or "" if he is not known.
func userName(uid int) string {
	if uid < 0 {
		return ""
	}
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

func printJSON(out io.Writer, list []*listed) error {
	type object struct {
		Name    *string `json:"name"`
		Kind    string  `json:"kind"`
		State   string  `json:"state"`
		Owner   *string `json:"owner"`
		UID     *int    `json:"uid"`
		Mode    *string `json:"mode"`
		PID     *int    `json:"pid"`
		Command *string `json:"command"`
		Queue   *int    `json:"queue"`
		Backlog *int    `json:"backlog"`
		Path    *string `json:"path"`
		Raw     *string `json:"raw"`
	}
	objects := make([]object, 0, len(list))
	for _, l := range list {
		o := object{
			Name: known(l.name, l.name != ""), Kind: l.kind, State: l.state,
			Owner: known(userName(l.uid), l.uid >= 0), UID: known(l.uid, l.uid >= 0),
			Mode: known(fmt.Sprintf("%04o", l.mode), l.mode >= 0),
			PID:  known(l.pid, l.pid > 0), Command: known(l.command, l.pid > 0),
			Queue: known(l.queue, l.queue >= 0), Backlog: known(l.backlog, l.backlog >= 0),
			Path: known(l.path, l.path != ""),
			Raw:  known(base64.StdEncoding.EncodeToString([]byte(l.address())), !utf8.ValidString(l.address())),
		}
		objects = append(objects, o)
	}
	return writeJSON(out, objects)
}

// known returns a value's address, or nil if it is not known.
func known[T any](value T, is bool) *T {
	if !is {
		return nil
	}
	return &value
}
