// Package pipe is Windows' named pipes: servers with several instances that wait for clients, connections whose calls never wait and whose
// ends are found by completions, access by security descriptors, and who is at the other end. It does not know of sockets or of states.
package pipe
