// Package qt holds the proof that this library and real Qt understand each other: peer.cpp, a small command-line program over QLocalSocket,
// QLocalServer, QTcpSocket and QTcpServer, and the tests that build it against Qt 5 and Qt 6 and talk to it. There is no code to import.
//
// The tests need a Unix system, a C++17 compiler, pkg-config and the development files of Qt 5.15 or Qt 6 (on Debian: qtbase5-dev, qt6-base-dev). What is
// missing is skipped and named; with ANTEROOM_REQUIRE_INTEROP set to anything, as in continuous integration, it fails instead.
// ANTEROOM_TIMESCALE stretches every time-out by a factor, for slow machines. What the peer can do and what it prints stands at the head of peer.cpp.
package qt
