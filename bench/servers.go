package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// A server is one program that is measured.
type server struct {
	name  string
	args  []string // after address and mode
	only  string   // if not empty, the only measure that it takes part in
	rare  bool     // no bar compares it: it has each third turn only
	idle  int      // if not 0, with how many idle connections its memory is measured at most
	heap  bool     // it answers SIGUSR1 with what is in use
	build func(ctx context.Context, b *builder, name string) (argv []string, version string, err error)
	argv  []string // what build has made
}

// The servers, in the order in which they take turns and stand in tables. Qt asks the system about all connections in every turn: to open
// 18,000 takes it a minute.
func servers() []server {
	return []server{
		{name: "c-epoll", build: buildC},
		{name: "c-level", args: []string{"level"}, rare: true, build: buildCLevel},
		{name: "go-net", heap: true, build: buildGo("")},
		{name: "anteroom-loop", heap: true, build: buildGo("")},
		{name: "loop-callbacks", args: []string{"callbacks"}, only: "idle", heap: true, build: buildLoopCallbacks},
		{name: "anteroom", heap: true, build: buildGo("")},
		{name: "netpoll", heap: true, rare: true, build: buildGo("github.com/cloudwego/netpoll")},
		{name: "gnet", heap: true, rare: true, build: buildGo("github.com/panjf2000/gnet/v2")},
		{name: "qt", idle: 5000, rare: true, build: buildQt},
		{name: "node", rare: true, build: findNode},
	}
}

// A builder makes programs, from the sources in source, in dir.
type builder struct {
	source, dir string
}

func (b *builder) run(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = b.source
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		if text != "" {
			err = fmt.Errorf("%w: %s", err, lastLines(text, 3))
		}
		return "", fmt.Errorf("%s: %w", argv[0], err)
	}
	return text, nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// load builds the load generator, without which nothing can be measured.
func (b *builder) load(ctx context.Context) (string, error) {
	exe := filepath.Join(b.dir, "load")
	if _, err := b.run(ctx, "cc", "-O2", "-Wall", "-Iload", "-o", exe, "load/load.c"); err != nil {
		return "", fmt.Errorf("the load generator needs a C compiler (cc): %w", err)
	}
	return exe, nil
}

// buildCLevel builds c-epoll's program again, which is called otherwise.
func buildCLevel(ctx context.Context, b *builder, _ string) ([]string, string, error) {
	argv, _, err := buildC(ctx, b, "c-epoll")
	return argv, "", err
}

func buildC(ctx context.Context, b *builder, name string) ([]string, string, error) {
	exe := filepath.Join(b.dir, name)
	if _, err := b.run(ctx, "cc", "-O2", "-Wall", "-Iload", "-o", exe, "servers/c-epoll/server.c"); err != nil {
		return nil, "", err
	}
	version, err := b.run(ctx, "cc", "--version")
	version, _, _ = strings.Cut(version, "\n")
	return []string{exe}, version + " -O2", err
}

// buildGo returns what builds a server in Go; module is the one that it measures, "" for Go's own and for anteroom.
func buildGo(module string) func(context.Context, *builder, string) ([]string, string, error) {
	return func(ctx context.Context, b *builder, name string) ([]string, string, error) {
		exe := filepath.Join(b.dir, name)
		if _, err := b.run(ctx, "go", "build", "-o", exe, "./servers/"+name); err != nil {
			return nil, "", err
		}
		if module == "" {
			return []string{exe}, "", nil
		}
		version, err := b.run(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Version}}", module)
		return []string{exe}, version, err
	}
}

// buildLoopCallbacks builds anteroom-loop's program again, which is called otherwise.
func buildLoopCallbacks(ctx context.Context, b *builder, _ string) ([]string, string, error) {
	return buildGo("")(ctx, b, "anteroom-loop")
}

func buildQt(ctx context.Context, b *builder, name string) ([]string, string, error) {
	var failed []error
	for _, module := range []string{"Qt6Network", "Qt5Network"} {
		version, err := b.run(ctx, "pkg-config", "--modversion", module)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		flags, err := b.run(ctx, "pkg-config", "--cflags", "--libs", module)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		exe := filepath.Join(b.dir, name)
		argv := []string{"c++", "-O2", "-std=c++17", "-fPIC", "servers/qt/server.cpp", "-o", exe}
		if _, err := b.run(ctx, append(argv, strings.Fields(flags)...)...); err != nil {
			failed = append(failed, err)
			continue
		}
		return []string{exe}, "Qt " + version, nil
	}
	return nil, "", fmt.Errorf("it needs a C++ compiler, pkg-config and the development files of Qt 6 or Qt 5.15 (on Debian: qt6-base-dev): %w", errors.Join(failed...))
}

func findNode(ctx context.Context, b *builder, _ string) ([]string, string, error) {
	exe, err := exec.LookPath("node")
	if err != nil {
		return nil, "", fmt.Errorf("it needs Node.js: %w", err)
	}
	version, err := b.run(ctx, exe, "--version")
	if err != nil {
		return nil, "", err
	}
	return []string{exe, filepath.Join(b.source, "servers/node/server.js")}, "Node.js " + version, nil
}
