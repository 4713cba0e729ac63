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
// and conditions they have:
//
//	exits STATUS PROGRAM ARG…    as exec, for a program that must end with a status
//	listens FILE VARIABLE        waits until FILE holds what a server says when it listens, and sets VARIABLE to the address
//	[root]                       the tests run as root
//	[sigint]                     SIGINT is not ignored, as it is in a shell's background
//	[interop:PROGRAM]            somebody else's program is here; it must be where ANTEROOM_REQUIRE_INTEROP is set
func TestScripts(t *testing.T) {
	temp, scripts := sockettest.Dir(t), atomic.Int32{} // the scripts' own is too long for a socket's address on some systems
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			dir := filepath.Join(temp, strconv.Itoa(int(scripts.Add(1))))
			env.Setenv("TMPDIR", dir)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // a race is told without
			return os.Mkdir(dir, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "listens": listens},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
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
