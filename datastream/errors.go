package datastream

import "errors"

// What went wrong. Each error of a Reader or Writer Is one of these, but for io.EOF itself (see [Reader.Err]) and an error about an
// unsupported Version; errors.Is and errors.As find the cause too, as the source or destination gave it.
//
// Qt: QDataStream::Status
var (
	// ErrReadPastEnd means that the data ended, or the source failed, before the value did. At the end of the source the error also
	// Is io.ErrUnexpectedEOF. If it Is neither that nor another cause, the source had no more yet.
	ErrReadPastEnd = errors.New("datastream: read past end")

	// ErrReadCorruptData means that what was read cannot be a value of that type.
	ErrReadCorruptData = errors.New("datastream: corrupt data")

	// ErrWriteFailed means that the destination did not take what was written.
	ErrWriteFailed = errors.New("datastream: write failed")

	// ErrSizeLimitExceeded means that a value is longer than the Reader's MaxBytes, or than its Version can say.
	ErrSizeLimitExceeded = errors.New("datastream: size limit exceeded")
)
