package tcp_test

import (
	"io"
	"net"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/tcp"
)

// The benchmarks run the same program on this package and on package net. Compare the two within one run:
//
//	go test ./tcp -run '^$' -bench . -cpu 1 -count 6
//
// cpu-ns/op is the processor time of the whole process, client and server; it is the figure that survives noise.

// kinds is what each benchmark runs on.
var kinds = []struct {
	name   string
	listen func(b *testing.B) net.Listener
	dial   func(l net.Listener) (net.Conn, error)
}{
	{"net", func(b *testing.B) net.Listener { return listening(b)(net.Listen("tcp", "127.0.0.1:0")) }, func(l net.Listener) (net.Conn, error) {
		return net.Dial("tcp", l.Addr().String())
	}},
	{"tcp", func(b *testing.B) net.Listener { return listening(b)(asListener(tcp.Listen("127.0.0.1:0"))) }, func(l net.Listener) (net.Conn, error) {
		return tcp.Dial(l.Addr().String())
	}},
}

func asListener(s *tcp.Server, err error) (net.Listener, error) { return s, err }

func listening(b *testing.B) func(net.Listener, error) net.Listener {
	return func(l net.Listener, err error) net.Listener {
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
}

// measure runs one operation b.N times, and reports the processor time that it took.
func measure(b *testing.B, op func() error) {
	b.ReportAllocs()
	cpu := func() time.Duration {
		d, _ := sockettest.CPUTime()
		return d
	}
	var start time.Duration
	for first := true; b.Loop(); first = false {
		if first {
			start = cpu()
		}
		if err := op(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
}

// connected returns a client's end of a connection whose other end is given to serve, in a goroutine, until that returns.
func connected(b *testing.B, kind int, serve func(net.Conn)) net.Conn {
	l := kinds[kind].listen(b)
	b.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve(c)
	}()
	c, err := kinds[kind].dial(l)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// BenchmarkEcho sends 64 bytes there and back.
func BenchmarkEcho(b *testing.B) {
	for i, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			c := connected(b, i, func(c net.Conn) {
				buf := make([]byte, 64)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					c.Write(buf[:n])
				}
			})
			buf := make([]byte, 64)
			measure(b, func() error {
				if _, err := c.Write(buf); err != nil {
					return err
				}
				_, err := io.ReadFull(c, buf)
				return err
			})
		})
	}
}

// BenchmarkStream sends 64 KiB at a time, one way.
func BenchmarkStream(b *testing.B) {
	for i, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			c := connected(b, i, func(c net.Conn) {
				buf := make([]byte, 64<<10)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
				}
			})
			buf := make([]byte, 64<<10)
			b.SetBytes(int64(len(buf)))
			measure(b, func() error {
				_, err := c.Write(buf)
				return err
			})
		})
	}
}

// BenchmarkAccept accepts connections of plain clients, and closes them.
func BenchmarkAccept(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			l := k.listen(b)
			defer l.Close()
			addr := l.Addr().String()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						return
					}
					c.(*net.TCPConn).SetLinger(0) // a reset, which leaves no port in TIME_WAIT
					c.Close()
				}
			}()
			measure(b, func() error {
				c, err := l.Accept()
				if err != nil {
					return err
				}
				return c.Close()
			})
			l.Close()
			<-done
		})
	}
}
