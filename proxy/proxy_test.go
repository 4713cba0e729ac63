package proxy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"anteroom/proxy"
	"anteroom/sock"
)

func TestTypesHaveQtsNumbersAndNames(t *testing.T) {
	for typ, want := range map[proxy.Type]string{0: "DefaultProxy", 1: "Socks5Proxy", 2: "NoProxy", 3: "HttpProxy", 4: "Type(4)", -1: "Type(-1)"} {
		if typ.String() != want {
			t.Errorf("type %d is %s; want %s", int8(typ), typ, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	const tunnel, listen, lookup = proxy.Capability(1), proxy.Capability(2), proxy.Capability(16)
	for typ, want := range map[proxy.Type]proxy.Capability{
		proxy.DefaultProxy: tunnel | listen, proxy.NoProxy: tunnel | listen, proxy.Socks5Proxy: tunnel | listen | lookup, proxy.HttpProxy: tunnel | lookup, 9: 0,
	} {
		if got := (proxy.Proxy{Type: typ}).Capabilities(); got != want {
			t.Errorf("%v: %#x; want %#x", typ, got, want)
		}
	}
}

func TestApplicationProxyIsWhatDefaultProxyStandsFor(t *testing.T) {
	t.Cleanup(func() { proxy.SetApplicationProxy(proxy.Proxy{}) })
	t.Setenv("ALL_PROXY", "socks5://127.0.0.1:1") // is not asked
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	var p proxy.Proxy
	if got := p.Resolve(); got != (proxy.Proxy{Type: proxy.NoProxy}) || proxy.ApplicationProxy() != p {
		t.Errorf("unset: %v, %v", got, proxy.ApplicationProxy())
	}
	app := proxy.Proxy{Type: proxy.HttpProxy, HostName: "h", Port: 3128, User: "u", Password: "p"}
	proxy.SetApplicationProxy(app)
	if got := p.Resolve(); got != app || proxy.ApplicationProxy() != app {
		t.Errorf("set: %v, %v", got, proxy.ApplicationProxy())
	}
	if p.Capabilities() != app.Capabilities() {
		t.Errorf("the capabilities are %#x", p.Capabilities())
	}
	own := proxy.Proxy{Type: proxy.NoProxy}
	if got := own.Resolve(); got != own {
		t.Errorf("a proxy of another type resolves to %v", got)
	}
	proxy.SetApplicationProxy(proxy.Proxy{HostName: "left over"})
	if got := p.Resolve(); got.Type != proxy.NoProxy || proxy.ApplicationProxy() != p {
		t.Errorf("taken back: %v, %v", got, proxy.ApplicationProxy())
	}
}

func TestParse(t *testing.T) {
	const socks, http = proxy.Socks5Proxy, proxy.HttpProxy
	for url, want := range map[string]proxy.Proxy{
		"socks5://proxy.example":              {socks, "proxy.example", 1080, "", ""},
		"socks5h://proxy.example:1":           {socks, "proxy.example", 1, "", ""},
		"SOCKS5://10.0.0.1:65535/":            {socks, "10.0.0.1", 65535, "", ""},
		"socks5://[::1]:1081":                 {socks, "::1", 1081, "", ""},
		"socks5://[fe80::1%25eth0]":           {socks, "fe80::1%eth0", 1080, "", ""},
		"socks5://me@proxy.example":           {socks, "proxy.example", 1080, "me", ""},
		"socks5://m%40e:p%3Aw%2F@proxy:5":     {socks, "proxy", 5, "m@e", "p:w/"},
		"http://proxy.example":                {http, "proxy.example", 8080, "", ""},
		"http://me:secret@proxy.example:3128": {http, "proxy.example", 3128, "me", "secret"},
		"http://proxy:":                       {http, "proxy", 8080, "", ""},
	} {
		p, err := proxy.Parse(url)
		if err != nil || p != want {
			t.Errorf("%s: %#v, %v; want %#v", url, p, err, want)
		}
		again, err := proxy.Parse(p.String())
		if want.Password = ""; err != nil || again != want {
			t.Errorf("%s, said as %q, is %#v, %v; want %#v", url, p, again, err, want)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for url, want := range map[string]string{
		"":                              "no proxy's URL",
		"proxy.example:1080":            "", // a scheme, to package net/url
		"127.0.0.1:1080":                "no proxy's URL",
		"//proxy.example":               "no proxy's URL",
		"socks5:proxy.example":          "no proxy's URL",
		"socks5://":                     "no host name",
		"socks5://:1080":                "no host name",
		"socks5://a_host\r\nX: y":       "no proxy's URL",
		"socks5://me:secret/x@proxy":    "no proxy's URL",
		"socks5://proxy:0":              "not a number from 1 to 65535",
		"socks5://proxy:65536":          "not a number from 1 to 65535",
		"socks5://me:secret@proxy:x":    "no proxy's URL",
		"socks5://proxy/path":           "ends with the port",
		"http://proxy?x=secret":         "ends with the port",
		"http://proxy#secret":           "ends with the port",
		"http://:secret@proxy":          "a password without a user",
		"https://me:secret@proxy":       `"https" is not supported`,
		"socks4://proxy":                `"socks4" is not supported`,
		"http://b\u00fccher.example":    "xn--",
		"socks5://" + long300 + ":1080": "255 is the most",
		"socks5://[fe80::1%25b\u00fc]":  "write the interface's number",
		"socks5://[fe80::1%25\xff]":     "write the interface's number",
	} {
		p, err := proxy.Parse(url)
		if err == nil {
			t.Errorf("%q is %#v; want an error", url, p)
			continue
		}
		wantCode(t, err, sock.UnsupportedSocketOperationError, errors.ErrUnsupported)
		if p != (proxy.Proxy{}) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %#v, %v; want one that says %q, and no password", url, p, err, want)
		}
	}
}

var long300 = strings.Repeat("x", 300)

// A special character that is not written as %XX makes a part of the password something else to package net/url: a port of digits, most often.
func TestParseNeverTellsAPassword(t *testing.T) {
	for _, special := range `#?/[]:@%\^"|<>{} ` + "`\x7f\u00fc" {
		for _, password := range []string{"20240101%c1", "1%c20240101", "%c20240101", "20240101%c"} {
			for _, form := range []string{"http://bob:%s@proxy.example:8080", "socks5://bob:%s@[::1]", "socks5://:%s@proxy", "bob:%s@proxy:1080"} {
				url := fmt.Sprintf(form, fmt.Sprintf(password, special))
				if _, err := proxy.Parse(url); err != nil && strings.Contains(err.Error(), "20240101") {
					t.Errorf("%q: the error tells the password: %v", url, err)
				}
			}
		}
	}
}

func TestStringHasNoPassword(t *testing.T) {
	p := proxy.Proxy{Type: proxy.Socks5Proxy, HostName: "::1", User: "a b", Password: "secret"}
	if got, want := p.String(), "socks5://a%20b@[::1]:1080"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if s := fmt.Sprintf("%v %+v %s", p, p, p); strings.Contains(s, "secret") {
		t.Errorf("printed as %s", s)
	}
	for want, p := range map[string]proxy.Proxy{
		"http://h:8080": {Type: proxy.HttpProxy, HostName: "h"}, "NoProxy": {Type: proxy.NoProxy, HostName: "h"}, "DefaultProxy": {}, "Type(7)": {Type: 7},
	} {
		if p.String() != want {
			t.Errorf("%s; want %s", p, want)
		}
	}
}
