// Package process identifies and kills processes through pidfds, so that the killed
// process is the one that was read, even if pids are reused.
//
// It requires Linux 5.3 and /proc of the initial PID namespace.
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
	// ErrGone means that the process has ended, or that no process has this pid. The id of
	// a thread other than the first is not a pid.
	ErrGone = errors.New("the process has ended")
	// ErrProtected means that the process must never be killed.
	ErrProtected = errors.New("never killed")
)

// ClockTick is the resolution of process start times in /proc: USER_HZ, which is 100 on
// all architectures that Go supports.
const ClockTick = 10 * time.Millisecond

// Info is the data in /proc about a process. The process controls all strings: they can
// contain any bytes, so log them only through printable.Text.
type Info struct {
	PID, PPID    int
	UID          uint32        // real
	Start        time.Duration // since boot, in whole clock ticks
	CPU          time.Duration // of all threads, in whole clock ticks
	Threads      int
	KernelThread bool // Program and Args are empty

	// Program is the path of the executed file in the process's mount namespace. The
	// kernel appends " (deleted)" to that of a removed file; the name of an existing file
	// can end like this as well. It is empty if the path is longer than 4095 bytes.
	Program string
	// Args is the argument area, each argument terminated by a NUL unless the process has
	// overwritten it. Truncated: the area has more than 6 MiB, of which Args is the start.
	Args      []byte
	Truncated bool
	// Rewritten: Args may not be the arguments of the exec, because the process has
	// overwritten them with a title, moved the area, or prevented the check.
	Rewritten bool
	Comm      string
}

// Supported returns an error with the reason if processes cannot be read and killed here.
func Supported() error {
	// Pids in BPF events are those of the initial namespace, whose inode number is fixed:
	// PROC_PID_INIT_INO in linux/proc_ns.h.
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
