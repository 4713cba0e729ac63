// Package sysfd makes the few system calls that sockets are made of, on plain descriptor numbers that are non-blocking and closed on
// exec from birth. No call here waits, none allocates, and none but Close changes who owns a descriptor: the caller sees to it that the
// number stays open during the call.
//
// Calls that are made for each read, write or accepted connection return a syscall.Errno, 0 for success, and not an error.
package sysfd
