// Package datastream reads and writes the format of Qt's QDataStream, so that a Go program can talk to programs that use it: integers,
// floating-point numbers, booleans, QString, QByteArray and QStringList, big-endian unless told otherwise.
//
// A [Writer] collects what it is given and sends it with Flush; a [Reader] returns one value a call. Both remember the first error and
// do nothing after it, so a message is written or read without asking after each value; ask Err, or what Flush returned, at its end.
//
//	w := datastream.NewWriter(conn)             r := datastream.NewReader(conn)
//	w.Uint16(7)                                 kind := r.Uint16()
//	w.String("Hi é")                            text := r.String()
//	if err := w.Flush(); err != nil { … }       if err := r.Err(); err != nil { … }
//
// Nothing in the stream says what the next value is. Both sides have to agree on the order of the values, and on Version, Order and
// SinglePrecision; a disagreement usually shows as an error that is [ErrSizeLimitExceeded] or [ErrReadCorruptData].
//
// Where bytes come in pieces and nobody may block, read in a transaction: see [Reader.StartTransaction].
//
// # What Qt's types become
//
//	bool                    Bool              one byte: 0 is false; read, everything else is true
//	qint8 … qint64          Int8 … Int64      enums: the type that underlies them, usually Int32
//	quint8 … quint64        Uint8 … Uint64    QChar: Uint16
//	float, double           Float32, Float64  both have 8 bytes from Qt_4_6 on, both 4 with SinglePrecision
//	QString                 String            a length in bytes, then UTF-16; Go's strings hold UTF-8
//	QByteArray, writeBytes  ByteArray         a length, then the bytes; nil is the null QByteArray
//	QStringList             StringList        a count, then the strings
//	writeRawData            Raw               the bytes alone
//
// Qt tells a null QString or QByteArray from an empty one. NullString and NullByteArray write the null ones; [Reader.NullString] and
// [Reader.NullByteArray], or a nil from [Reader.ByteArray], tell which was read.
//
// Readers and Writers are not safe for use by several goroutines at the same time.
package datastream
