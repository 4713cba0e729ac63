package datastream

import "fmt"

// StartTransaction begins a transaction: what is read until [Reader.CommitTransaction] is kept, and if the source runs out before the
// last value is complete, everything is unread again. So a message is read with the same calls whether it has come whole or in pieces:
//
//	r := datastream.NewReader(datastream.ReaderFunc(socket.ReadAvailable))
//	socket.OnReadyRead(func() {
//		for {
//			r.StartTransaction()
//			kind, text := r.Uint16(), r.String()
//			if !r.CommitTransaction() {
//				break // r.Err() == nil: the rest has not come yet
//			}
//			handle(kind, text)
//		}
//	})
//
// If an earlier transaction ran out, this one begins with the same bytes, asks the source again, and Err is nil again. Other errors stay,
// those from outside of a transaction and ErrReadCorruptData and ErrSizeLimitExceeded from anywhere: unlike Qt, which goes on in the
// middle of what it could not read.
//
// In a transaction StartTransaction begins an inner one, which is part of the outermost: it cannot be unread alone.
//
// All that a transaction reads is kept in memory: it may be as much as MaxBytes.
//
// Qt: QDataStream::startTransaction
func (r *Reader) StartTransaction() {
	r.depth++
	if r.depth > 1 {
		return
	}
	r.forget()
	if r.retry {
		r.err, r.retry = nil, false
	}
}

// CommitTransaction ends a transaction, and reports whether all in it was read. If it was, it is forgotten, and the next value is the one
// after it. If not, Err says why:
//
//   - nil: the source has no more yet. Start the transaction again when more has come.
//   - io.EOF, or an error that Is io.ErrUnexpectedEOF: the source ended, before the transaction's first byte or after it.
//   - another error that Is [ErrReadPastEnd]: the source failed, for instance because its deadline passed. In both cases the bytes are
//     unread again, and StartTransaction asks the source anew.
//   - an error that is none of these: the stream cannot be read any further.
//
// For an inner transaction it only reports whether all has been read so far. Without a transaction it returns false.
//
// Qt: QDataStream::commitTransaction
func (r *Reader) CommitTransaction() bool {
	if r.depth == 0 {
		return false
	}
	ok := r.err == nil
	r.end()
	return ok
}

// RollbackTransaction ends a transaction and makes what it read unread, even if all was there; the next read begins with its first byte.
// After an error that Is neither io.EOF nor [ErrReadPastEnd] nothing is unread, and the error stays.
//
// Rolling back an inner transaction makes the outermost one fail: until that has ended every method returns zero, and then all is unread.
// Without a transaction nothing happens.
//
// Qt: QDataStream::rollbackTransaction
func (r *Reader) RollbackTransaction() {
	if r.depth == 0 {
		return
	}
	if r.err == nil {
		r.err, r.retry = errRolledBack, true
	}
	r.end()
}

// AbortTransaction ends a transaction because what it read makes no sense: it stays read, the outermost transaction fails, and Err is an
// error that Is [ErrReadCorruptData]. It is how a function that reads a part of a message says so to its caller. Without a transaction
// nothing happens.
//
// Qt: QDataStream::abortTransaction
func (r *Reader) AbortTransaction() {
	if r.depth == 0 {
		return
	}
	if r.err == nil || r.retry {
		r.err, r.retry = errAborted, false
	}
	r.end()
}

var (
	errRolledBack = fmt.Errorf("%w: the transaction was rolled back: start it again", ErrReadPastEnd)
	errAborted    = fmt.Errorf("%w: the transaction was aborted: the values in it are not what was expected", ErrReadCorruptData)
)

// end ends a transaction as the error tells.
func (r *Reader) end() {
	if r.depth--; r.depth > 0 {
		return
	}
	if r.retry {
		r.rewind()
		// Nothing went wrong that has to be told; the others say that the source may never have more.
		if r.err == errNoMore || r.err == errRolledBack {
			r.err, r.retry = nil, false
		}
		return
	}
	r.forget()
}
