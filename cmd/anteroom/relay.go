package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"anteroom/sock"
)

// A relay carries stdin to a connection, and the connection to stdout, each until its end, and in pieces of a bounded size:
//
//   - At stdin's end the connection is half-closed: the peer reads the end, and may go on writing.
//   - When the peer half-closes, stdin is still carried to it.
//   - When the peer has closed, nothing more can be sent: the relay ends, also if stdin has not. TCP does not say that before something
//     was sent in vain.
//   - Where a half-close cannot be told, as through a pipe to another program, each side waits until the other one has closed; with
//     endAfter until nothing has come for so long after stdin's end.
//
// So nothing is lost without an error. What the peer cannot have read, because it has closed before, is one.
type relay struct {
	conn     conn
	w        *world
	untilEnd bool          // the peer's end is the relay's
	endAfter time.Duration // how long nothing comes after stdin's end, before the relay ends; 0: for ever
	idle     bool          // it was so long
	received int64

	mu   sync.Mutex
	cond sync.Cond
	out  sending
}

// sending is how far stdin has been carried.
type sending struct {
	sent  int64
	turns int  // counts what stdin has given
	busy  bool // what it has given is being sent
	ended bool // nothing more is sent
	err   error
}

const relayBuffer = 128 << 10

var errUnsent = errors.New("the peer closed the connection before everything was sent")

// run carries until the connection has ended. It leaves the connection open, and, if the peer closed first, a goroutine that reads stdin.
func (r *relay) run() error {
	r.cond.L = &r.mu
	stdinEnded := make(chan struct{})
	go func() {
		defer close(stdinEnded)
		r.send()
	}()
	err := r.receive()
	if r.idle {
		err = r.progress().err
	} else if err == nil && !r.untilEnd {
		// The peer's end. It has closed, or only half-closed.
		hungUp := make(chan struct{})
		go func() {
			defer close(hungUp)
			waitHangUp(r.conn)
		}()
		select {
		case <-stdinEnded:
		case <-hungUp:
			r.settle()
			err = r.receive() // says whether the peer has left something unread
		}
		if err == nil {
			err = r.progress().err
		}
	}
	switch {
	case errors.Is(err, sock.RemoteHostClosedError): // EPIPE, or ECONNRESET: there was something that it has not read
		return &failure{status: exitPeer, err: errUnsent}
	case err != nil:
		return fail(err)
	}
	return nil
}

// receive carries the connection to stdout. It returns nil at the peer's end, and when it was idle for too long.
func (r *relay) receive() error {
	buf := make([]byte, relayBuffer)
	for {
		n, err := r.conn.Read(buf)
		if n > 0 {
			if _, err := r.w.stdout.Write(buf[:n]); err != nil {
				return outputError(err)
			}
			r.received += int64(n)
		}
		if r.endAfter > 0 && err == nil && r.progress().ended {
			r.conn.SetReadDeadline(time.Now().Add(r.endAfter))
		}
		if err == io.EOF {
			return nil
		}
		if r.endAfter > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			r.idle = true
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// send carries stdin to the connection.
func (r *relay) send() {
	buf := make([]byte, relayBuffer)
	for {
		n, err := r.w.stdin.Read(buf)
		r.change(func(s *sending) { s.turns, s.busy = s.turns+1, true })
		sent, failed := 0, error(nil)
		if n > 0 {
			sent, failed = r.conn.Write(buf[:n])
		}
		switch {
		case failed != nil:
		case err == io.EOF, wasInterrupted(err):
			r.conn.CloseWrite() // fails only if the connection has gone, which receive finds out
		case err != nil:
			failed = &failure{status: exitPeer, err: err}
			r.conn.CloseWrite()
		}
		r.change(func(s *sending) {
			s.sent += int64(sent)
			s.busy, s.err, s.ended = false, failed, failed != nil || err != nil
		})
		if failed != nil || err != nil {
			if r.endAfter > 0 {
				r.conn.SetReadDeadline(time.Now().Add(r.endAfter))
			}
			return
		}
	}
}

// settle waits, after the peer has closed, until what stdin has given is sent, which fails then, or until stdin would have to be waited for.
func (r *relay) settle() {
	for {
		s := r.progress()
		if s.ended || !s.busy && !hasInput(r.w.stdin) {
			return
		}
		r.awaitChange(s)
	}
}

// awaitChange waits until the progress is another one, or for settlePause.
func (r *relay) awaitChange(s sending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	passed := false
	if settlePause > 0 {
		defer time.AfterFunc(settlePause, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			passed = true
			r.cond.Broadcast()
		}).Stop()
	}
	for r.out == s && !passed {
		r.cond.Wait()
	}
}

func (r *relay) progress() sending {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out
}

func (r *relay) change(f func(*sending)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.out)
	r.cond.Broadcast()
}

// total returns how much was carried. It is for after run.
func (r *relay) total() (sent, received int64) { return r.progress().sent, r.received }
