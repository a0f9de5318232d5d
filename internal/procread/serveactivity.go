package procread

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rawfile"
)

const (
	maxDescriptors = 4096    // whose targets are read
	maxTableBytes  = 1 << 20 // of each table of sockets or interfaces
	aliveLines     = 256     // between two keep-alives

	resolveCached = 0x20 // RESOLVE_CACHED in linux/openat2.h
)

// activity sends the Activity of a process. None of what it reads takes the lock of memory, but
// "io" waits for an exec, which does.
func (s *server) activity(q request) error {
	var a Activity
	err := s.lines(process.Dir(q.image.PID)+"/io", func(line string) {
		name, value, _ := strings.Cut(line, ": ")
		n, _ := strconv.ParseUint(value, 10, 64) // 0 for what is no number
		switch name {
		case "rchar":
			a.Read = n
		case "wchar":
			a.Written = n
		}
	})
	if err != nil && !errors.Is(err, errCut) {
		return err
	}
	dir := q.image.Dir()
	if err := s.connections(dir, &a); err != nil {
		return err
	}
	if err := s.network(dir, &a); err != nil {
		return err
	}
	if len(q.names) > 0 && strings.HasPrefix(q.names[0], "/") {
		a.Writable = allMayWrite(dir, q.names[0])
	}
	return s.out.write(frameData, a.encode())
}

// errCut means that a file is longer than what is read.
var errCut = errors.New("the rest is not read")

// lines calls visit for each line of the first maxTableBytes of a file. Lines in /proc/PID of
// more than 64 KiB do not exist.
func (s *server) lines(path string, visit func(line string)) error {
	f, err := rawfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	limited := &io.LimitedReader{R: f, N: maxTableBytes}
	all := bufio.NewScanner(limited)
	for n := 1; all.Scan(); n++ {
		if visit(all.Text()); n%aliveLines == 0 {
			if err := s.keepAlive(); err != nil {
				return err
			}
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if limited.N <= 0 {
		return errCut
	}
	return nil
}

// connections counts the TCP connections of a process.
func (s *server) connections(dir string, a *Activity) error {
	sockets, more, err := s.sockets(dir + "/fd")
	if err != nil || len(sockets) == 0 {
		a.More = more
		return err
	}
	for _, table := range []string{"/net/tcp", "/net/tcp6"} {
		err := s.lines(dir+table, func(line string) {
			const state, inode, established = 3, 9, "01" // TCP_ESTABLISHED in net/tcp_states.h
			if fields := strings.Fields(line); len(fields) > inode && fields[state] == established && sockets[fields[inode]] {
				a.Connections++
			}
		})
		switch {
		case errors.Is(err, errCut):
			more = true
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL): // no IPv6
		case err != nil:
			return err
		}
	}
	a.More = more
	return nil
}

// sockets returns the inodes of the sockets among the first descriptors of a process.
func (s *server) sockets(dir string) (inodes map[string]bool, more bool, err error) {
	list, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	defer list.Close()
	inodes = make(map[string]bool)
	for n := 0; n < maxDescriptors; {
		names, err := list.Readdirnames(aliveLines)
		if errors.Is(err, io.EOF) {
			return inodes, false, nil
		} else if err != nil {
			return nil, false, fmt.Errorf("listing descriptors: %w", err)
		}
		for _, name := range names {
			target, _ := os.Readlink(dir + "/" + name) // "" if it was closed
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				inodes[strings.TrimSuffix(inode, "]")] = true
			}
		}
		if err := s.keepAlive(); err != nil {
			return nil, false, err
		}
		n += len(names)
	}
	return inodes, true, nil
}

// hasHostNetwork reports whether the network namespace of a process is that of init, or is not known.
func hasHostNetwork(dir string) bool {
	own, err1 := os.Readlink(dir + "/ns/net")
	host, err2 := os.Readlink("/proc/1/ns/net")
	if err2 != nil { // a security module may protect init: kthreadd is in the same
		host, err2 = os.Readlink("/proc/2/ns/net")
	}
	return err1 != nil || err2 != nil || own == host
}

// network counts the bytes of a process's network namespace.
func (s *server) network(dir string, a *Activity) error {
	if a.HostNetwork = hasHostNetwork(dir); a.HostNetwork {
		return nil
	}
	err := s.lines(dir+"/net/dev", func(line string) {
		const received, sent = 0, 8 // proc_pid_net(5)
		name, numbers, _ := strings.Cut(line, ":")
		fields := strings.Fields(numbers)
		if len(fields) <= sent || strings.TrimSpace(name) == "lo" {
			return
		}
		for _, text := range []string{fields[received], fields[sent]} {
			n, _ := strconv.ParseUint(text, 10, 64) // the lines of the head have no numbers
			a.Network += n
		}
	})
	if errors.Is(err, errCut) {
		err = nil
	}
	return err
}

// allMayWrite reports whether all may write to a directory above a file: see Activity. It asks no
// file system, which might not answer: it takes only what the kernel has in its cache.
func allMayWrite(dir, path string) bool {
	path = strings.TrimSuffix(path, deleted)
	at, err := open(dir+"/root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return byName(path)
	}
	defer func() { at.Close() }()
	names := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range names {
		var st unix.Statx_t
		err := unix.Statx(int(at), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MODE, &st)
		if err != nil {
			return byName(path)
		}
		if st.Mode&0o002 != 0 {
			return true
		}
		if i == len(names)-1 {
			break
		}
		below, err := unix.Openat2(int(at), names[i], &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | resolveCached,
		})
		if err != nil {
			return byName(path)
		}
		at.Close()
		at = rawfile.File(below)
	}
	return false
}

// byName reports whether a path is in a directory to which usually all may write.
func byName(path string) bool {
	return slices.ContainsFunc([]string{"/tmp/", "/var/tmp/", "/dev/shm/", "/run/lock/"}, func(dir string) bool {
		return strings.HasPrefix(path, dir)
	})
}
