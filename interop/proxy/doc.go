// Package proxy holds the proof that this library and real proxies understand each other: tests that start dante's SOCKS5 server and tinyproxy,
// and go through them. There is no code to import.
//
// The tests need Linux, root and iproute2: the test process runs itself again in a network and mount namespace of its own, which has addresses
// besides the loopback ones, its own users and its own host names, and is gone with it. On Debian the proxies are in dante-server and tinyproxy.
// What is missing is skipped and named; with ANTEROOM_REQUIRE_INTEROP set to anything, as in continuous integration, it fails instead.
package proxy
