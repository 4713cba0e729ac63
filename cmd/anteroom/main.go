// Command anteroom serves and reaches programs on this machine by a local name, as package anteroom/local does. "anteroom help" says how to
// use it, "anteroom demo" shows what it is about.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], system())) }
