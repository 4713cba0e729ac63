package datastream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"anteroom/datastream"
)

// A client asks Qt's fortune server, which sends one QString and hangs up.
func Example() {
	client, server := net.Pipe()
	go func() {
		out := datastream.NewWriter(server)
		out.String("You've been leading a dog's life. Stay off the furniture.")
		if err := errors.Join(out.Flush(), server.Close()); err != nil {
			log.Print(err)
		}
	}()

	in := datastream.NewReader(client)
	fortune := in.String()
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(fortune)

	// The next value is not there: the server has ended, and not in the middle of anything.
	_ = in.String()
	fmt.Println(in.Err() == io.EOF)
	// Output:
	// You've been leading a dog's life. Stay off the furniture.
	// true
}

// A message of a number, a text and a list, as a peer of Qt 5.15 reads it.
func ExampleWriter() {
	var message bytes.Buffer
	out := datastream.NewWriter(&message)
	out.Version = datastream.Qt_5_15
	out.Uint16(7)
	out.String("Hi é")
	out.StringList([]string{"a", "b"})
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("% x\n", message.Next(2))
	fmt.Printf("% x\n", message.Next(12))
	fmt.Printf("% x\n", message.Next(16))
	// Output:
	// 00 07
	// 00 00 00 08 00 48 00 69 00 20 00 e9
	// 00 00 00 02 00 00 00 02 00 61 00 00 00 02 00 62
}

// Two messages arrive in four pieces. Each time something has come, all messages that are complete are read, and the beginning of one that
// is not stays for the next time. On a socket, receive is what OnReadyRead calls, and ReadAvailable the source.
func ExampleReader_StartTransaction() {
	var arrived bytes.Buffer
	in := datastream.NewReader(datastream.ReaderFunc(func(p []byte) (int, error) {
		if arrived.Len() == 0 {
			return 0, nil // no more yet, and no reason to wait
		}
		return arrived.Read(p)
	}))

	receive := func(piece string) {
		arrived.WriteString(piece)
		for {
			in.StartTransaction()
			id := in.Uint16()
			text := in.String()
			if !in.CommitTransaction() {
				break
			}
			fmt.Println(id, text)
		}
		if err := in.Err(); err != nil {
			log.Fatal(err)
		}
		fmt.Println("-")
	}

	receive("\x00\x01\x00\x00") // a number and half a length
	receive("\x00\x04\x00h")
	receive("\x00i\x00\x02\x00\x00\x00") // the rest, and the next one's beginning
	receive("\x06\x00y\x00o\x00u")
	// Output:
	// -
	// -
	// 1 hi
	// -
	// 2 you
	// -
}
