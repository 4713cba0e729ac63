package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// The programs that the scripts use beside ours, and that no system has.
func init() {
	others["copier"] = copier
	others["noise"] = noisy
	others["same"] = same
	others["idle"] = idle
	others["environ"] = func() { fmt.Println(strings.Join(os.Environ(), "\n")) }
}

// copier says what it is told; "copier nothing" ends at once, and "copier byte" after one byte.
func copier() {
	switch {
	case len(os.Args) == 1:
		io.Copy(os.Stdout, os.Stdin)
	case os.Args[1] == "byte":
		io.CopyN(os.Stdout, os.Stdin, 1)
	}
}

// noisy is "noise FILE N", which makes a file of so many bytes, or "noise", which says bytes as long as somebody listens.
func noisy() {
	source := rand.NewChaCha8([32]byte{})
	if len(os.Args) == 1 {
		signal.Ignore(syscall.SIGPIPE) // nobody listens any more: that is an end like any other
		io.Copy(os.Stdout, source)
		return
	}
	n, err := strconv.ParseInt(os.Args[2], 10, 64)
	check(err)
	f, err := os.Create(os.Args[1])
	check(err)
	_, err = io.Copy(f, io.LimitReader(source, n))
	check(errors.Join(err, f.Close()))
}

// same is "same FILE FILE": it fails if they differ.
func same() {
	a, err := os.Open(os.Args[1])
	check(err)
	b, err := os.Open(os.Args[2])
	check(err)
	ra, rb := bufio.NewReaderSize(a, 1<<20), bufio.NewReaderSize(b, 1<<20)
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := 0; ; at += len(p) {
		n, err := io.ReadFull(ra, p)
		m, _ := io.ReadFull(rb, q)
		if !bytes.Equal(p[:n], q[:m]) {
			check(fmt.Errorf("%s and %s differ after byte %d", os.Args[1], os.Args[2], at))
		}
		if err != nil {
			return
		}
	}
}

// idle is "idle PROGRAM ARG…": it runs a program whose stdin is open, and says nothing.
func idle() {
	endTogether()
	in, feed, err := os.Pipe()
	check(err)
	defer feed.Close()
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, os.Stdout, os.Stderr
	exitWith(cmd.Run())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// exitWith ends the process as another one has ended.
func exitWith(err error) {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(e.ExitCode())
	}
	check(err)
	os.Exit(0)
}
