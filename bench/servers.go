package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A server is one program that is measured. It is started with an address and "echo" or "sink", and prints "ready" when it listens.
type server struct {
	name  string
	quick bool
	build func(to string) ([]string, error) // returns the command line, without the address
	args  []string                          // after the address and the mode

	command []string
	missing string // why it was left out
}

// allServers lists the limit first, then what Go programs use today: the bases of the ratios.
var allServers = []server{
	{name: "c-epoll", quick: true, build: buildC("servers/c-epoll/server.c")},
	{name: "go-net", quick: true, build: buildGo("./servers/go-net")},
	{name: "anteroom-loop", quick: true, build: buildGo("./servers/anteroom"), args: []string{"loop"}},
	{name: "anteroom", quick: true, build: buildGo("./servers/anteroom"), args: []string{"blocking"}},
	{name: "netpoll", build: buildGo("./servers/netpoll")},
	{name: "qt", build: buildQt("servers/qt/server.cpp")},
	{name: "node", build: func(string) ([]string, error) {
		node, err := exec.LookPath("node")
		return []string{node, "servers/node/server.js"}, err
	}},
}

func serverNames(ss []server) string {
	var names []string
	for _, s := range ss {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// loadProgram is where the load generator is built.
func loadProgram(dir string) string { return filepath.Join(dir, "load") }

// build builds the load generator and the servers. A server that cannot be built is left out; what everything needs is an error.
func build(dir string, ss []server) error {
	if _, err := os.Stat("servers"); err != nil {
		return fmt.Errorf("run it in the directory bench, as with go -C bench run .: %w", err)
	}
	if _, err := buildC("load/load.c")(loadProgram(dir)); err != nil {
		return fmt.Errorf("the load generator: %w", err)
	}
	for i := range ss {
		s := &ss[i]
		command, err := s.build(filepath.Join(dir, s.name))
		if err != nil {
			s.missing = err.Error()
			continue
		}
		s.command = command
	}
	return nil
}

func compile(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil && len(out) > 0 {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return err
}

func buildC(source string) func(string) ([]string, error) {
	return func(to string) ([]string, error) { return []string{to}, compile("cc", "-O2", "-o", to, source) }
}

func buildGo(pkg string) func(string) ([]string, error) {
	return func(to string) ([]string, error) { return []string{to}, compile("go", "build", "-o", to, pkg) }
}

// buildQt takes the newest Qt that is there.
func buildQt(source string) func(string) ([]string, error) {
	return func(to string) ([]string, error) {
		for _, version := range []string{"6", "5"} {
			out, err := exec.Command("pkg-config", "--cflags", "--libs", "Qt"+version+"Network").Output()
			if err != nil {
				continue
			}
			args := append([]string{"-std=c++17", "-O2", "-fPIC", "-o", to, source}, strings.Fields(string(out))...)
			return []string{to}, compile("c++", args...)
		}
		return nil, fmt.Errorf("pkg-config knows neither Qt6Network nor Qt5Network")
	}
}
