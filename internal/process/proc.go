package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/rawfile"
)

const (
	// maxStatBytes is beyond the longest line of /proc/PID/stat, and beyond
	// the line "Uid:" in /proc/PID/status, which the list of groups, of up to
	// 65536, comes after.
	maxStatBytes = 4096

	// maxTickBits is how long a number of clock ticks may be: 87 years, so that
	// the sum of two is a time.Duration.
	maxTickBits = 38

	// flagKernelThread is PF_KTHREAD in linux/sched.h.
	flagKernelThread = 0x00200000
)

// stat is what we use of /proc/PID/stat.
type stat struct {
	comm         string
	zombie       bool
	ppid         int
	kernelThread bool
	start, cpu   time.Duration
	threads      int
	running      bool // or ready to, for want of a CPU
	Layout
}

// A Layout is where the kernel put what an exec gives a program. All are 0 if the agent
// may not know.
type Layout struct {
	// Stack is where the stack began, which every exec chooses at random, and where
	// the number of arguments is.
	Stack uint64
	// ArgStart, ArgEnd and EnvStart are the borders of the argument area, and of the
	// environment, which the exec puts right behind it. A process can move them.
	ArgStart, ArgEnd, EnvStart uint64
}

// An Image is what a process runs from one exec to the next.
type Image struct {
	PID int
	// TID is 0, or if the first thread of the process has ended before the others, the
	// id of another one. The first has neither program nor arguments any more.
	TID int
	Layout
}

// Dir returns the directory in /proc that describes the image.
func (i Image) Dir() string {
	dir := Dir(i.PID)
	if i.TID != 0 {
		dir += "/task/" + strconv.Itoa(i.TID)
	}
	return dir
}

// Replaced reports whether another program has been executed since.
func (i Image) Replaced() (bool, error) {
	s, err := readStat(i.Dir())
	return s.Stack != i.Stack, err
}

// Dir returns the directory of a process in /proc.
func Dir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// Parent returns the pid of a process's parent, 0 if that is in another PID namespace.
func Parent(pid int) (int, error) {
	s, err := readStat(Dir(pid))
	return s.ppid, err
}

// IsRunning reports whether a thread runs, or would if it had a CPU.
func IsRunning(pid, tid int) (bool, error) {
	s, err := readStat(Dir(pid) + "/task/" + strconv.Itoa(tid))
	return s.running, err
}

// look returns the state of a process, and what it runs.
func look(pid int) (stat, Image, error) {
	dir := Dir(pid)
	s, err := readStat(dir)
	if err != nil || !s.zombie {
		return s, Image{PID: pid, Layout: s.Layout}, err
	}
	now, err := liveThread(pid)
	return s, now, err
}

// Current returns what a process runs now.
func Current(pid int) (Image, error) {
	_, now, err := look(pid)
	return now, err
}

// Describe returns what the kernel tells without the lock of the process's memory: all
// but the command line.
func Describe(pid int) (Info, Image, error) {
	s, now, err := look(pid)
	if err != nil {
		return Info{}, Image{}, err
	}
	info := Info{
		PID: pid, PPID: s.ppid, Start: s.start, CPU: s.cpu, Threads: s.threads,
		KernelThread: s.kernelThread, Comm: s.comm,
	}
	status, err := head(Dir(pid) + "/status")
	if err != nil {
		return Info{}, Image{}, err
	}
	if info.UID, err = parseUID(status); err != nil || s.kernelThread {
		return info, now, err
	}
	info.Program, err = program(now.Dir())
	return info, now, err
}

// liveThread returns the image that a thread which has not ended runs.
func liveThread(pid int) (Image, error) {
	tasks := Dir(pid) + "/task"
	f, err := os.Open(tasks)
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	for {
		tids, err := f.Readdirnames(64)
		for _, name := range tids {
			tid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			if s, err := readStat(tasks + "/" + name); err == nil && !s.zombie {
				return Image{pid, tid, s.Layout}, nil
			}
		}
		if err != nil {
			return Image{}, fmt.Errorf("looking for a live thread: %w", err)
		}
	}
}

// program returns the target of the link exe, empty if that is too long.
func program(dir string) (string, error) {
	path, err := os.Readlink(dir + "/exe")
	if errors.Is(err, unix.ENAMETOOLONG) {
		return "", nil
	}
	return path, err
}

// head returns the first maxStatBytes of a file in /proc that the kernel writes at once,
// so that a read which gives less has come to the end.
func head(path string) ([]byte, error) {
	f, err := rawfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b [maxStatBytes]byte
	n, err := f.Read(b[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return bytes.Clone(b[:n]), nil
}

func readStat(dir string) (stat, error) {
	line, err := head(dir + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(line)
}

// parseStat parses /proc/PID/stat; proc(5) numbers its fields from 1. The
// second is the name in parentheses, which may hold any byte, these and
// newlines too. No field after it can hold a parenthesis.
func parseStat(line []byte) (stat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("parsing stat: no name in parentheses")
	}
	fields := strings.Fields(string(line[end+1:])) // from the third on
	if len(fields) < 28-2 {
		return stat{}, fmt.Errorf("parsing stat: %d fields after the name", len(fields))
	}
	ppid, err1 := strconv.Atoi(fields[4-3])
	flags, err2 := strconv.ParseUint(fields[9-3], 10, 32)
	user, err3 := strconv.ParseUint(fields[14-3], 10, maxTickBits)
	system, err4 := strconv.ParseUint(fields[15-3], 10, maxTickBits)
	threads, err5 := strconv.Atoi(fields[20-3])
	start, err6 := strconv.ParseUint(fields[22-3], 10, maxTickBits)
	var l Layout
	var err7 error
	for n, address := range map[int]*uint64{28: &l.Stack, 48: &l.ArgStart, 49: &l.ArgEnd, 50: &l.EnvStart} {
		if n-3 < len(fields) {
			var err error
			*address, err = strconv.ParseUint(fields[n-3], 10, 64)
			err7 = errors.Join(err7, err)
		}
	}
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return stat{}, fmt.Errorf("parsing stat: %w", err)
	}
	return stat{
		comm:         string(line[open+1 : end]),
		running:      fields[0] == "R",
		zombie:       fields[0] == "Z" || fields[0] == "X",
		ppid:         ppid,
		kernelThread: flags&flagKernelThread != 0,
		cpu:          time.Duration(user+system) * ClockTick,
		threads:      threads,
		start:        time.Duration(start) * ClockTick,
		Layout:       l,
	}, nil
}

// parseUID returns the real user id in /proc/PID/status. The kernel escapes the
// newlines of the name there, so no process can forge the line.
func parseUID(status []byte) (uint32, error) {
	_, line, _ := bytes.Cut(status, []byte("\nUid:\t"))
	id, _, _ := bytes.Cut(line, []byte("\t"))
	uid, err := strconv.ParseUint(string(id), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("parsing the user id in status: %w", err)
	}
	return uint32(uid), nil
}
