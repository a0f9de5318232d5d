package main

import (
	"errors"
	"time"

	"github.com/prometheus/procfs"
)

// memory returns the agent's memory in bytes.
func (a *agent) memory() (procfs.ProcStatus, error) {
	p, err := procfs.NewProc(a.cmd.Process.Pid)
	if err != nil {
		return procfs.ProcStatus{}, err
	}
	return p.NewStatus()
}

// availableMemory returns the available memory of the machine in bytes.
func availableMemory() (uint64, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	info, err := fs.Meminfo()
	switch {
	case err != nil:
		return 0, err
	case info.MemAvailableBytes == nil:
		return 0, errors.New("/proc/meminfo has no MemAvailable")
	}
	return *info.MemAvailableBytes, nil
}

// cpu returns the CPU time of the agent's threads, except those that have ended. The Go runtime
// rarely ends threads.
func (a *agent) cpu() (time.Duration, error) {
	threads, err := procfs.AllThreads(a.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, thread := range threads {
		if s, err := thread.Schedstat(); err == nil { // it has not ended
			sum += time.Duration(s.RunningNanoseconds)
		}
	}
	return sum, nil
}

// familyCPU returns the CPU time of the agent and its children, including those that have ended.
func (a *agent) familyCPU() (time.Duration, error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return 0, err
	}
	own := a.cmd.Process.Pid
	var ticks uint
	running := false
	for _, p := range all {
		s, err := p.Stat()
		if err != nil || p.PID != own && s.PPID != own {
			continue // it has ended, or is another's
		}
		running = running || p.PID == own
		ticks += s.UTime + s.STime + uint(s.CUTime) + uint(s.CSTime)
	}
	if !running {
		return 0, errors.New("the agent has ended")
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ
}
