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
	// maxStatBytes is above the length of /proc/PID/stat, and of /proc/PID/status up to
	// the line "Uid:". Up to 65536 groups come after that.
	maxStatBytes = 4096

	// maxTickBits is the maximum size of a number of clock ticks: 87 years, so that the
	// sum of two is a valid time.Duration.
	maxTickBits = 38

	// flagKernelThread is PF_KTHREAD in linux/sched.h.
	flagKernelThread = 0x00200000
)

// stat is a part of /proc/PID/stat.
type stat struct {
	comm         string
	zombie       bool
	ppid         int
	kernelThread bool
	start, cpu   time.Duration
	faults       uint64
	threads      int
	running      bool // or waiting for a CPU
	Layout
}

// A Layout contains addresses in the memory of a process. All are 0 without permission to
// read them.
type Layout struct {
	// Stack is the stack pointer at the start of the program, which points to the number
	// of arguments. Each exec randomizes it.
	Stack uint64
	// ArgStart and ArgEnd are the bounds of the argument area, EnvStart is the start of
	// the environment, which an exec puts directly after it. A process can change them.
	ArgStart, ArgEnd, EnvStart uint64
}

// An Image is the program of a process between two execs.
type Image struct {
	PID int
	// TID is the id of a running thread if the first thread of the process has ended, else
	// 0. A thread that has ended has neither program nor arguments.
	TID int
	Layout
}

// Dir returns the directory of the image in /proc.
func (i Image) Dir() string {
	dir := Dir(i.PID)
	if i.TID != 0 {
		dir += "/task/" + strconv.Itoa(i.TID)
	}
	return dir
}

// Replaced reports whether the process has executed another program.
func (i Image) Replaced() (bool, error) {
	s, err := readStat(i.Dir())
	return s.Stack != i.Stack, err
}

// Dir returns the directory of a process in /proc.
func Dir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// Parent returns the pid of a process's parent, or 0 if that is in another PID namespace.
func Parent(pid int) (int, error) {
	s, err := readStat(Dir(pid))
	return s.ppid, err
}

// Faults returns the number of page faults of a process since its start, and its CPU time in whole
// clock ticks, both of all threads.
func Faults(pid int) (faults uint64, cpu time.Duration, err error) {
	s, err := readStat(Dir(pid))
	return s.faults, s.cpu, err
}

// IsRunning reports whether a thread runs or waits for a CPU.
func IsRunning(pid, tid int) (bool, error) {
	s, err := readStat(Dir(pid) + "/task/" + strconv.Itoa(tid))
	return s.running, err
}

// statAndImage returns the state and the image of a process.
func statAndImage(pid int) (stat, Image, error) {
	dir := Dir(pid)
	s, err := readStat(dir)
	if err != nil || !s.zombie {
		return s, Image{PID: pid, Layout: s.Layout}, err
	}
	now, err := liveThread(pid)
	return s, now, err
}

// Current returns the current image of a process.
func Current(pid int) (Image, error) {
	_, now, err := statAndImage(pid)
	return now, err
}

// Describe reads a process without taking the lock of its memory: all of Info except the
// command line.
func Describe(pid int) (Info, Image, error) {
	s, now, err := statAndImage(pid)
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

// liveThread returns the image of a thread that has not ended.
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
			return Image{}, fmt.Errorf("searching for a live thread: %w", err)
		}
	}
}

// program returns the target of the link exe, or "" if that is too long.
func program(dir string) (string, error) {
	path, err := os.Readlink(dir + "/exe")
	if errors.Is(err, unix.ENAMETOOLONG) {
		return "", nil
	}
	return path, err
}

// head returns the first maxStatBytes of a file in /proc that the kernel generates as a
// whole, so that one read returns all of them.
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

// parseStat parses /proc/PID/stat. Fields are numbered from 1 as in proc(5). The second is
// the name in parentheses, which can contain any byte, including parentheses and newlines.
// The fields after it contain no parenthesis.
func parseStat(line []byte) (stat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("parsing stat: no name in parentheses")
	}
	fields := make([]string, 0, 50-2) // the third is first; those behind the 50th are not needed
	for field := range strings.FieldsSeq(string(line[end+1:])) {
		if fields = append(fields, field); len(fields) == cap(fields) {
			break
		}
	}
	if len(fields) < 28-2 {
		return stat{}, fmt.Errorf("parsing stat: %d fields after the name", len(fields))
	}
	ppid, err1 := strconv.Atoi(fields[4-3])
	flags, err2 := strconv.ParseUint(fields[9-3], 10, 32)
	minor, err8 := strconv.ParseUint(fields[10-3], 10, 63) // so that the sum of two has 64 bits
	major, err9 := strconv.ParseUint(fields[12-3], 10, 63)
	user, err3 := strconv.ParseUint(fields[14-3], 10, maxTickBits)
	system, err4 := strconv.ParseUint(fields[15-3], 10, maxTickBits)
	threads, err5 := strconv.Atoi(fields[20-3])
	start, err6 := strconv.ParseUint(fields[22-3], 10, maxTickBits)
	var l Layout
	var err7 error
	for _, a := range [...]struct {
		n  int
		to *uint64
	}{{28, &l.Stack}, {48, &l.ArgStart}, {49, &l.ArgEnd}, {50, &l.EnvStart}} {
		if a.n-3 < len(fields) {
			var err error
			*a.to, err = strconv.ParseUint(fields[a.n-3], 10, 64)
			err7 = errors.Join(err7, err)
		}
	}
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9); err != nil {
		return stat{}, fmt.Errorf("parsing stat: %w", err)
	}
	return stat{
		comm:         string(line[open+1 : end]),
		running:      fields[0] == "R",
		zombie:       fields[0] == "Z" || fields[0] == "X",
		ppid:         ppid,
		kernelThread: flags&flagKernelThread != 0,
		cpu:          time.Duration(user+system) * ClockTick,
		faults:       minor + major,
		threads:      threads,
		start:        time.Duration(start) * ClockTick,
		Layout:       l,
	}, nil
}

// parseUID returns the real user id in /proc/PID/status. The kernel escapes newlines in
// the name there, so a process cannot fake the line.
func parseUID(status []byte) (uint32, error) {
	_, line, _ := bytes.Cut(status, []byte("\nUid:\t"))
	id, _, _ := bytes.Cut(line, []byte("\t"))
	uid, err := strconv.ParseUint(string(id), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("parsing the user id in status: %w", err)
	}
	return uint32(uid), nil
}
