//go:build linux

// Server gnet is github.com/panjf2000/gnet with one event loop. What it pushes is one Write for each message.
package main

import (
	"encoding/binary"
	"log"

	"anteroom/bench/servers/internal/serve"

	"github.com/panjf2000/gnet/v2"
)

type server struct {
	gnet.BuiltinEventEngine
	mode string
}

func main() {
	network, address, mode := serve.Args()
	serve.Check(gnet.Run(&server{mode: mode}, network+"://"+address,
		gnet.WithNumEventLoop(1), gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogger(logger{log.Default()})))
}

// A logger writes what goes wrong to stderr; gnet's own writes everything to stdout, which belongs to the benchmark.
type logger struct{ *log.Logger }

func (logger) Debugf(string, ...any)       {}
func (logger) Infof(string, ...any)        {}
func (l logger) Warnf(f string, a ...any)  { l.Printf(f, a...) }
func (l logger) Errorf(f string, a ...any) { l.Printf(f, a...) }

func (s *server) OnBoot(gnet.Engine) gnet.Action {
	serve.Ready() // it listens already
	return gnet.None
}

func (s *server) OnOpen(gnet.Conn) ([]byte, gnet.Action) {
	if s.mode == "close" {
		return nil, gnet.Close
	}
	return nil, gnet.None
}

func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	p, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	switch s.mode {
	case "echo":
		if _, err := c.Write(p); err != nil {
			return gnet.Close
		}
	case "push":
		if len(p) != 8 {
			return gnet.Close
		}
		for range binary.LittleEndian.Uint64(p) { // what the system does not take is kept by gnet, which does not say when it has left
			if _, err := c.Write(serve.Message); err != nil {
				return gnet.Close
			}
		}
	}
	return gnet.None
}
