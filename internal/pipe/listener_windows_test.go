package pipe

import (
	"testing"

	"anteroom/internal/sockettest"
	"golang.org/x/sys/windows"
)

// A newcomer takes the event back that tells of another client: so who has accepted one is told to look for another.
func TestListenerTellsToLookAgain(t *testing.T) {
	const path = Prefix + "anteroom-test-look-again"
	signals := make(chan struct{}, 10)
	l, err := Listen(path, Config{Instances: 2}, func() { signals <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(client)
	sockettest.Done(t, "the event tells of the client", signals)
	h, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(h)
	sockettest.Done(t, "Accept tells to look again", signals)
	if h, err := l.Accept(); err != windows.ERROR_IO_PENDING {
		t.Errorf("Accept: %v, %v; want that nobody has connected", h, err)
	}
}
