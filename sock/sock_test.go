package sock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"anteroom/sock"
)

// all is every code with Qt's number for it.
var all = map[sock.SocketError]struct {
	name string
	qt   int
}{
	sock.NoError:                          {"NoError", -1},
	sock.ConnectionRefusedError:           {"ConnectionRefusedError", 0},
	sock.RemoteHostClosedError:            {"RemoteHostClosedError", 1},
	sock.HostNotFoundError:                {"HostNotFoundError", 2},
	sock.SocketAccessError:                {"SocketAccessError", 3},
	sock.SocketResourceError:              {"SocketResourceError", 4},
	sock.SocketTimeoutError:               {"SocketTimeoutError", 5},
	sock.DatagramTooLargeError:            {"DatagramTooLargeError", 6},
	sock.NetworkError:                     {"NetworkError", 7},
	sock.AddressInUseError:                {"AddressInUseError", 8},
	sock.SocketAddressNotAvailableError:   {"SocketAddressNotAvailableError", 9},
	sock.UnsupportedSocketOperationError:  {"UnsupportedSocketOperationError", 10},
	sock.UnfinishedSocketOperationError:   {"UnfinishedSocketOperationError", 11},
	sock.ProxyAuthenticationRequiredError: {"ProxyAuthenticationRequiredError", 12},
	sock.SslHandshakeFailedError:          {"SslHandshakeFailedError", 13},
	sock.ProxyConnectionRefusedError:      {"ProxyConnectionRefusedError", 14},
	sock.ProxyConnectionClosedError:       {"ProxyConnectionClosedError", 15},
	sock.ProxyConnectionTimeoutError:      {"ProxyConnectionTimeoutError", 16},
	sock.ProxyNotFoundError:               {"ProxyNotFoundError", 17},
	sock.ProxyProtocolError:               {"ProxyProtocolError", 18},
	sock.OperationError:                   {"OperationError", 19},
	sock.SslInternalError:                 {"SslInternalError", 20},
	sock.SslInvalidUserDataError:          {"SslInvalidUserDataError", 21},
	sock.TemporaryError:                   {"TemporaryError", 22},
	sock.UnknownSocketError:               {"UnknownSocketError", -1},
}

func TestSocketErrorHasQtsNameAndNumber(t *testing.T) {
	texts := map[string]sock.SocketError{}
	for code, want := range all {
		if code.Name() != want.name || code.Qt() != want.qt {
			t.Errorf("%d: name %s, number %d; want %s, %d", code, code.Name(), code.Qt(), want.name, want.qt)
		}
		text := code.Error()
		if other, twice := texts[text]; twice {
			t.Errorf("%s and %s have the same text %q", code.Name(), other.Name(), text)
		}
		texts[text] = code
	}
	for _, stray := range []sock.SocketError{-128, -1, sock.UnknownSocketError + 1, 127} {
		if stray.Name() != "UnknownSocketError" || stray.Qt() != -1 || stray.Error() != sock.UnknownSocketError.Error() {
			t.Errorf("%d is %s, %d, %q; want an unknown error", int(stray), stray.Name(), stray.Qt(), stray.Error())
		}
	}
}

func TestErrorIsItsCodeAndItsCause(t *testing.T) {
	err := error(&sock.Error{
		Op: "listen", Net: "local", Addr: &net.UnixAddr{Name: "/tmp/foo", Net: "unix"},
		Code: sock.AddressInUseError, Err: os.NewSyscallError("bind", syscall.EADDRINUSE),
	})
	if want := "listen local /tmp/foo: address in use: bind: " + syscall.EADDRINUSE.Error(); err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
	err = fmt.Errorf("wrapped: %w", err)
	for _, target := range []error{sock.AddressInUseError, syscall.EADDRINUSE} {
		if !errors.Is(err, target) {
			t.Errorf("errors.Is(err, %v) is false", target)
		}
	}
	for _, target := range []error{sock.NoError, sock.UnknownSocketError, syscall.ENOENT, fs.ErrNotExist} {
		if errors.Is(err, target) {
			t.Errorf("errors.Is(err, %v) is true", target)
		}
	}
	var code sock.SocketError
	if !errors.As(err, &code) || code != sock.AddressInUseError {
		t.Errorf("errors.As finds %v", code)
	}
}

func TestErrorQuotesAddressesThatWouldGarbleIt(t *testing.T) {
	err := &sock.Error{Op: "connect", Net: "local", Addr: &net.UnixAddr{Name: "@a\x00\n", Net: "unix"}, Code: sock.ConnectionRefusedError}
	if want := `connect local "@a\x00\n": connection refused`; err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
}

func TestErrorNeverWrapsNoError(t *testing.T) {
	err := &sock.Error{Op: "read", Err: io.ErrUnexpectedEOF}
	if errors.Is(err, sock.NoError) {
		t.Error("errors.Is(err, NoError) is true")
	}
	var code sock.SocketError
	if errors.As(err, &code) {
		t.Errorf("errors.As finds %s", code.Name())
	}
	if want := "read: unexpected EOF"; err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
}

func TestErrorIsANetError(t *testing.T) {
	tests := []struct {
		name               string
		err                sock.Error
		timeout, temporary bool
	}{
		{"timed out", sock.Error{Code: sock.SocketTimeoutError, Err: os.ErrDeadlineExceeded}, true, true},
		{"context deadline", sock.Error{Code: sock.SocketTimeoutError, Err: context.DeadlineExceeded}, true, true},
		{"proxy timed out", sock.Error{Code: sock.ProxyConnectionTimeoutError, Err: context.DeadlineExceeded}, true, true},
		{"context cancelled", sock.Error{Code: sock.SocketTimeoutError, Err: context.Canceled}, false, false},
		{"out of descriptors", sock.Error{Code: sock.SocketResourceError, Err: syscall.EMFILE}, false, true},
		{"try again", sock.Error{Code: sock.TemporaryError, Err: syscall.EAGAIN}, false, true},
		{"closed", sock.Error{Code: sock.OperationError, Err: net.ErrClosed}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ne net.Error
			if !errors.As(&tt.err, &ne) {
				t.Fatal("no net.Error")
			}
			if tt.err.Timeout() != tt.timeout || tt.err.Temporary() != tt.temporary {
				t.Errorf("timeout %v, temporary %v", tt.err.Timeout(), tt.err.Temporary())
			}
		})
	}
}

func TestCodesAreTheStandardLibrarysErrors(t *testing.T) {
	tests := []struct {
		code   sock.SocketError
		target error
	}{
		{sock.SocketTimeoutError, os.ErrDeadlineExceeded},
		{sock.SocketAccessError, fs.ErrPermission},
		{sock.UnsupportedSocketOperationError, errors.ErrUnsupported},
	}
	for _, tt := range tests {
		if !errors.Is(&sock.Error{Op: "x", Code: tt.code}, tt.target) {
			t.Errorf("%s is not %v", tt.code.Name(), tt.target)
		}
		if errors.Is(&sock.Error{Op: "x", Code: sock.NetworkError}, tt.target) {
			t.Errorf("NetworkError is %v", tt.target)
		}
	}
}

func TestCodeOf(t *testing.T) {
	tests := []struct {
		err  error
		want sock.SocketError
	}{
		{nil, sock.NoError},
		{sock.ProxyNotFoundError, sock.ProxyNotFoundError},
		{&sock.Error{Op: "x", Code: sock.NetworkError, Err: syscall.EACCES}, sock.NetworkError},
		{os.NewSyscallError("connect", syscall.ECONNREFUSED), sock.ConnectionRefusedError},
		{syscall.ENOENT, sock.HostNotFoundError},
		{syscall.ENAMETOOLONG, sock.HostNotFoundError},
		{syscall.EACCES, sock.SocketAccessError},
		{syscall.EPERM, sock.SocketAccessError},
		{syscall.EMFILE, sock.SocketResourceError},
		{syscall.ENFILE, sock.SocketResourceError},
		{syscall.ENOBUFS, sock.SocketResourceError},
		{syscall.ENOMEM, sock.SocketResourceError},
		{syscall.EADDRNOTAVAIL, sock.SocketAddressNotAvailableError},
		{syscall.EPIPE, sock.RemoteHostClosedError},
		{syscall.ECONNRESET, sock.RemoteHostClosedError},
		{syscall.EBADF, sock.UnsupportedSocketOperationError},
		{io.EOF, sock.RemoteHostClosedError},
		{net.ErrClosed, sock.OperationError},
		{os.ErrDeadlineExceeded, sock.SocketTimeoutError},
		{context.DeadlineExceeded, sock.SocketTimeoutError},
		{context.Canceled, sock.SocketTimeoutError},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, sock.HostNotFoundError},
		{&net.DNSError{Err: "slow", IsTimeout: true}, sock.SocketTimeoutError},
		{&net.OpError{Op: "dial", Err: &net.AddrError{Err: "missing port in address", Addr: "nohost"}}, sock.HostNotFoundError},
		{errors.New("odd"), sock.UnknownSocketError},
	}
	for _, tt := range tests {
		if got := sock.CodeOf(tt.err); got != tt.want {
			t.Errorf("CodeOf(%v) = %s, want %s", tt.err, got.Name(), tt.want.Name())
		}
	}
}

func TestStatesAndModesHaveQtsNumbersAndNames(t *testing.T) {
	states := []string{"UnconnectedState", "HostLookupState", "ConnectingState", "ConnectedState", "BoundState", "ListeningState", "ClosingState"}
	for n, name := range states {
		if sock.State(n).String() != name {
			t.Errorf("state %d is %s, want %s", n, sock.State(n), name)
		}
	}
	for _, stray := range []sock.State{-1, 7} {
		if !strings.HasPrefix(stray.String(), "State(") {
			t.Errorf("state %d is %s", int8(stray), stray)
		}
	}
	modes := map[sock.OpenMode]string{1: "ReadOnly", 2: "WriteOnly", 3: "ReadWrite", 0: "OpenMode(0)", 9: "OpenMode(9)"}
	for m, name := range modes {
		if m.String() != name {
			t.Errorf("mode %d is %s, want %s", uint8(m), m, name)
		}
	}
}

func TestDescriptorZeroValueIsInvalid(t *testing.T) {
	for name, d := range map[string]sock.Descriptor{"zero": {}, "-1": sock.FromFd(^uintptr(0)), "lent -1": sock.Lend(^uintptr(0)),
		"nil connection": sock.FromConn(nil), "nil pointer": sock.FromConn((*net.TCPConn)(nil))} {
		if d.IsValid() {
			t.Errorf("%s is valid", name)
		}
		if _, ok := d.Fd(); ok {
			t.Errorf("%s has a handle", name)
		}
		if err := d.Close(); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
		if err := d.Control(func(uintptr) { t.Error("called") }); !errors.Is(err, sock.UnsupportedSocketOperationError) {
			t.Errorf("%s: Control: %v", name, err)
		}
	}
	if d := sock.FromFd(0); !d.IsValid() {
		t.Error("FromFd(0) is not valid")
	}
}

func TestDescriptorOfAConnection(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	d := sock.FromConn(a)
	if _, ok := d.Fd(); ok || !d.IsValid() {
		t.Errorf("a connection without a handle: valid %v, handle %v", d.IsValid(), ok)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is not closed: %v", err)
	}
}

func TestDescriptorLentIsNotClosed(t *testing.T) {
	r, f, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer f.Close()
	d := sock.Lend(f.Fd())
	if !d.IsLent() || d.Close() != nil {
		t.Errorf("lent %v", d.IsLent())
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Errorf("the file was closed: %v", err)
	}
}
