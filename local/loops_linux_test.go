package local_test

import (
	"io"
	"strings"
	"testing"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"golang.org/x/sys/unix"
)

// A read that stops where descriptors were sent with the bytes has not read all: the callback is told of the rest.
func TestLoopReadStopsAtDescriptors(t *testing.T) {
	read := map[string]func(*local.Socket, *eventLog){
		"ReadAvailable": readWords,
		"ReceiveDescriptors": func(c *local.Socket, log *eventLog) {
			buf := make([]byte, 100)
			n, ds, err := c.ReceiveDescriptors(buf)
			if err == nil {
				log.add("%s", buf[:n])
			}
			for _, d := range ds {
				d.Close()
			}
		},
	}
	for name, read := range read {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			run(t, l)
			c, peer := loopPair(t, l)
			release := busy(t, l)
			log := new(eventLog)
			c.OnReadyRead(func() { read(c, log) })
			for _, word := range []string{"one", "two"} {
				ds, _ := pipes(t, 1)
				must(t, peer.SendDescriptors([]byte(word), ds...))
			}
			peer.Write([]byte("three"))
			release()
			sockettest.Eventually(t, "all is read", func() bool { return strings.Join(log.all(), "") == "onetwothree" })
		})
	}
}

// A RawConn's Write waits for room.
func TestLoopRawConnWrite(t *testing.T) {
	l := newLoop(t)
	run(t, l)
	c, peer := loopPair(t, l)
	raw, err := c.SyscallConn()
	must(t, err)
	const total = 2 << 20
	done := sockettest.Go(func() error {
		left := make([]byte, total)
		return raw.Write(func(fd uintptr) bool {
			for len(left) > 0 {
				n, err := unix.Write(int(fd), left)
				if err != nil {
					return false
				}
				left = left[n:]
			}
			return true
		})
	})
	received := sockettest.Go(func() int64 { n, _ := io.CopyN(io.Discard, peer, total); return n })
	must(t, sockettest.Done(t, "Write returns", done))
	if n := sockettest.Done(t, "the peer has read", received); n != total {
		t.Errorf("the peer read %d bytes; want %d", n, total)
	}
}
