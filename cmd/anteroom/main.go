// Command anteroom serves and reaches programs by a local name, as package anteroom/local does, or by a TCP port, as anteroom/tcp does,
// relays between the two, and measures servers. "anteroom help" says how to use it, "anteroom demo" shows what it is about.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], system())) }
