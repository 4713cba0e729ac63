package local_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/internal/sockettest"
	"anteroom/local"
	"anteroom/sock"

	"golang.org/x/sys/unix"
)

func TestServerCloseAfterASuccessorTookTheName(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, path string) io.Closer{
		"local": func(t *testing.T, path string) io.Closer {
			must(t, local.RemoveServer(path))
			srv, err := local.Listen(path)
			must(t, err)
			return srv
		},
		"Go's net": func(t *testing.T, path string) io.Closer {
			must(t, os.Remove(path))
			l, err := net.Listen("unix", path)
			must(t, err)
			return l
		},
		"a regular file": func(t *testing.T, path string) io.Closer {
			must(t, os.Remove(path))
			f, err := os.Create(path)
			must(t, err)
			return f
		},
		"renamed over it": func(t *testing.T, path string) io.Closer { // as Qt's server does
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + ".new", Net: "unix"})
			must(t, err)
			l.SetUnlinkOnClose(false)
			must(t, os.Rename(path+".new", path))
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := sockettest.Name(t)
			// Inode numbers are used again at once on some file systems: try a few times.
			for range 20 {
				old, err := local.Listen(path)
				must(t, err)
				successor := take(t, path)
				before := fileAt(t, path)
				must(t, old.Close())
				if after := fileAt(t, path); after != before {
					t.Fatal("the successor's file was touched")
				}
				successor.Close()
				os.Remove(path)
			}
		})
	}
}

// The crashed server's own File in a process that has adopted it: nobody removes the path while it lives, nor it the path when it ends.
func TestAdoptedDescriptorsPathIsNeverRemoved(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	first, err := local.Listen(path)
	must(t, err)
	f, err := first.File()
	must(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	f.Close()
	first.SetUnlinkOnClose(false)
	must(t, first.Close())
	adopted := replacing()
	adopted.SetUnlinkOnClose(true)
	must(t, adopted.ListenDescriptor(sock.FromFd(uintptr(fd))))
	wantIs(t, "RemoveStale", local.RemoveStale(path), sock.AddressInUseError)
	dialName(t, path).Abort()
	must(t, adopted.Close())
	if got := names(t, dir); !slices.Equal(got, []string{"s"}) {
		t.Errorf("%q are there", got)
	}
	must(t, adopted.Listen(path)) // the same Server makes the name its own now
	must(t, adopted.Close())
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("%q are there", got)
	}
}

// The binder binds one socket after the other to a path, each of which lives, and says when somebody has removed one's file.
var _ = sockettest.Child("binder", func() {
	path := os.Args[1]
	var living []int
	room := 10_000
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		room = int(min(uint64(room), limit.Cur-100))
	}
	ended := sockettest.Go(func() error { _, err := os.Stdin.Read(make([]byte, 1)); return err })
	for n := 0; ; n++ {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
		}
		if err != nil {
			fmt.Println("bind:", err)
			return
		}
		if err = unix.Unlink(path); err != nil {
			fmt.Printf("server %d was removed while it lived: %v\n", n, err)
			return
		}
		if living = append(living, fd); len(living) > room { // nobody looks at such an old one any more
			unix.Close(living[0])
			living = living[1:]
		}
		select {
		case <-ended:
			fmt.Println("ok", n)
			return
		default:
		}
	}
})

// A file is seen a moment before the kernel knows its socket, and then answers as if it were dead. Here nothing is ever dead, and who believes
// so is told by the lock that he cannot have.
func TestRemoveStaleNeverRemovesAServerThatIsBinding(t *testing.T) {
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")
	lock := lockName(path, os.Geteuid())
	must(t, os.Mkdir(lock, 0o700))
	d := sockettest.Scale(time.Second)
	if *longFlag {
		d = 30 * time.Second
	}
	endSoon(t)
	binder := sockettest.Start(t, "binder", path)
	limit := time.Now().Add(d)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for time.Now().Before(limit) {
				err := local.RemoveStale(path)
				if err != nil && strings.Contains(err.Error(), lock) {
					t.Errorf("a living server was taken for dead: %v", err)
					return
				}
				if err != nil && !errors.Is(err, sock.AddressInUseError) {
					t.Errorf("RemoveStale: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	rest, err := binder.Wait()
	if err != nil || len(rest) != 1 || !strings.HasPrefix(rest[0], "ok ") {
		t.Errorf("the binder says %q, %v", rest, err)
	}
	t.Logf("the binder says %q", rest)
}

// Contenders all want to listen on one name. What they do they write to one pipe, whose order is everybody's: descriptor 3.
var _ = sockettest.Child("contender", func() {
	name, seed := os.Args[1], os.Args[2]
	pause, _ := strconv.Atoi(os.Args[3]) // milliseconds, about
	n, _ := strconv.ParseUint(seed, 10, 64)
	rnd := rand.New(rand.NewPCG(n, 1))
	events := os.NewFile(3, "events")
	say := func(what string) { fmt.Fprintf(events, "%s %d %d\n", what, os.Getpid(), monotonic()) }
	go func() { // it ends with the test
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	for {
		srv := replacing()
		err := srv.Listen(name)
		if errors.Is(err, sock.AddressInUseError) {
			time.Sleep(time.Duration(1+rnd.IntN(2*pause)) * time.Millisecond) // somebody serves: ask again
			continue
		}
		if err != nil {
			fmt.Fprintf(events, "failed %d %d %v\n", os.Getpid(), monotonic(), err)
			continue
		}
		say("start")
		limit := time.Now().Add(time.Duration(rnd.IntN(400)) * time.Millisecond)
		for {
			srv.SetDeadline(limit)
			c, err := srv.Accept()
			if err != nil {
				break
			}
			fmt.Fprintln(c, os.Getpid())
			c.Close()
		}
		say("stop")
		srv.Close()
	}
})

// monotonic is a time in nanoseconds that is the same in all processes.
func monotonic() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// Many processes listen on one name, are killed and come again: never two serve at once, and the name is always served again.
func TestReplaceStaleTakeOver(t *testing.T) {
	processes, d := 12, sockettest.Scale(3*time.Second)
	if *longFlag {
		processes, d = 50, time.Minute
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ANTEROOM_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	t.Logf("%d processes, %v; again with ANTEROOM_SEED=%d", processes, d, seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	dir := sockettest.Dir(t)
	path := filepath.Join(dir, "s")

	eventsIn, eventsOut, err := os.Pipe()
	must(t, err)
	stdin, alive, err := os.Pipe()
	must(t, err)
	var log []string
	serving := make(chan int, 1<<16) // the servers, as they begin
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(eventsIn); s.Scan(); {
			log = append(log, s.Text())
			if pid, ok := strings.CutPrefix(s.Text(), "start "); ok {
				pid, _, _ := strings.Cut(pid, " ")
				n, _ := strconv.Atoi(pid)
				select {
				case serving <- n:
				default:
				}
			}
		}
	}()

	running := make([]*exec.Cmd, processes)
	start := func(i int) {
		cmd := sockettest.Command(t, "contender", path, strconv.FormatUint(rnd.Uint64(), 10), strconv.Itoa(max(2, processes/3)))
		cmd.Stdin, cmd.ExtraFiles = stdin, []*os.File{eventsOut}
		must(t, cmd.Start())
		running[i] = cmd
	}
	kill := func(i int) {
		fmt.Fprintf(eventsOut, "kill %d %d\n", running[i].Process.Pid, monotonic())
		running[i].Process.Kill()
		running[i].Wait()
		fmt.Fprintf(eventsOut, "dead %d %d\n", running[i].Process.Pid, monotonic())
		running[i] = nil
	}
	defer func() {
		alive.Close()
		for i := range running {
			if running[i] != nil {
				kill(i)
			}
		}
		stdin.Close()
		eventsOut.Close()
		<-read
		eventsIn.Close()
	}()
	for i := range running {
		start(i)
	}

	// Who answers is one who has said that it listens.
	limit := time.Now().Add(d)
	probes := sockettest.Go(func() (answers []string) {
		for time.Now().Before(limit) {
			c, err := local.Dial(path)
			if err != nil {
				time.Sleep(time.Millisecond)
				continue
			}
			c.SetDeadline(time.Now().Add(time.Second))
			b, _ := io.ReadAll(c)
			c.Close()
			if pid, whole := strings.CutSuffix(string(b), "\n"); whole && !slices.Contains(answers, pid) {
				answers = append(answers, pid)
			}
		}
		return answers
	})

	kills := 0
	for time.Now().Before(limit) {
		victim := rnd.IntN(processes)
		switch rnd.IntN(3) {
		case 0: // the newest server, when it has just begun, or a little later
			var pid int
			select {
			case pid = <-serving:
				for len(serving) > 0 {
					pid = <-serving
				}
			case <-time.After(200 * time.Millisecond): // it is running still
			}
			if i := slices.IndexFunc(running, func(c *exec.Cmd) bool { return c.Process.Pid == pid }); i >= 0 {
				victim = i
			}
			time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
		case 1: // anybody at any time
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond)
		}
		kill(victim)
		kills++
		start(victim)
	}
	answers := sockettest.Done(t, "the probes end", probes)
	for i := range running {
		kill(i)
	}
	// Nothing that is left blocks.
	for _, name := range names(t, dir) {
		switch name {
		case "s":
		case filepath.Base(lockName(path, os.Geteuid())):
			fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDWR|unix.O_CLOEXEC, 0)
			must(t, err)
			if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("the lock that is left is held: %v", err)
			}
			unix.Close(fd)
		default:
			t.Errorf("%s is left", name)
		}
	}
	srv := replacing()
	must(t, srv.Listen(path))
	must(t, srv.Close())
	alive.Close()
	eventsOut.Close()
	<-read

	checkTakeOver(t, log, answers, kills)
}

func checkTakeOver(t *testing.T, log, answers []string, kills int) {
	began := map[string]bool{}
	server, crashed := "", "" // who serves, and whose crash nobody has made up for yet
	var killed, died int64    // when that one was killed and was dead; 0: not yet
	starts, crashes := 0, 0
	var sinceKill, sinceDeath []time.Duration
	for i, line := range log {
		words := strings.SplitN(line, " ", 4)
		what, pid := words[0], words[1]
		at, err := strconv.ParseInt(words[2], 10, 64)
		must(t, err)
		switch what {
		case "start":
			starts++
			began[pid] = true
			if server != "" {
				t.Errorf("two servers at once: %s\n\t%s", server, strings.Join(log[max(0, i-10):i+1], "\n\t"))
			}
			if crashed != "" {
				sinceKill = append(sinceKill, time.Duration(at-killed))
				if died == 0 {
					died = at // nobody knew yet
				}
				sinceDeath = append(sinceDeath, max(0, time.Duration(at-died)))
			}
			server, crashed = pid, ""
		case "kill", "stop":
			if pid == server {
				server = ""
				if what == "kill" { // only a crash leaves something to recover from
					crashes++
					crashed, killed, died = pid, at, 0
				}
			}
		case "dead":
			switch pid {
			case server: // it was killed when it had just begun to listen, and had not said so
				crashes++
				server, crashed, killed, died = "", pid, at, at
			case crashed:
				died = at
			}
		default:
			t.Errorf("%s", line)
		}
	}
	for _, pid := range answers {
		if !began[pid] {
			t.Errorf("%s has answered, and never said that it listens", pid)
		}
	}
	if starts < 2 || crashes < 1 || len(answers) < 1 || len(sinceKill) < 1 {
		t.Fatalf("%d starts, %d crashes, %d servers answered: that is no test", starts, crashes, len(answers))
	}
	t.Logf("%d kills, %d servers, %d killed while serving; %d were seen to answer", kills, starts, crashes, len(answers))
	for what, gaps := range map[string][]time.Duration{"kill": sinceKill, "death": sinceDeath} {
		slices.Sort(gaps)
		n := len(gaps)
		within := 0
		for _, g := range gaps {
			if g <= 100*time.Millisecond {
				within++
			}
		}
		t.Logf("from the %s to the next server: median %v, 99%% %v, longest %v; %d of %d within 100 ms", what, gaps[n/2], gaps[n*99/100], gaps[n-1], within, n)
		if gaps[n-1] > sockettest.Long() {
			t.Errorf("the name was not served for %v", gaps[n-1])
		}
	}
}

// Two servers that start at once look at each other's file while it is made: the one that lives keeps the mode that its options ask for.
func TestReplaceStaleLeavesAServerThatStartsItsMode(t *testing.T) {
	path := filepath.Join(openDir(t, 0o777|fs.ModeSticky), "s")
	actors := []*sockettest.Process{actorAs(t, nobodys), actorAs(t, nobodys)}
	for range 200 {
		var both sync.WaitGroup
		var answers [2]string
		for i, p := range actors {
			both.Go(func() { answers[i] = do(p, "listen", path, strconv.Itoa(int(local.GroupAccessOption)), "replace") })
		}
		both.Wait()
		if mode := fileAt(t, path).Mode & 0o7777; mode != 0o070 {
			t.Fatalf("the mode is %o; they say %q", mode, answers)
		}
		for _, p := range actors {
			wantOK(t, "close", do(p, "close"))
		}
	}
}

// Those who look at a dead server's file at once do not keep each other from it, also where the mode has to be changed for that.
func TestRemoveStaleTogether(t *testing.T) {
	dir := openDir(t, 0o777|fs.ModeSticky)
	actors := []*sockettest.Process{actorAs(t, nobodys), actorAs(t, nobodys), actorAs(t, nobodys)}
	for i := range 100 {
		path := filepath.Join(dir, fmt.Sprint("s", i))
		wantOK(t, "listen", do(actors[0], "listen", path, strconv.Itoa(int(local.GroupAccessOption)), "keep"))
		wantOK(t, "close", do(actors[0], "close"))
		var all sync.WaitGroup
		for _, p := range actors {
			all.Go(func() {
				if a := do(p, "rmstale", path); !strings.HasPrefix(a, "ok") {
					t.Errorf("RemoveStale: %s", a)
				}
			})
		}
		all.Wait()
	}
}
