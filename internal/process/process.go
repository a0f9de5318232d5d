// Package process tells who a process is, and kills it, so that what was read
// belongs to what is killed, however short-lived or hostile the process is.
//
// It needs Linux 5.3 or later, and /proc of the initial PID namespace.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrGone says that no process has this pid, or none any more: the normal
	// race with processes that end. The id of a thread other than the first
	// is no pid.
	ErrGone = errors.New("the process has ended")
	// ErrProtected says that a process must not be killed, whatever it does.
	ErrProtected = errors.New("never killed")
)

// ClockTick is the resolution of process start times in /proc: USER_HZ, which
// is 100 on all architectures that Go runs on.
const ClockTick = 10 * time.Millisecond

// Info is what /proc says of a process. All of it but numbers and times is the
// process's own choice: any bytes, to be logged by printable.Text only.
type Info struct {
	PID, PPID    int
	UID          uint32        // real
	Start        time.Duration // since boot, in whole clock ticks
	CPU          time.Duration // used so far by all threads, in whole clock ticks
	Threads      int
	KernelThread bool // Program and Args are empty

	// Program is the path of the file that runs, as the kernel gives it: in
	// the process's mount namespace, with " (deleted)" behind it after its
	// removal, which an existing file may be named like too. It is empty if
	// the path is longer than 4095 bytes.
	Program string
	// Args is the argument area, each argument ended by a NUL unless the
	// process has overwritten it. Truncated says that it is longer than
	// 6 MiB, and cut there.
	Args      []byte
	Truncated bool
	// Rewritten says that Args are not known to be those of the exec: the process has
	// written a title over them, moved the area, or made the check impossible.
	Rewritten bool
	Comm      string
}

// Supported returns an error that says why processes cannot be read and killed
// here.
func Supported() error {
	// Process ids in kernel events are those of the initial namespace, whose
	// inode number is fixed: PROC_PID_INIT_INO in linux/proc_ns.h.
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil {
		return fmt.Errorf("reading /proc: %w", err)
	} else if ns != "pid:[4026531836]" {
		return errors.New("the PID namespace is not the initial one (hostPID in a pod)")
	}
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.New("/proc belongs to another PID namespace")
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("opening a pidfd (Linux 5.3): %w", err)
	}
	return unix.Close(fd)
}

// List returns the pids of all processes.
func List() ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
