package tcp

import (
	"anteroom/internal/core"
	"anteroom/sock"
)

// A SocketOption is an option of a TCP connection.
//
// Qt: QAbstractSocket::SocketOption
type SocketOption int8

// The options, with Qt's numbers. Both are 0 or 1.
const (
	LowDelayOption  SocketOption = 0 // send small segments at once (TCP_NODELAY); on by default, as in Go's net and unlike Qt
	KeepAliveOption SocketOption = 1 // probe an idle peer, after 15 s and every 15 s (SO_KEEPALIVE); on by default, as in Go's net and unlike Qt

	optionCount = 2
)

// String returns Qt's name of the option.
func (o SocketOption) String() string {
	switch o {
	case LowDelayOption:
		return "LowDelayOption"
	case KeepAliveOption:
		return "KeepAliveOption"
	}
	return "unknown option"
}

// check says what is wrong with an option, or with its value.
func (o SocketOption) check(v int) error {
	switch {
	case o < 0 || o >= optionCount:
		return core.Because("there is no such option", sock.UnsupportedSocketOperationError)
	case v != 0 && v != 1:
		return core.Because(o.String()+" is 0 or 1", sock.UnsupportedSocketOperationError)
	}
	return nil
}
