package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// findSockets returns the stream sockets that the kernel knows by a name, and those whose files stand at one of the paths.
func findSockets(paths []string) ([]*listed, error) {
	sockets, err := diagSockets()
	if err != nil {
		return nil, fmt.Errorf("the kernel does not list its sockets: %w", err)
	}
	f := &finder{sockets: sockets, byFile: make(map[fileID][]*diagSocket), found: make(map[fileID]*listed), lost: make(map[*diagSocket]*listed),
		read: make(map[dirID]map[fileID][]string)}
	wanted := make(map[uint32]bool)
	for i := range sockets {
		s := &sockets[i]
		if s.file != (fileID{}) {
			f.byFile[s.file] = append(f.byFile[s.file], s)
		}
		if s.bound() {
			wanted[s.inode] = true
		}
	}
	f.processes = findProcesses(wanted)
	for i := range sockets {
		if sockets[i].bound() {
			f.socket(&sockets[i])
		}
	}
	for _, path := range paths {
		f.file(path)
	}
	for s, l := range f.lost {
		if s.listens() { // there is no file where it should be, or none that may be looked at
			f.all = append(f.all, l)
		}
	}
	return f.all, nil
}

// A finder brings together what the kernel says of sockets and what stands in the file system.
type finder struct {
	sockets   []diagSocket
	byFile    map[fileID][]*diagSocket
	processes map[uint32]process
	all       []*listed
	found     map[fileID]*listed      // those whose file was found, by its own numbers
	lost      map[*diagSocket]*listed // those whose file was not
	read      map[dirID]map[fileID][]string
}

// A dirID is what tells a directory from others, whatever path has led to it.
type dirID struct{ dev, ino uint64 }

// socket lists a socket of the kernel's.
func (f *finder) socket(s *diagSocket) {
	p := f.processes[s.inode]
	l := &listed{kind: kindPath, state: stateUnknown, uid: -1, mode: -1, pid: p.pid, command: p.command, queue: -1, backlog: -1}
	if s.listens() {
		l.queue, l.backlog = s.queue, s.backlog
	}
	if s.abstract() {
		l.kind, l.name, l.uid, l.state = kindAbstract, "@"+s.name[1:], s.uid, stateOf(s)
		f.all = append(f.all, l)
		return
	}
	l.path = s.path(p.pid)
	for _, path := range append([]string{l.path}, f.renamed(l.path, s.file)...) {
		if file, err := openSocketFile(path); err == nil {
			ours := f.isFileOf(file, s)
			if ours {
				f.add(l, s, file)
			}
			file.close()
			if ours {
				return
			}
		}
	}
	f.lost[s] = l
}

// isFileOf reports whether a file is a socket's: its numbers are the same or, where the file system shows others than the kernel does, the
// path is, a socket is bound to the file, and it is no other one's that we know of.
func (f *finder) isFileOf(file *socketFile, s *diagSocket) bool {
	if file.id() == s.file {
		return true
	}
	return file.path == s.name && len(f.byFile[file.id()]) == 0 && file.fate() == fateBound
}

// add lists a socket whose file was found.
func (f *finder) add(l *listed, s *diagSocket, file *socketFile) {
	l.path, l.state = file.path, stateOf(s)
	l.file(file)
	f.all = append(f.all, l)
	f.found[file.id()] = l
}

// file lists what stands at a path, if it is the file of a stream socket.
func (f *finder) file(path string) {
	file, err := openSocketFile(path)
	if err != nil {
		return
	}
	defer file.close()
	if l := f.found[file.id()]; l != nil {
		l.also = append(l.also, path)
		return
	}
	others, connected := false, false
	for _, s := range f.byFile[file.id()] {
		if l := f.lost[s]; l != nil {
			delete(f.lost, s)
			f.add(l, s, file)
			return
		}
		others = others || s.typ != unix.SOCK_STREAM
		connected = connected || s.typ == unix.SOCK_STREAM
	}
	l := &listed{kind: kindPath, path: path, queue: -1, backlog: -1}
	l.file(file)
	switch fate := file.fate(); {
	case fate == fateOther || fate == fateBound && others:
		return
	case fate == fateDead:
		l.state = stateStale
	case fate == fateUnknown:
		l.state = stateUnknown
	case connected: // a client that has a name
		l.state = stateNotListening
	default: // it is in another network namespace, and reached by its file all the same
		l.state = stateLive
	}
	f.all = append(f.all, l)
	f.found[file.id()] = l
}

func stateOf(s *diagSocket) string {
	if s.listens() {
		return stateLive
	}
	return stateNotListening
}

func (l *listed) file(f *socketFile) { l.uid, l.mode = int(f.st.Uid), int(f.st.Mode&0o7777) }

// path returns where the file of a socket is, as far as its address says it: that may be relative to the directory, or to a descriptor, of
// the process that has bound it.
func (s *diagSocket) path(pid int) string {
	const self = "/proc/self/"
	process := "/proc/" + strconv.Itoa(pid) + "/"
	switch {
	case pid == 0:
	case s.name[0] != '/':
		if dir, err := os.Readlink(process + "cwd"); err == nil {
			return strings.TrimSuffix(dir, "/") + "/" + s.name
		}
	case strings.HasPrefix(s.name, self):
		dir, base := filepath.Split(process + s.name[len(self):])
		if dir, err := os.Readlink(strings.TrimSuffix(dir, "/")); err == nil {
			return strings.TrimSuffix(dir, "/") + "/" + base
		}
	}
	return s.name
}

// renamed returns where a file may have gone that was bound at a path and has another one now: there are servers, Qt's for one, that bind
// it in a directory of their own and then move it beside that.
func (f *finder) renamed(path string, id fileID) (paths []string) {
	if !filepath.IsAbs(path) || id == (fileID{}) {
		return nil
	}
	if file, err := openSocketFile(path); err == nil {
		is := file.id() == id
		if file.close(); is {
			return nil
		}
	}
	dir := filepath.Dir(path)
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		paths = append(paths, f.filesIn(dir)[id]...)
	}
	return paths
}

// filesIn returns the paths of the sockets' files in a directory, which is read only once: other users can have any number of sockets whose
// files are gone, and of files beside them.
func (f *finder) filesIn(dir string) map[fileID][]string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return nil
	}
	key := dirID{uint64(st.Dev), st.Ino} //nolint:unconvert // it is a uint32 on other processors
	if files, read := f.read[key]; read {
		return files
	}
	files := make(map[fileID][]string)
	for _, path := range socketFiles(dir) {
		if file, err := openSocketFile(path); err == nil {
			files[file.id()] = append(files[file.id()], path)
			file.close()
		}
	}
	f.read[key] = files
	return files
}

// A process is one that holds a socket.
type process struct {
	pid     int
	command string
}

// findProcesses finds the process that holds each of the sockets, of several the one with the lowest number. Those of other users cannot be
// looked into, but by root.
func findProcesses(sockets map[uint32]bool) map[uint32]process {
	found := make(map[uint32]process)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.SortFunc(pids, cmp.Compare[int])
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			link, err := os.Readlink(dir + "/fd/" + fd.Name())
			number, isSocket := strings.CutPrefix(link, "socket:[")
			if err != nil || !isSocket {
				continue
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
			if err != nil || !sockets[uint32(inode)] || found[uint32(inode)].pid != 0 {
				continue
			}
			comm, _ := os.ReadFile(dir + "/comm")
			found[uint32(inode)] = process{pid, strings.TrimSuffix(string(comm), "\n")}
		}
	}
	return found
}
