// Package loop is an event loop: one goroutine that runs functions when descriptors are ready, when time has come, and when others ask
// it to. It stands where Qt has QEventLoop, QSocketNotifier and QTimer.
//
// # When to use one
//
// A goroutine for each connection that blocks in Read is Go's own way, the simplest, and the one to begin with: it needs no loop, it uses
// all cores, and a handler may wait for whatever it likes. A loop pays when
//
//   - there are very many connections of which few do anything: one on a loop costs some hundred bytes, a goroutine that waits in Read
//     costs kilobytes;
//   - messages are small and handling them takes microseconds: nothing is switched between a connection's event and its handler;
//   - callbacks share state: those of one loop run one at a time, on one goroutine, and need no locks among themselves.
//
// What runs on a loop must not wait: while it does, nothing else on that loop happens. Work that takes long, or waits, belongs in a
// goroutine that hands its result back with [Loop.Post].
//
// # Use
//
//	l, err := loop.New()
//	// …
//	defer l.Close()
//	l.AfterFunc(time.Second, func() { fmt.Println("a second has passed") })
//	go func() { l.Post(func() { fmt.Println("on the loop's goroutine") }) }()
//	err = l.Run(ctx) // until ctx ends, or Close
//
// A [Group] is several loops, one per core, that share what is given to them. Sockets and servers take a loop or a group by SetLoop and
// SetLoops; [Loop.Notify] watches any other descriptor.
//
// # Turns
//
// A loop works in turns: it runs the handlers of descriptors that are ready, then what was posted before that, in order, then the timers that
// are due, in order of time; a few hundred of each at most. What these add is for the next turn. So neither a function that posts itself
// again, nor a timer of no time, nor a busy descriptor keeps the others from their turn. When there is nothing to do, the loop lets other
// goroutines run, and then sleeps in the system.
//
// # Panics
//
// A panic in a callback comes out of Run, and runtime.Goexit in one ends the goroutine that called Run; neither breaks the loop. What had
// happened and was not told yet is told when Run is called again.
//
// # Platforms
//
// The system's call is epoll on Linux, kqueue on macOS and the BSDs (amd64, arm64, riscv64), and poll on other Unix systems, where each
// turn takes time for each descriptor. Elsewhere, on Windows too, a loop has no descriptors as yet: [Loop.Notify] and [Loop.Register] fail
// with UnsupportedSocketOperationError; everything else works.
package loop
