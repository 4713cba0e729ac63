// Package sockettest is what the tests of this module's servers and sockets have in common: short names, waiting for a condition, child
// processes, the search for what a test has leaked, and a suite that every server must pass.
package sockettest
