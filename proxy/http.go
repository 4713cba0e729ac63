package proxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"anteroom/sock"
)

// maxHead is how many bytes all heads together may have that a proxy answers with.
const maxHead = 64 << 10

// httpConnect asks an HTTP proxy for a connection to an endpoint.
func httpConnect(c io.ReadWriter, p Proxy, to endpoint) error {
	var b strings.Builder
	fmt.Fprintf(&b, "CONNECT %v HTTP/1.1\r\nHost: %v\r\n", to, to)
	if p.User != "" {
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.Password)))
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(c, b.String()); err != nil {
		return err
	}
	r, err := readResponse(c)
	if err != nil || r.status/100 == 2 {
		return err
	}
	f := &fault{code: sock.ProxyProtocolError, reply: true, err: fmt.Errorf("status %d %q", r.status, r.reason)}
	switch r.status {
	case 401, 407: // tinyproxy says 401 if the password is wrong
		f.code, f.reply = sock.ProxyAuthenticationRequiredError, false
		switch {
		case p.User == "":
			f.err = errors.New("the proxy wants a user, and none is set")
		case r.status == 407 && !r.basic:
			f.err = errors.New("the proxy does not take a user and a password by the Basic scheme, and no other is supported")
		default:
			f.err = fmt.Errorf("the proxy does not accept the user %q with this password", p.User)
		}
	case 403, 405, 451:
		f.code = sock.SocketAccessError
	case 404:
		f.code = sock.HostNotFoundError
	case 408, 504:
		f.code = sock.ProxyConnectionTimeoutError
	case 500, 502:
		f.code = sock.NetworkError
	case 501:
		f.code = sock.UnsupportedSocketOperationError
	case 503:
		f.code = sock.ConnectionRefusedError
	}
	return f
}

// A response is what counts in the head of a proxy's answer.
type response struct {
	status int    // 200 to 599
	reason string // cut at 100 bytes
	basic  bool   // it asks for authentication by the Basic scheme
}

// readResponse reads the head of a response that is not an interim one, and nothing that comes after it: byte by byte, because what follows
// is the peer's, and the connection is handed on.
func readResponse(r io.Reader) (response, error) {
	h := headReader{r: r, left: maxHead}
	for {
		line, err := h.line("HTTP/1.")
		if err != nil {
			return response{}, err
		}
		res, err := parseStatus(line)
		if err != nil {
			return response{}, err
		}
		for {
			line, err := h.line("")
			if err != nil {
				return response{}, err
			}
			if line == "" {
				break
			}
			name, value, _ := strings.Cut(line, ":")
			if strings.EqualFold(name, "Proxy-Authenticate") && offersBasic(value) {
				res.basic = true
			}
		}
		if res.status >= 200 {
			return res, nil
		}
	}
}

// parseStatus reads a status line that begins with "HTTP/1.".
func parseStatus(line string) (response, error) {
	version, rest, _ := strings.Cut(line, " ")
	status, reason, _ := strings.Cut(rest, " ")
	if len(version) != len("HTTP/1.1") || !digits(version[len("HTTP/1."):]) || len(status) != 3 || !digits(status) {
		return response{}, protocolFault("the proxy answers with %q, which is no status line of HTTP", cut(line))
	}
	n := int(status[0]-'0')*100 + int(status[1]-'0')*10 + int(status[2]-'0')
	if n < 100 || n > 599 || n == 101 {
		return response{}, protocolFault("the proxy answers with %q, which is no answer to CONNECT", cut(line))
	}
	return response{status: n, reason: cut(reason)}, nil
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func cut(s string) string { return s[:min(len(s), 100)] }

// offersBasic reports whether a Proxy-Authenticate header names the Basic scheme, alone or among others.
func offersBasic(value string) bool {
	for part := range strings.SplitSeq(value, ",") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(part), " ")
		if strings.EqualFold(scheme, "Basic") {
			return true
		}
	}
	return false
}

// A headReader reads lines, and nothing after the last one.
type headReader struct {
	r    io.Reader
	left int
}

// line reads a line, which ends with LF or CR LF, and returns it without that. It fails as soon as the line does not begin with prefix.
func (h *headReader) line(prefix string) (string, error) {
	var line []byte
	var one [1]byte
	for {
		if h.left == 0 {
			return "", protocolFault("the head of the proxy's answer has more than %d bytes", maxHead)
		}
		h.left--
		if _, err := io.ReadFull(h.r, one[:]); err != nil {
			return "", err
		}
		if n := len(line); n < len(prefix) && one[0] != prefix[n] {
			hint := ""
			if n == 0 && one[0] == socksVersion {
				hint = "; it may be a SOCKS5 proxy"
			}
			return "", protocolFault("the proxy's answer begins with %q, and not with %q%s", append(line, one[0]), prefix, hint)
		}
		if one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, one[0])
	}
}
