package datastream

import (
	"errors"
	"fmt"
)

// A Version is the format that one release of Qt writes, under Qt's number. Of what this package reads and writes, two versions
// changed something: Qt_4_6 made float and double equally long, and Qt_6_7 gave lengths from 4294967294 on a longer form.
//
// The zero value means [DefaultVersion]. A number above all that are listed here is a later Qt, and read and written as the newest one;
// one below Qt_4_0 is an error that Is [errors.ErrUnsupported].
//
// Qt: QDataStream::Version
type Version int

// The versions, by the names and numbers that Qt gives them. Where one has the number of another, Qt did not change the format of any
// type between the two.
const (
	Qt_4_0  Version = 7
	Qt_4_1          = Qt_4_0
	Qt_4_2  Version = 8
	Qt_4_3  Version = 9
	Qt_4_4  Version = 10
	Qt_4_5  Version = 11
	Qt_4_6  Version = 12
	Qt_4_7          = Qt_4_6
	Qt_4_8          = Qt_4_6
	Qt_4_9          = Qt_4_6
	Qt_5_0  Version = 13
	Qt_5_1  Version = 14
	Qt_5_2  Version = 15
	Qt_5_3          = Qt_5_2
	Qt_5_4  Version = 16
	Qt_5_5          = Qt_5_4
	Qt_5_6  Version = 17
	Qt_5_7          = Qt_5_6
	Qt_5_8          = Qt_5_6
	Qt_5_9          = Qt_5_6
	Qt_5_10         = Qt_5_6
	Qt_5_11         = Qt_5_6
	Qt_5_12 Version = 18
	Qt_5_13 Version = 19
	Qt_5_14         = Qt_5_13
	Qt_5_15         = Qt_5_13
	Qt_6_0  Version = 20
	Qt_6_1          = Qt_6_0
	Qt_6_2          = Qt_6_0
	Qt_6_3          = Qt_6_0
	Qt_6_4          = Qt_6_0
	Qt_6_5          = Qt_6_0
	Qt_6_6  Version = 21
	Qt_6_7  Version = 22
	Qt_6_8          = Qt_6_7
	Qt_6_9          = Qt_6_7
	Qt_6_10 Version = 23
	Qt_6_11 Version = 24
)

// DefaultVersion is what a Writer or Reader uses whose Version is zero: the newest one that this package knows. Shorter than 4 GB,
// everything but a Float32 or Float64 looks the same in all versions, so the default suits every peer from Qt 4.6 on.
//
// Qt: QDataStream::Qt_DefaultCompiledVersion
const DefaultVersion = Qt_6_11

// valid reports whether this package has the format of v.
func (v Version) valid() bool { return v == 0 || v >= Qt_4_0 }

// err says why v is not valid.
func (v Version) err() error {
	return fmt.Errorf("datastream: version %d: %w: set Version to Qt_4_0 (%d) or later, or leave it 0", int(v), errors.ErrUnsupported, int(Qt_4_0))
}

// atLeast reports whether v, or the default in its place, is since or later.
func (v Version) atLeast(since Version) bool {
	if v == 0 {
		v = DefaultVersion
	}
	return v >= since
}
