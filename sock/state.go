package sock

import (
	"fmt"
	"time"
)

// A State says how far a connection has come. The numbers are Qt's.
//
// The legal moves are: Unconnected to HostLookup, Connecting or (a connection that exists already) Connected; HostLookup to Connecting
// or Unconnected; Connecting to Connected or Unconnected; Connected to Closing or, aborted, Unconnected; Closing to Unconnected.
//
// Qt: QAbstractSocket::SocketState, QLocalSocket::LocalSocketState
type State int8

// The states. Sockets never enter BoundState and ListeningState, which Qt's list has for others.
const (
	UnconnectedState State = 0 // no connection; no descriptor is held
	HostLookupState  State = 1 // the host's name is being looked up; TCP only
	ConnectingState  State = 2 // the connection is being made
	ConnectedState   State = 3 // data can be read and written
	BoundState       State = 4 // bound to an address
	ListeningState   State = 5 // a server waits for connections
	ClosingState     State = 6 // the socket is closing; what was written is still being sent
)

var stateNames = [...]string{"UnconnectedState", "HostLookupState", "ConnectingState", "ConnectedState", "BoundState", "ListeningState", "ClosingState"}

// String returns Qt's name of the state: "ConnectedState".
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int8(s))
	}
	return stateNames[s]
}

// An OpenMode says what a socket is used for. The numbers are Qt's.
//
// Qt: QIODeviceBase::OpenMode
type OpenMode uint8

// The modes. Where a member takes a mode, 0 stands for ReadWrite.
const (
	ReadOnly  OpenMode = 1                    // writing is an error
	WriteOnly OpenMode = 2                    // reading is an error; what arrives is thrown away by callbacks and waits that come across it
	ReadWrite OpenMode = ReadOnly | WriteOnly // both
)

// String returns Qt's name of the mode: "ReadWrite".
func (m OpenMode) String() string {
	switch m {
	case ReadOnly:
		return "ReadOnly"
	case WriteOnly:
		return "WriteOnly"
	case ReadWrite:
		return "ReadWrite"
	}
	return fmt.Sprintf("OpenMode(%d)", uint8(m))
}

// Forever makes a wait have no limit of time, as every negative duration does.
const Forever time.Duration = -1

// DefaultWait is how long Qt's waits last if nothing is said, and how long a connection that is being made in the background is tried.
const DefaultWait = 30 * time.Second
