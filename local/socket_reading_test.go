package local_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"
)

func TestSocketReadingWithoutWaiting(t *testing.T) {
	client, server := pair(t)
	put := func(s string) {
		t.Helper()
		before := client.BytesAvailable()
		server.Write([]byte(s))
		sockettest.Eventually(t, "the bytes arrive", func() bool { return client.BytesAvailable() == before+int64(len(s)) })
	}
	put("one\ntwo")
	for range 2 {
		if b, err := client.Peek(100); string(b) != "one\ntwo" || err != nil {
			t.Errorf("Peek: %q, %v", b, err)
		}
	}
	if b, _ := client.Peek(2); string(b) != "on" {
		t.Errorf("Peek(2): %q", b)
	}
	if b, err := client.Peek(0); b != nil || err != nil {
		t.Errorf("Peek(0): %q, %v", b, err)
	}
	if b, err := client.Peek(-1); b != nil || err != nil {
		t.Errorf("Peek(-1): %q, %v", b, err)
	}
	if !client.CanReadLine() {
		t.Error("CanReadLine is false")
	}
	if b, _ := client.ReadLine(2); string(b) != "on" {
		t.Errorf("ReadLine(2): %q", b)
	}
	if b, _ := client.ReadLine(0); string(b) != "e\n" {
		t.Errorf("ReadLine(0): %q", b)
	}
	if client.CanReadLine() {
		t.Error("CanReadLine is true without a newline")
	}
	if b, _ := client.ReadLine(0); string(b) != "two" {
		t.Errorf("ReadLine(0): %q", b)
	}
	put("0123456789")
	if n, err := client.Skip(0); n != 0 || err != nil {
		t.Errorf("Skip(0): %d, %v", n, err)
	}
	if n, err := client.Skip(-3); n != 0 || err != nil {
		t.Errorf("Skip(-3): %d, %v", n, err)
	}
	if n, err := client.Skip(4); n != 4 || err != nil {
		t.Errorf("Skip(4): %d, %v", n, err)
	}
	b := make([]byte, 3)
	if n, err := client.ReadAvailable(b); n != 3 || err != nil || string(b) != "456" {
		t.Errorf("ReadAvailable: %q, %v", b[:n], err)
	}
	client.Peek(1)                                                          // what is buffered
	put("abc")                                                              // and what is not
	if n, err := client.Read(b); string(b[:n]) != "789"[:n] || err != nil { // come in order
		t.Errorf("Read: %q, %v", b[:n], err)
	}
	rest, _ := client.Peek(100)
	if !strings.HasSuffix("789abc", string(rest)) || len(rest) == 0 {
		t.Errorf("Peek: %q", rest)
	}
	if n, err := client.Skip(1 << 40); n != int64(len(rest)) || err != nil {
		t.Errorf("Skip: %d, %v", n, err)
	}
	if n, err := client.ReadAvailable(b); n != 0 || err != nil {
		t.Errorf("with nothing there: %d, %v", n, err)
	}
	put("end")
	server.Close()
	sockettest.Eventually(t, "the last bytes and the end", func() bool {
		b, err := client.Peek(100)
		return string(b) == "end" && err == nil
	})
	if n, err := client.Skip(100); n != 3 || err != nil {
		t.Errorf("Skip: %d, %v", n, err)
	}
	sockettest.Eventually(t, "the end", func() bool { _, err := client.Skip(1); return err == io.EOF })
	for name, err := range map[string]error{
		"Peek":          func() error { _, err := client.Peek(1); return err }(),
		"ReadLine":      func() error { _, err := client.ReadLine(0); return err }(),
		"Read":          func() error { _, err := client.Read(b); return err }(),
		"ReadAvailable": func() error { _, err := client.ReadAvailable(b); return err }(),
	} {
		if err != io.EOF {
			t.Errorf("%s after the end: %v; want io.EOF as it is", name, err)
		}
	}
}

func TestSocketReadBufferSizeBoundsWhatIsToldAndBuffered(t *testing.T) {
	client, server := pair(t)
	client.SetReadBufferSize(128)
	if client.ReadBufferSize() != 128 {
		t.Errorf("ReadBufferSize: %d", client.ReadBufferSize())
	}
	server.Write(bytes.Repeat([]byte("x"), 1000))
	server.Close()
	must(t, client.WaitForReadyRead(sockettest.Long()))
	wantIs(t, "the wait while the buffer is full", client.WaitForDisconnected(small), sock.SocketTimeoutError)
	if n := client.BytesAvailable(); n != 128 {
		t.Errorf("%d bytes are available; want 128", n)
	}
	if b, _ := client.Peek(500); len(b) != 128 {
		t.Errorf("Peek has found %d bytes; want 128", len(b))
	}
	wantState(t, client, sock.ConnectedState) // the end comes after the rest
	total := 0
	for client.State() == sock.ConnectedState {
		n, err := client.ReadAvailable(make([]byte, 50))
		if total += n; err != nil || n == 0 {
			break
		}
	}
	if total != 1000 {
		t.Errorf("%d bytes were read; want 1000", total)
	}
	if client.WaitForDisconnected(sockettest.Long()); client.State() != sock.UnconnectedState {
		t.Error("it has not ended")
	}
	client.SetReadBufferSize(-5)
	if client.ReadBufferSize() != 0 {
		t.Errorf("ReadBufferSize: %d; want 0, no limit", client.ReadBufferSize())
	}
}

func TestSocketReadBufferSizeWaitsDoNotSpin(t *testing.T) {
	client, server := pair(t)
	client.SetReadBufferSize(10)
	server.Write(make([]byte, 1000))
	must(t, client.WaitForReadyRead(sockettest.Long()))
	sockettest.Rests(t, "waits for what has no room", func() {
		wantIs(t, "WaitForReadyRead", client.WaitForReadyRead(sockettest.Scale(100*time.Millisecond)), sock.SocketTimeoutError)
		wantIs(t, "WaitForDisconnected", client.WaitForDisconnected(sockettest.Scale(100*time.Millisecond)), sock.SocketTimeoutError)
	})
}

func TestSocketWriteOnlyThrowsAwayWhatArrives(t *testing.T) {
	client := new(local.Socket)
	server := pairWith(t, client, sock.WriteOnly)
	client.OnReadyRead(func() { t.Error("readyRead is told") })
	ended := make(chan struct{})
	client.OnDisconnected(func() { close(ended) })
	server.SetWriteDeadline(time.Now().Add(sockettest.Long()))
	if _, err := server.Write(make([]byte, large)); err != nil { // more than fits: somebody takes it
		t.Errorf("the peer's Write: %v", err)
	}
	if n := client.BytesAvailable(); n != 0 || client.CanReadLine() {
		t.Errorf("%d bytes are available", n)
	}
	_, err := client.Read(make([]byte, 1))
	wantIs(t, "Read", err, sock.OperationError)
	_, err = client.ReadAvailable(make([]byte, 1))
	wantIs(t, "ReadAvailable", err, sock.OperationError)
	wantIs(t, "WaitForReadyRead", client.WaitForReadyRead(sock.Forever), sock.OperationError)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	server.Abort()
	sockettest.Done(t, "the end is told", ended)
}

func TestSocketReadOnlyDoesNotWrite(t *testing.T) {
	client := new(local.Socket)
	server := pairWith(t, client, sock.ReadOnly)
	_, err := client.Write([]byte("x"))
	wantIs(t, "Write", err, sock.OperationError)
	_, err = client.WriteBuffered([]byte("x"))
	wantIs(t, "WriteBuffered", err, sock.OperationError)
	server.Write([]byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(client, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
}
