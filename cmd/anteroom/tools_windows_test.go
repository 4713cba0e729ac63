package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// What the scripts use and a Unix system has: a shell, and of each program what they use of it.
func init() {
	others["sh"] = shell
	others["cat"] = cat
	others["echo"] = func() { fmt.Println(strings.Join(os.Args[1:], " ")) }
	others["head"] = head
	others["sleep"] = sleep
	others["sort"] = sorted
	others["tr"] = func() { io.Copy(os.Stdout, upper{os.Stdin}) }
	others["true"] = func() {}
}

// endTogether lets the processes that this one starts end with it, as a shell's exec does.
func endTogether() {
	job, err := windows.CreateJobObject(nil, nil)
	check(err)
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	check(err)
	check(windows.AssignProcessToJobObject(job, windows.CurrentProcess()))
}

// shell is "sh -c SCRIPT".
func shell() {
	endTogether()
	if len(os.Args) != 3 || os.Args[1] != "-c" {
		check(errors.New("usage: sh -c SCRIPT"))
	}
	file, err := syntax.NewParser().Parse(strings.NewReader(os.Args[2]), "sh")
	check(err)
	runner, err := interp.New(interp.StdIO(os.Stdin, os.Stdout, os.Stderr), interp.ExecHandlers(withGrep))
	check(err)
	err = runner.Run(context.Background(), file)
	if status, ok := errors.AsType[interp.ExitStatus](err); ok {
		os.Exit(int(status))
	}
	check(err)
}

func cat() {
	if len(os.Args) == 1 {
		io.Copy(os.Stdout, os.Stdin)
	}
	for _, name := range os.Args[1:] {
		f, err := os.Open(name)
		check(err)
		io.Copy(os.Stdout, f)
		f.Close()
	}
}

// withGrep gives the shell "grep [-FLAGS] PATTERN FILE…", with the flags q, s and x. (The scripts have a grep of their own.)
func withGrep(next interp.ExecHandlerFunc) interp.ExecHandlerFunc {
	return func(ctx context.Context, args []string) error {
		if args[0] != "grep" {
			return next(ctx, args)
		}
		args, flags := args[1:], ""
		for strings.HasPrefix(args[0], "-") {
			flags += args[0][1:]
			args = args[1:]
		}
		pattern := args[0]
		if strings.Contains(flags, "x") {
			pattern = "^(" + pattern + ")$"
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return err
		}
		hc := interp.HandlerCtx(ctx)
		out := hc.Stdout
		if strings.Contains(flags, "q") {
			out = io.Discard
		}
		found := interp.ExitStatus(1)
		for _, name := range args[1:] {
			text, _ := os.ReadFile(filepath.Join(hc.Dir, name))
			for line := range strings.Lines(string(text)) {
				if re.MatchString(strings.TrimSuffix(line, "\n")) {
					found = 0
					io.WriteString(out, line)
				}
			}
		}
		if found != 0 {
			return found
		}
		return nil
	}
}

// head is "head -c N".
func head() {
	n, err := strconv.ParseInt(os.Args[2], 10, 64)
	check(err)
	io.Copy(os.Stdout, io.LimitReader(os.Stdin, n))
}

func sleep() {
	seconds, err := strconv.ParseFloat(os.Args[1], 64)
	check(err)
	time.Sleep(time.Duration(seconds * float64(time.Second)))
}

func sorted() {
	var lines []string
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		lines = append(lines, s.Text())
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
}

// An upper is "tr a-z A-Z".
type upper struct{ io.Reader }

func (u upper) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	copy(p, bytes.ToUpper(p[:n]))
	return n, err
}
