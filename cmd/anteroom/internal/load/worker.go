package load

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// atOnce is how long a message may be that is written before its answer is read. A longer one might not find room in the system's buffers
// as long as the server cannot send back.
const atOnce = 4 << 10

// A worker does one thing after the other with one connection at a time.
type worker struct {
	*run
	shard *shard
	msg   *message
	in    []byte
	wrote chan error // where the writing of a long message ends

	sent, received atomic.Int64 // of a stream
	sentBefore     atomic.Int64 // of it: when the measurement began

	mu    sync.Mutex
	conn  net.Conn // nil: none
	isCut bool     // nothing is waited for
}

func newWorker(r *run, i int) *worker {
	w := &worker{run: r, shard: r.rec.shard(i), wrote: make(chan error, 1)}
	if r.Mode.Asks() {
		w.msg = newMessage(r.pattern, r.Size, i)
		w.in = make([]byte, min(r.Size, piece)+1) // and a byte that must not come
	}
	return w
}

// hold makes a connection the worker's, on which nothing is waited for longer than a time.
func (w *worker) hold(c net.Conn, until time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = c
	if w.isCut {
		until = -time.Hour
	}
	c.SetDeadline(w.began.Add(until))
}

// drop closes the worker's connection.
func (w *worker) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn.Close()
	w.conn = nil
}

// cut ends what the worker waits for.
func (w *worker) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	if w.conn != nil {
		w.conn.SetDeadline(w.began.Add(-time.Hour))
	}
}

func (w *worker) wasCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isCut
}

// fail counts an error, unless it comes of cut, or of what is about to cut.
func (w *worker) fail(err error) {
	if !w.wasCut() && w.ctx.Err() != context.Canceled {
		w.rec.fail(err)
	}
}

// next waits until there is something to do, and returns when it was due; it reports false when there is nothing more.
func (w *worker) next() (due time.Duration, more bool) {
	if w.due == nil {
		now := w.now()
		return now, now < w.end && !w.stopped.Load()
	}
	due, more = <-w.due
	if more && due >= w.begin && w.now()-due > tooLate {
		w.shard.recordLate()
	}
	return due, more
}

// did counts what was due at a time and is done now. What took the whole measured time and more would leave no trace otherwise.
func (w *worker) did(due time.Duration) {
	now := w.now()
	switch {
	case due >= w.begin:
		w.shard.record(now - due)
	case now >= w.end:
		w.fail(errUnserved)
	}
}

func (w *worker) work() {
	switch w.Mode {
	case Echo:
		w.hold(w.conn, w.limit)
		defer w.drop()
		for due, more := w.next(); more; due, more = w.next() {
			if err := w.exchange(w.conn); err != nil {
				w.fail(err)
				return
			}
			w.did(due)
		}
	case Connect, Request:
		w.visit()
	case Stream:
		w.hold(w.conn, w.end)
		w.stream()
	}
}

// visit connects and closes, again and again. After errors it takes breath, so as not to be occupied with failing.
func (w *worker) visit() {
	const slowest = 100 * time.Millisecond
	pause := time.Millisecond
	for due, more := w.next(); more; due, more = w.next() {
		err := w.once()
		if err == nil {
			w.did(due)
			pause = time.Millisecond
			continue
		}
		w.fail(err)
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
		}
		pause = min(2*pause, slowest)
	}
}

// once makes a connection, sends a message if it should, and closes.
func (w *worker) once() error {
	c, err := w.dial(w.ctx)
	if err != nil {
		return connectError{err}
	}
	if w.Mode == Connect {
		return c.Close()
	}
	w.hold(c, min(w.limit, w.now()+w.Timeout))
	defer w.drop()
	return w.exchange(c)
}

// exchange sends a message and waits until it has come back.
func (w *worker) exchange(c net.Conn) error {
	w.msg.next()
	if w.Size <= atOnce {
		if err := w.msg.writeTo(c); err != nil {
			return &partial{0, w.Size, err}
		}
		return w.answer(c)
	}
	go func() { w.wrote <- w.msg.writeTo(c) }()
	err := w.answer(c)
	if err != nil {
		c.SetDeadline(w.began.Add(-time.Hour)) // it is of no use any more, and what is being written must end
		<-w.wrote
		return err
	}
	if err := <-w.wrote; err != nil {
		return &partial{w.Size, w.Size, err}
	}
	return nil
}

// answer waits until the message has come back.
func (w *worker) answer(c net.Conn) error {
	for got := 0; got < w.Size; {
		n, err := c.Read(w.in[:min(len(w.in), w.Size-got+1)])
		if err := w.msg.check(w.in[:min(n, w.Size-got)], got); err != nil {
			return err
		}
		got += n
		switch {
		case got > w.Size:
			return &excess{w.Size}
		case err != nil && got < w.Size:
			return &partial{got, w.Size, err}
		}
	}
	return nil
}

// stream sends until the end, and reads what comes back, without which an echo server would not go on.
func (w *worker) stream() {
	var reading sync.WaitGroup
	c := w.conn
	c.SetReadDeadline(w.began.Add(w.limit))
	reading.Go(func() {
		buf := make([]byte, piece)
		for {
			n, err := c.Read(buf)
			w.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	whole, err := w.send(c)
	switch {
	case err != nil && KindOf(err) != NoAnswer:
		w.fail(err)
	case whole == w.sentBefore.Load():
		w.fail(errUntaken)
	}
	w.drop()
	reading.Wait()
}

// send writes messages until the end, which comes as a deadline if the server takes no more. It returns how many bytes went in whole writes:
// the last one's part, which went into the system's buffers, does not tell of a server.
func (w *worker) send(c net.Conn) (whole int64, err error) {
	for w.now() < w.end && !w.stopped.Load() {
		for left := w.Size; left > 0; {
			n, err := c.Write(w.pattern[:min(len(w.pattern), left)])
			w.sent.Add(int64(n))
			if err != nil {
				return whole, err
			}
			left -= n
			whole += int64(n)
		}
	}
	return whole, nil
}
