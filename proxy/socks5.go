package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"anteroom/sock"
)

// SOCKS5's numbers: RFC 1928, and RFC 1929 for the user and the password.
const (
	socksVersion     = 5
	socksAuthVersion = 1

	socksConnect = 1
	socksBind    = 2

	methodNone     = 0
	methodPassword = 2
	methodRefused  = 0xff

	addrIPv4 = 1
	addrName = 3
	addrIPv6 = 4
)

// socksReplies holds what the second byte of a reply says.
var socksReplies = [...]struct {
	code sock.SocketError
	text string
}{
	1: {sock.NetworkError, "general SOCKS server failure"},
	2: {sock.SocketAccessError, "not allowed by its rules"},
	3: {sock.NetworkError, "network unreachable"},
	4: {sock.HostNotFoundError, "host unreachable"},
	5: {sock.ConnectionRefusedError, "connection refused"},
	6: {sock.NetworkError, "TTL expired"},
	7: {sock.UnsupportedSocketOperationError, "command not supported"},
	8: {sock.UnsupportedSocketOperationError, "address type not supported"},
}

// socksRequest tells the proxy who asks, and asks it for a connection to, or a binding for, an endpoint. It returns what the reply holds.
func socksRequest(c io.ReadWriter, p Proxy, command byte, to endpoint) (endpoint, error) {
	if err := socksGreet(c, p); err != nil {
		return endpoint{}, err
	}
	b := []byte{socksVersion, command, 0}
	if _, err := c.Write(appendEndpoint(b, to)); err != nil {
		return endpoint{}, err
	}
	return readReply(c)
}

// socksGreet agrees with the proxy on how to say who asks, and says it.
func socksGreet(c io.ReadWriter, p Proxy) error {
	hello := []byte{socksVersion, 1, methodNone}
	if p.User != "" {
		hello = []byte{socksVersion, 2, methodNone, methodPassword}
	}
	if _, err := c.Write(hello); err != nil {
		return err
	}
	var answer [2]byte
	if err := readVersion(c, answer[:], socksVersion); err != nil {
		return err
	}
	switch {
	case answer[1] == methodNone:
		return nil
	case answer[1] == methodPassword && p.User != "":
	case answer[1] == methodRefused && p.User != "":
		return &fault{code: sock.ProxyAuthenticationRequiredError, err: errors.New("the proxy takes neither no authentication nor a user and a password")}
	case answer[1] == methodRefused:
		return &fault{code: sock.ProxyAuthenticationRequiredError, err: errors.New("the proxy wants a user, and none is set")}
	default:
		return protocolFault("the proxy chose the authentication method %d, which it was not offered", answer[1])
	}

	b := append([]byte{socksAuthVersion, byte(len(p.User))}, p.User...)
	b = append(append(b, byte(len(p.Password))), p.Password...)
	if _, err := c.Write(b); err != nil {
		return err
	}
	if err := readVersion(c, answer[:], socksAuthVersion); err != nil {
		return err
	}
	if answer[1] != 0 {
		return &fault{code: sock.ProxyAuthenticationRequiredError, err: fmt.Errorf("the proxy does not accept the user %q with this password", p.User)}
	}
	return nil
}

// readVersion fills b, whose first byte must be the version. A proxy that answers with something else is found out by that byte.
func readVersion(r io.Reader, b []byte, version byte) error {
	n, err := io.ReadFull(r, b)
	if n > 0 && b[0] != version {
		hint := ""
		if b[0] == 'H' {
			hint = "; it may be an HTTP proxy"
		}
		return protocolFault("the proxy's answer begins with %d, and not with SOCKS5's version %d%s", b[0], version, hint)
	}
	return err
}

// readReply reads a reply, and nothing that comes after it. A name is returned as one, or as "" if it could not be a host's.
func readReply(r io.Reader) (endpoint, error) {
	var head [5]byte // version, reply, 0, address type, and the address's first byte, which there always is
	err := readVersion(r, head[:], socksVersion)
	if reply := head[1]; reply != 0 { // what a failure says is understood without the rest, too
		f := &fault{code: sock.ProxyProtocolError, reply: true, err: fmt.Errorf("reply %d, which SOCKS5 does not know", reply)}
		if int(reply) < len(socksReplies) {
			f.code, f.err = socksReplies[reply].code, errors.New(socksReplies[reply].text)
		}
		if head[0] != socksVersion {
			return endpoint{}, err
		}
		return endpoint{}, f
	}
	if err != nil {
		return endpoint{}, err
	}
	var b [1 + 255 + 2]byte // the address, whose first byte is a name's length, and the port
	b[0] = head[4]
	size := 0
	switch head[3] {
	case addrIPv4:
		size = 4
	case addrIPv6:
		size = 16
	case addrName:
		size = 1 + int(b[0])
	default:
		return endpoint{}, protocolFault("the proxy's reply holds an address of type %d, which SOCKS5 does not know", head[3])
	}
	if _, err := io.ReadFull(r, b[1:size+2]); err != nil {
		return endpoint{}, err
	}
	e := endpoint{port: binary.BigEndian.Uint16(b[size:])}
	if head[3] != addrName {
		ip, _ := netip.AddrFromSlice(b[:size])
		e.ip = ip.Unmap()
	} else if name := string(b[1:size]); checkHost(name) == nil {
		e.name = name
	}
	return e, nil
}

// appendEndpoint appends type, address and port. A name has 255 bytes at most.
func appendEndpoint(b []byte, e endpoint) []byte {
	switch {
	case e.ip.Is4():
		b = append(append(b, addrIPv4), e.ip.AsSlice()...)
	case e.ip.Is6():
		b = append(append(b, addrIPv6), e.ip.AsSlice()...)
	default:
		b = append(append(b, addrName, byte(len(e.name))), e.name...)
	}
	return binary.BigEndian.AppendUint16(b, e.port)
}
