package main

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	programs := map[string]func(){"anteroom": main}
	maps.Copy(programs, others)
	testscript.Main(suite{m}, programs)
}

// others are programs that the scripts run beside ours.
var others = map[string]func(){}

// A suite runs the tests and looks for what they have left behind.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	status := sockettest.Main(s.m)
	// Testscript removes its programs with os.RemoveAll, and fails where Wine does not know how.
	if dir := filepath.Dir(filepath.SplitList(os.Getenv("PATH"))[0]); strings.HasPrefix(filepath.Base(dir), "testscript-main") {
		sockettest.RemoveAll(dir)
	}
	return status
}

// TestScripts runs the scripts of testdata/script, each of which shows one thing that the command does. Beside testscript's own commands
// and conditions they have the variable NAMES, what a bare name stands behind, and:
//
//	exits STATUS PROGRAM ARG…    as exec, for a program that must end with a status
//	listens FILE VARIABLE        waits until FILE holds what a server says when it listens, and sets VARIABLE to the address
//	served NAME                  waits until there is a server of a local name
//	[root]                       the tests run as root
//	[pipes]                      local names are named pipes
//	[exclusive]                  a name has one server at a time
//	[modes]                      a local server's file has a mode, and who connects is subject to it
//	[signals]                    a program can be told to end by a signal
//	[peers]                      the system says who the peer is
//	[sigint]                     SIGINT is not ignored, as it is in a shell's background
//	[interop:PROGRAM]            somebody else's program is here; it must be where ANTEROOM_REQUIRE_INTEROP is set
func TestScripts(t *testing.T) {
	temp, scripts := sockettest.Dir(t), atomic.Int32{} // the scripts' own is too long for a socket's address on some systems
	run := testscript.Run
	if !sockettest.HasFiles {
		run = oneByOne // their names are all this machine's
	}
	run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			dir := filepath.Join(temp, strconv.Itoa(int(scripts.Add(1))))
			env.Setenv("TMPDIR", dir)
			env.Setenv("NAMES", dir+"/")
			if !sockettest.HasFiles {
				env.Setenv("NAMES", pipePrefix)
			}
			env.Setenv("GORACE", "atexit_sleep_ms=0") // a race is told without
			return os.Mkdir(dir, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "listens": listens, "served": served},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "pipes":
				return !sockettest.HasFiles, nil
			case "exclusive":
				return sockettest.HasExclusiveNames, nil
			case "modes":
				return sockettest.HasFiles, nil
			case "signals":
				return sockettest.HasFiles, nil
			case "peers":
				return sockettest.HasPeers, nil
			case "sigint":
				return !signal.Ignored(os.Interrupt), nil
			}
			if program, ok := strings.CutPrefix(cond, "interop:"); ok {
				_, err := exec.LookPath(program)
				if os.Getenv("ANTEROOM_REQUIRE_INTEROP") != "" {
					return err == nil, err
				}
				return err == nil, nil
			}
			return false, errors.New("there is no such condition")
		},
	})
}

// oneByOne is testscript.Run without running scripts at once.
func oneByOne(t *testing.T, p testscript.Params) { testscript.RunT(inTurn{t}, p) }

type inTurn struct{ *testing.T }

func (inTurn) Parallel()     {}
func (inTurn) Verbose() bool { return testing.Verbose() }

func (t inTurn) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(inTurn{t}) })
}

func served(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: served NAME")
	}
	path := ts.Getenv("NAMES") + args[0]
	for end := time.Now().Add(sockettest.Long()); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if sockettest.HasFiles {
			if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
				return
			}
		} else if errors.Is(local.RemoveStale(path), sock.AddressInUseError) { // which does not connect
			return
		}
	}
	ts.Fatalf("there is no server of %s", path)
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, and not %d", got, want)
	}
}

func listens(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: listens FILE VARIABLE")
	}
	for end := time.Now().Add(sockettest.Long()); time.Now().Before(end); time.Sleep(time.Millisecond) {
		said, _ := os.ReadFile(ts.MkAbs(args[0]))
		if _, rest, found := strings.Cut(string(said), "listening on "); found {
			if at, _, found := strings.Cut(rest, "\n"); found {
				ts.Setenv(args[1], at)
				return
			}
		}
	}
	ts.Fatalf("no server has said in %s that it listens", args[0])
}
