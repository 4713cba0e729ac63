package datastream

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

// pieces is a source that has no more yet after each piece, and then ends with err, or never if that is nil.
type pieces struct {
	data [][]byte
	gap  bool // the next answer is (0, nil)
	err  error
}

// bytewise has the bytes of stream one by one.
func bytewise(stream []byte) *pieces {
	p := &pieces{gap: true}
	for i := range stream {
		p.data = append(p.data, stream[i:i+1])
	}
	return p
}

func (s *pieces) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, s.err
	}
	if s.gap = !s.gap; !s.gap {
		return 0, nil
	}
	n := copy(p, s.data[0])
	if s.data[0] = s.data[0][n:]; len(s.data[0]) == 0 {
		s.data = s.data[1:]
	}
	return n, nil
}

// message is what the transactions below read: 3 + 6 + 7 + 14 bytes.
const message = "0001 07 00000002 0041 00000003 616263 00000002 00000002 0042 ffffffff"

func readMessage(r *Reader) bool {
	return r.Uint16() == 1 && r.Uint8() == 7 && r.String() == "A" && string(r.ByteArray()) == "abc" && len(r.StringList()) == 2
}

func TestTransactionByteByByte(t *testing.T) {
	stream := unhex(t, message+message)
	src := bytewise(stream)
	src.err = io.EOF
	r := NewReader(src)
	tries, messages := 0, 0
	for r.Err() == nil {
		r.StartTransaction()
		whole := readMessage(r)
		if tries++; r.CommitTransaction() {
			messages++
			if !whole {
				t.Fatal("committed, and the values are wrong")
			}
		} else if whole {
			t.Fatal("whole, and not committed")
		}
	}
	if r.Err() != io.EOF || messages != 2 || tries != len(stream)+messages+1 {
		t.Errorf("%d messages in %d tries, then %v", messages, tries, r.Err())
	}
}

func TestTransactionEOF(t *testing.T) {
	for n := range unhex(t, message) {
		var src bytes.Buffer // ends, and then has more after all
		src.Write(unhex(t, message)[:n])
		r := NewReader(&src)
		for range 2 {
			r.StartTransaction()
			if readMessage(r) || r.CommitTransaction() {
				t.Fatalf("committed %d bytes", n)
			}
			if err := r.Err(); n == 0 && err != io.EOF || n > 0 && (!errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrReadPastEnd)) {
				t.Errorf("the end after %d bytes: %v", n, err)
			}
		}
		if r.Uint8() != 0 || r.Err() == nil {
			t.Errorf("the end after %d bytes was forgotten outside of a transaction", n)
		}
		src.Write(unhex(t, message)[n:])
		r.StartTransaction()
		if whole := readMessage(r); !r.CommitTransaction() || !whole || r.Err() != nil {
			t.Errorf("what came %d bytes later: %v", n, r.Err())
		}
	}
}

func TestTransactionSourceFails(t *testing.T) {
	data := [][]byte{unhex(t, message)[:10], nil, unhex(t, message)[10:]}
	r := NewReader(ReaderFunc(func(p []byte) (int, error) {
		n := copy(p, data[0])
		data = data[1:]
		if n == 0 {
			return 0, os.ErrDeadlineExceeded
		}
		return n, nil
	}))
	r.StartTransaction()
	if readMessage(r) || r.CommitTransaction() || !errors.Is(r.Err(), os.ErrDeadlineExceeded) {
		t.Fatalf("a deadline that passed: %v", r.Err())
	}
	r.StartTransaction()
	if whole := readMessage(r); !r.CommitTransaction() || !whole {
		t.Errorf("after it: %v", r.Err())
	}
}

func TestTransactionNoMoreYetIsAnErrorUntilItEnds(t *testing.T) {
	r := NewReader(&pieces{})
	r.StartTransaction()
	r.Uint8()
	if err := r.Err(); !errors.Is(err, ErrReadPastEnd) {
		t.Errorf("within: %v", err)
	}
	if r.CommitTransaction() || r.Err() != nil {
		t.Errorf("after: %v", r.Err())
	}
}

func TestTransactionCorruptIsFinal(t *testing.T) {
	for _, end := range []func(*Reader){
		func(r *Reader) {
			if r.CommitTransaction() {
				t.Error("committed")
			}
		},
		(*Reader).RollbackTransaction,
	} {
		r := NewReader(bytes.NewReader(unhex(t, "00000003 004100 00")))
		r.StartTransaction()
		_ = r.String()
		end(r)
		r.StartTransaction()
		if n := r.Uint8(); n != 0 || r.CommitTransaction() || !errors.Is(r.Err(), ErrReadCorruptData) {
			t.Errorf("read %d after it, %v", n, r.Err())
		}
	}
}

func TestTransactionRollback(t *testing.T) {
	r := NewReader(bytes.NewReader(unhex(t, "0102 0304")))
	r.StartTransaction()
	r.Uint16()
	r.RollbackTransaction()
	if r.Err() != nil || r.Uint16() != 0x0102 {
		t.Errorf("nothing was unread: %v", r.Err())
	}
	r.StartTransaction()
	r.Uint64()
	r.RollbackTransaction()
	if err := r.Err(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the end of the source is forgotten: %v", err)
	}
	r.StartTransaction()
	if n := r.Uint16(); n != 0x0304 || !r.CommitTransaction() {
		t.Errorf("read %x, %v", n, r.Err())
	}
}

func TestTransactionNested(t *testing.T) {
	r := NewReader(bytes.NewReader(unhex(t, "0102 0304")))

	// The inner ones are part of the outermost.
	r.StartTransaction()
	r.StartTransaction()
	r.Uint16()
	if !r.CommitTransaction() {
		t.Error("the inner one failed")
	}
	r.RollbackTransaction()

	// An inner rollback makes all that follows fail, and everything is unread.
	r.StartTransaction()
	r.Uint8()
	r.StartTransaction()
	r.Uint8()
	r.RollbackTransaction()
	r.StartTransaction()
	if n := r.Uint8(); n != 0 || r.CommitTransaction() || !errors.Is(r.Err(), ErrReadPastEnd) {
		t.Errorf("after an inner rollback: read %d, %v", n, r.Err())
	}
	if r.CommitTransaction() || r.Err() != nil {
		t.Errorf("the outermost: %v", r.Err())
	}
	if n := r.Uint16(); n != 0x0102 {
		t.Errorf("read %x", n)
	}

	// An inner abort makes the outermost one fail, for good.
	r.StartTransaction()
	r.StartTransaction()
	r.AbortTransaction()
	r.RollbackTransaction()
	if !errors.Is(r.Err(), ErrReadCorruptData) || r.Buffered() != 2 {
		t.Errorf("after an inner abort: %v, %d bytes left", r.Err(), r.Buffered())
	}
}

func TestTransactionAbortKeepsFirstError(t *testing.T) {
	r := NewReader(bytes.NewReader(unhex(t, "00000009")))
	r.MaxBytes = 8
	r.StartTransaction()
	r.ByteArray()
	r.AbortTransaction()
	if !errors.Is(r.Err(), ErrSizeLimitExceeded) {
		t.Errorf("%v", r.Err())
	}
	r = NewReader(&pieces{})
	r.StartTransaction()
	r.ByteArray()
	r.AbortTransaction()
	if !errors.Is(r.Err(), ErrReadCorruptData) {
		t.Errorf("an abort after running out: %v", r.Err())
	}
}

func TestTransactionEndWithoutStart(t *testing.T) {
	r := NewReader(bytes.NewReader([]byte{7}))
	r.RollbackTransaction()
	r.AbortTransaction()
	if r.CommitTransaction() || r.Err() != nil || r.Uint8() != 7 {
		t.Errorf("it did something: %v", r.Err())
	}
}

func TestTransactionMaxBytesIsForAllOfIt(t *testing.T) {
	r := NewReader(endless{})
	r.MaxBytes = 1000
	for range 2 {
		r.StartTransaction()
		for range 10 {
			r.Raw(100)
		}
		if !r.CommitTransaction() {
			t.Fatal(r.Err())
		}
	}
	spent := allocated(func() {
		r.StartTransaction()
		for r.Err() == nil {
			r.Uint64()
		}
	})
	if r.CommitTransaction() || !errors.Is(r.Err(), ErrSizeLimitExceeded) || spent > 2*readSize {
		t.Errorf("%v, after %d bytes of memory", r.Err(), spent)
	}
}

func TestTransactionManyShortValuesInLinearTime(t *testing.T) {
	const n = 1 << 20
	r := NewReader(endless{})
	spent := allocated(func() {
		r.StartTransaction()
		for range n / 8 {
			r.Uint64()
		}
	})
	if !r.CommitTransaction() || spent > 16*n {
		t.Errorf("%d bytes of memory for %d, %v", spent, n, r.Err())
	}
}

func TestReaderRunningOutAllocatesNothing(t *testing.T) {
	r := NewReader(&pieces{data: [][]byte{{0, 0, 0}}})
	try := func() {
		r.StartTransaction()
		_ = r.String()
		if r.CommitTransaction() {
			t.Error("committed")
		}
	}
	try()
	if n := testing.AllocsPerRun(100, try); n != 0 {
		t.Errorf("%v allocations a try", n)
	}
}
