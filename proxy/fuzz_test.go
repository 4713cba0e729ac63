package proxy

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"anteroom/sock"
)

// FuzzSocksReply: a reply is read whole and nothing after it; what is no reply is an error of ours or the reader's.
func FuzzSocksReply(f *testing.F) {
	for _, s := range []string{
		"\x05\x00\x00\x01\x0a\x00\x00\x01\x10\x00payload",
		"\x05\x00\x00\x04" + strings.Repeat("\xfd", 18),
		"\x05\x00\x00\x03\x05proxy\x10\x00payload",
		"\x05\x00\x00\x03\x00\x10\x00",
		"\x05\x00\x00\x03\xff" + strings.Repeat("n", 257),
		"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00",
		"\x05\xff", "\x04\x00", "HTTP/1.1 400 Bad Request\r\n", "\x05\x00\x00\x02\x01\x01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		e, err := readReply(r)
		read := data[:len(data)-r.Len()]
		if err != nil {
			var fault *fault
			if !errors.As(err, &fault) && r.Len() > 0 {
				t.Fatalf("%q: %v, with %d bytes left", data, err, r.Len())
			}
			return
		}
		want := map[byte]int{addrIPv4: 10, addrIPv6: 22, addrName: 7 + int(data[4])}[data[3]]
		if len(read) != want {
			t.Fatalf("%q: read %d bytes of a reply of %d", data, len(read), want)
		}
		if e.ip.Is4() && data[3] == addrIPv6 { // mapped
			return
		}
		if data[3] == addrName && e.name == "" {
			if checkHost(string(read[5:len(read)-2])) == nil {
				t.Fatalf("%q: a good name is lost", data)
			}
			return
		}
		if again := appendEndpoint([]byte{data[0], data[1], data[2]}, e); !bytes.Equal(again, read) {
			t.Fatalf("%q is %v, which is % x", data, e, again)
		}
	})
}

// FuzzHTTPResponse: a response's head is read up to its empty line and nothing after it, and never more than the limit.
func FuzzHTTPResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\npayload",
		"HTTP/1.0 204\n\npayload",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 407 Who\r\nProxy-Authenticate: Digest realm=\"x\", Basic realm=\"y\"\r\n\r\n",
		"HTTP/1.1 101 x\r\n\r\n", "HTTP/2 200\r\n\r\n", "\x05\x00", "HTTP/1.1 200 OK\r\nno end",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		res, err := readResponse(r)
		read := string(data[:len(data)-r.Len()])
		switch {
		case len(read) > maxHead:
			t.Fatalf("read %d bytes", len(read))
		case err != nil:
			if sock.CodeOf(err) != sock.ProxyProtocolError && r.Len() > 0 {
				t.Fatalf("%q: %v, with %d bytes left", data, err, r.Len())
			}
			return
		case res.status < 200 || res.status > 599 || len(res.reason) > 100:
			t.Fatalf("%q: status %d %q", data, res.status, res.reason)
		}
		// The head that counts is the last one that was read, and it ends with its only empty line.
		head := read[strings.LastIndex("\n"+read[:len(read)-1], "\nHTTP/1."):]
		lines := strings.Split(head, "\n")
		for i, line := range lines {
			if empty := strings.TrimSuffix(line, "\r") == ""; empty != (i >= len(lines)-2) {
				t.Fatalf("%q: read %q", data, read)
			}
		}
	})
}

// FuzzParse: what Parse takes, String says and Parse takes again; and no password is said.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"socks5://me:secret@proxy:1080", "http://[::1]:80/", "socks5h://a%20b@h", "socks5://[fe80::1%25x]", "socks5://[fe80::1%25\xff]", "x", "http://h:0", "socks5://:p@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			if p != (Proxy{}) {
				t.Fatalf("%q: %v and %#v", s, err, p)
			}
			return
		}
		if err := p.check(); err != nil && len(p.User) <= 255 && len(p.Password) <= 255 && !strings.Contains(p.User, ":") {
			t.Fatalf("%q: %v", s, err)
		}
		again, err := Parse(p.String())
		if p.Password = ""; err != nil || again != p {
			t.Fatalf("%q is %#v, said as %q, which is %#v, %v", s, p, p, again, err)
		}
	})
}
