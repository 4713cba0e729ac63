// Package core is what a server and a socket are, whatever carries their bytes: Server has the queue of pending connections, its limit,
// pausing, waits and errors; Socket has the states, the buffers, the waits and the callbacks. Packages local and tcp give them names,
// addresses and documentation, and this package knows of neither.
//
// Three pieces are common to both. A gate is where goroutines wait for one direction of a descriptor: one of them at the poller, the
// others for it. A dispatcher runs an object's callbacks one at a time, in order and with no lock held. A Transport carries the bytes of
// one connection and never waits; it is the seam for another event loop, or for no descriptor at all.
//
// Both objects guard everything with one mutex. A function whose comment says "mu held" is called with it and returns with it; such a
// function may let go of it in between only if its comment says so, and its caller must then look at everything anew.
package core
