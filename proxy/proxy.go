package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"anteroom/sock"
)

// A Type says how a proxy is spoken to. The numbers are Qt's.
//
// Qt: QNetworkProxy::ProxyType
type Type int8

// The types.
const (
	DefaultProxy Type = 0 // the application's proxy: see SetApplicationProxy
	Socks5Proxy  Type = 1 // SOCKS version 5
	NoProxy      Type = 2 // no proxy, whatever the application's is
	HttpProxy    Type = 3 // HTTP/1.1 CONNECT
)

var typeNames = [...]string{"DefaultProxy", "Socks5Proxy", "NoProxy", "HttpProxy"}

// String returns Qt's name of the type: "Socks5Proxy".
func (t Type) String() string {
	if t < 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("Type(%d)", int8(t))
	}
	return typeNames[t]
}

// A Capability is a set of things that a proxy can do. The numbers are Qt's; what Qt has besides, UDP and caching, nothing here does.
//
// Qt: QNetworkProxy::Capability
type Capability uint8

// The capabilities.
const (
	TunnelingCapability      Capability = 1    // connecting: DialContext
	ListeningCapability      Capability = 2    // being connected to: Listen
	HostNameLookupCapability Capability = 0x10 // host names are looked up by the proxy, not here
)

// A Proxy says which proxy to use, and how. It is a plain value, which can be compared and copied. The zero value is the application's
// proxy.
//
// Qt: QNetworkProxy
type Proxy struct {
	Type     Type
	HostName string // a name or an address, without brackets
	Port     uint16 // 0 stands for 1080 (SOCKS5) or 8080 (HTTP)
	User     string // "": the proxy is not told who asks; at most 255 bytes for SOCKS5, without a colon for HTTP
	Password string // at most 255 bytes for SOCKS5; not used without a User
}

// The usual ports, as Qt takes them for a proxy's URL without a port.
const (
	socks5Port = 1080
	httpPort   = 8080
)

var application atomic.Pointer[Proxy]

// ApplicationProxy returns what SetApplicationProxy was given last, or the zero Proxy.
//
// Qt: QNetworkProxy::applicationProxy
func ApplicationProxy() Proxy {
	if p := application.Load(); p != nil {
		return *p
	}
	return Proxy{}
}

// SetApplicationProxy sets the proxy for whoever in this process uses a Proxy of the type DefaultProxy, from the next connection and the
// next listening on. A Proxy of that type takes it back. It may be called at any time from any goroutine.
//
// Qt: QNetworkProxy::setApplicationProxy
func SetApplicationProxy(p Proxy) {
	if p.Type == DefaultProxy {
		application.Store(nil)
		return
	}
	application.Store(&p)
}

// Resolve returns what p stands for when it is called, which is never of the type DefaultProxy: p itself, or for DefaultProxy the application's proxy if
// one is set, else a Proxy of the type NoProxy.
func (p Proxy) Resolve() Proxy {
	if p.Type == DefaultProxy {
		p = ApplicationProxy()
	}
	if p.Type == DefaultProxy {
		return Proxy{Type: NoProxy}
	}
	return p
}

// Capabilities returns what can be done through the proxy: of DefaultProxy, through what it stands for when this is called.
//
// Qt: QNetworkProxy::capabilities
func (p Proxy) Capabilities() Capability {
	switch p.Resolve().Type {
	case NoProxy:
		return TunnelingCapability | ListeningCapability
	case Socks5Proxy:
		return TunnelingCapability | ListeningCapability | HostNameLookupCapability
	case HttpProxy:
		return TunnelingCapability | HostNameLookupCapability
	}
	return 0
}

// String returns the proxy as a URL without the password, "socks5://user@proxy.example:1080", as Parse reads it. Types that have no URL
// are "DefaultProxy" and "NoProxy".
func (p Proxy) String() string {
	u := url.URL{Host: p.hostPort()}
	switch p.Type {
	case Socks5Proxy:
		u.Scheme = "socks5"
	case HttpProxy:
		u.Scheme = "http"
	default:
		return p.Type.String()
	}
	if p.User != "" {
		u.User = url.User(p.User)
	}
	return u.String()
}

// Parse reads a proxy's URL:
//
//	socks5://[user[:password]@]host[:port]     the port is 1080 if it is not said; socks5h is the same: host names go to the proxy
//	http://[user[:password]@]host[:port]       the port is 8080 if it is not said
//
// Special characters in the user and the password are written as %XX. An error never tells the password.
func Parse(rawURL string) (Proxy, error) {
	fail := func(format string, args ...any) (Proxy, error) {
		return Proxy{}, &sock.Error{Op: "parse", Net: "proxy", Code: sock.UnsupportedSocketOperationError, Err: fmt.Errorf(format, args...)}
	}
	const form = "write socks5://[user[:password]@]host[:port] or http://…, with special characters in the user and the password as %%XX"
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || u.Scheme == "" {
		return fail("this is no proxy's URL: " + form) // what url.Parse says may hold the password
	}
	p := Proxy{HostName: u.Hostname(), User: u.User.Username()}
	p.Password, _ = u.User.Password()
	switch u.Scheme {
	case "socks5", "socks5h":
		p.Type, p.Port = Socks5Proxy, socks5Port
	case "http":
		p.Type, p.Port = HttpProxy, httpPort
	default:
		return fail("a proxy of the kind %q is not supported: "+form, u.Scheme)
	}
	if ip, notIP := netip.ParseAddr(p.HostName); notIP != nil {
		if err := checkHost(p.HostName); err != nil {
			return fail("the proxy's host: %w: "+form, err)
		}
	} else if strings.ContainsFunc(ip.Zone(), func(r rune) bool { return r >= 0x80 }) { // a URL says it in no way that is read again
		return fail("the zone %q of the proxy's address is not ASCII: write the interface's number", ip.Zone())
	}
	if s := u.Port(); s != "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return fail("the proxy's port is not a number from 1 to 65535: " + form) // it may be a password with a # after it
		}
		p.Port = uint16(n)
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return fail("a proxy's URL ends with the port: " + form)
	}
	if p.User == "" && p.Password != "" {
		return fail("a password without a user: " + form)
	}
	return p, nil
}

// hostPort returns the proxy's address as net.Dial takes it.
func (p Proxy) hostPort() string { return Addr{p.HostName, p.port()}.String() }

func (p Proxy) port() uint16 {
	if p.Type == HttpProxy {
		return cmp.Or(p.Port, httpPort)
	}
	return cmp.Or(p.Port, socks5Port)
}

// addr returns the proxy's address, for errors.
func (p Proxy) addr() net.Addr {
	if ip, err := netip.ParseAddr(p.HostName); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), p.port()))
	}
	return Addr{p.HostName, p.port()}
}

// check says what makes it pointless to ask the proxy at all.
func (p Proxy) check() error {
	switch {
	case p.Type != Socks5Proxy && p.Type != HttpProxy:
		return &fault{code: sock.UnsupportedSocketOperationError, err: fmt.Errorf("%v is no type of a proxy", p.Type)}
	case p.HostName == "":
		return &fault{code: sock.ProxyNotFoundError, err: errors.New("the proxy has no HostName")}
	case p.Type == Socks5Proxy && (len(p.User) > 255 || len(p.Password) > 255):
		return &fault{code: sock.ProxyAuthenticationRequiredError,
			err: fmt.Errorf("the user has %d bytes and the password %d: SOCKS5 takes at most 255", len(p.User), len(p.Password))}
	case p.Type == HttpProxy && strings.Contains(p.User, ":"):
		return &fault{code: sock.ProxyAuthenticationRequiredError, err: errors.New("the user has a colon, which HTTP's Basic scheme cannot say")}
	}
	return nil
}
