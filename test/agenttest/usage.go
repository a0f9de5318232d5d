package agenttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// MemoryMiB returns the resident memory of the agent and its descendants in MiB. The pages of the
// program's file, which they share, count once.
func (a *Agent) MemoryMiB() int {
	var sum uint64
	for i, p := range a.family() {
		s, _ := p.NewStatus() // all zero if it has ended
		sum += s.RssAnon + s.RssShmem
		if i == 0 {
			sum += s.RssFile
		}
	}
	return int(sum >> 20)
}

// Descriptors returns the number of open descriptors of the agent.
func (a *Agent) Descriptors() int {
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", a.Process.Pid))
	return len(open)
}

// CPU returns the CPU time of the agent and its descendants.
func (a *Agent) CPU(t *testing.T) time.Duration {
	t.Helper()
	var ticks uint
	for _, p := range a.family() {
		s, _ := p.Stat() // all zero if it has ended
		ticks += s.UTime + s.STime
	}
	if ticks == 0 {
		t.Fatal("reading the CPU time of the agent")
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

// family returns the agent and its descendants.
func (a *Agent) family() procfs.Procs {
	var family procfs.Procs
	pids := []int{a.Process.Pid}
	for i := 0; i < len(pids); i++ {
		p, err := procfs.NewProc(pids[i])
		if err != nil {
			continue // it has ended
		}
		family = append(family, p)
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.PID))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			for field := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return family
}
