package tcp_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// The names of hosts are looked up in these tests by no server but this one: "both.test" has the loopback address of either family,
// "slow.test" is not answered while a test holds it, and no other name exists. "localhost" is the system's.
//
// It is set for the whole run, because an attempt that was given up may ask a moment later.
func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answer(server)
		return client, nil
	}}
}

var slow struct {
	mu   sync.Mutex
	held chan struct{} // closed when the test that holds the name lets go
}

// holdSlow makes looking up "slow.test." take until release is called, or the test ends.
func holdSlow(t testing.TB) (release func()) {
	held := make(chan struct{})
	slow.mu.Lock()
	slow.held = held
	slow.mu.Unlock()
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	return release
}

// answer is a name server for one connection, as over TCP.
func answer(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(query) != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Response, m.Authoritative, m.RecursionAvailable = true, true, true
		m.Additionals = nil
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
		switch name := q.Name.String(); {
		case name == "both.test." && q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: loopback.As4()}}}
		case name == "both.test." && q.Type == dnsmessage.TypeAAAA:
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: loopback6.As16()}}}
		case strings.HasPrefix(name, "slow.test."):
			slow.mu.Lock()
			held := slow.held
			slow.mu.Unlock()
			<-held
			fallthrough
		default:
			m.RCode = dnsmessage.RCodeNameError
		}
		b, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return
		}
	}
}
