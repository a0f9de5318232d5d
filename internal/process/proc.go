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
	layout
}

// A layout is where the kernel put what an exec gives a program. All are 0 if we may not
// know.
type layout struct {
	// stack is where the stack began, which every exec chooses at random, and where
	// the number of arguments is.
	stack uint64
	// argStart, argEnd and envStart are the borders of the argument area, and of the
	// environment, which the exec puts right behind it. A process can move them.
	argStart, argEnd, envStart uint64
}

// An image is what a process runs from one exec to the next.
type image struct {
	pid int
	// tid is 0, or if the first thread of the process has ended before the others, the
	// id of another one. The first has neither program nor arguments any more.
	tid int
	layout
}

// dir returns the directory in /proc that tells about an image.
func (i image) dir() string {
	dir := procDir(i.pid)
	if i.tid != 0 {
		dir += "/task/" + strconv.Itoa(i.tid)
	}
	return dir
}

func procDir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// look returns the state of a process, and what it runs.
func look(pid int) (stat, image, error) {
	dir := procDir(pid)
	s, err := readStat(dir)
	if err != nil || !s.zombie {
		return s, image{pid: pid, layout: s.layout}, err
	}
	now, err := liveThread(pid)
	return s, now, err
}

// describe reads what the kernel answers without asking the process: all but
// its command line.
func describe(pid int) (Info, image, error) {
	s, now, err := look(pid)
	if err != nil {
		return Info{}, image{}, err
	}
	info := Info{
		PID: pid, PPID: s.ppid, Start: s.start, CPU: s.cpu, Threads: s.threads,
		KernelThread: s.kernelThread, Comm: s.comm,
	}
	status, err := head(procDir(pid) + "/status")
	if err != nil {
		return Info{}, image{}, err
	}
	if info.UID, err = parseUID(status); err != nil || s.kernelThread {
		return info, now, err
	}
	info.Program, err = program(now.dir())
	return info, now, err
}

// liveThread returns the image that a thread which has not ended runs.
func liveThread(pid int) (image, error) {
	tasks := procDir(pid) + "/task"
	f, err := os.Open(tasks)
	if err != nil {
		return image{}, err
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
				return image{pid, tid, s.layout}, nil
			}
		}
		if err != nil {
			return image{}, fmt.Errorf("looking for a live thread: %w", err)
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
	f, err := openFile(path)
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
	var l layout
	var err7 error
	for n, address := range map[int]*uint64{28: &l.stack, 48: &l.argStart, 49: &l.argEnd, 50: &l.envStart} {
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
		layout:       l,
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
