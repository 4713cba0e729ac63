//go:build linux

// Server netpoll is github.com/cloudwego/netpoll, used as its documentation shows: OnRequest, the connection's own Reader and Writer, and what is
// pushed gathers in the Writer until Flush.
package main

import (
	"context"
	"encoding/binary"

	"anteroom/bench/servers/internal/serve"

	"github.com/cloudwego/netpoll"
)

func main() {
	network, address, mode := serve.Args()
	l, err := netpoll.CreateListener(network, address)
	serve.Check(err)
	request := map[string]netpoll.OnRequest{"echo": echo, "sink": sink, "push": push, "close": sink}[mode]
	var options []netpoll.Option
	if mode == "close" {
		options = append(options, netpoll.WithOnConnect(func(ctx context.Context, c netpoll.Connection) context.Context {
			c.Close()
			return ctx
		}))
	}
	events, err := netpoll.NewEventLoop(request, options...)
	serve.Check(err)
	serve.Ready()
	serve.Check(events.Serve(l))
}

func echo(_ context.Context, c netpoll.Connection) error {
	r, w := c.Reader(), c.Writer()
	p, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	room, err := w.Malloc(len(p))
	if err != nil {
		return err
	}
	copy(room, p)
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}

func sink(_ context.Context, c netpoll.Connection) error {
	r := c.Reader()
	if err := r.Skip(r.Len()); err != nil {
		return err
	}
	return r.Release()
}

func push(_ context.Context, c netpoll.Connection) error {
	r, w := c.Reader(), c.Writer()
	p, err := r.Next(8)
	if err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(p)
	if err := r.Release(); err != nil {
		return err
	}
	for n > 0 {
		batch := min(n, serve.Batch)
		for range batch {
			room, err := w.Malloc(serve.MessageSize)
			if err != nil {
				return err
			}
			copy(room, serve.Message)
		}
		n -= batch
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}
