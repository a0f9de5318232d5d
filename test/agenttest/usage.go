package agenttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// MemoryMiB returns the resident memory of the agent and of the processes that it has
// started, in MiB. The pages of the program's file, which they share, count once.
func (a *Agent) MemoryMiB() int {
	sum := 0
	for i, pid := range a.tree() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			var kind string
			var kib int
			if n, _ := fmt.Sscanf(line, "Rss%s %d kB", &kind, &kib); n == 2 && (kind != "File:" || i == 0) {
				sum += kib
			}
		}
	}
	return sum / 1024
}

// Descriptors returns how many descriptors the agent has open.
func (a *Agent) Descriptors() int {
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", a.Process.Pid))
	return len(open)
}

// CPU returns the CPU time that the agent, and what it has started, have used.
func (a *Agent) CPU(t *testing.T) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, pid := range a.tree() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(after)
		var user, system int
		if n, _ := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); n != 2 {
			t.Fatalf("reading the times in %q", text)
		}
		sum += time.Duration(user+system) * time.Second / 100 // USER_HZ
	}
	return sum
}

// tree returns the pids of the agent and of what it has started.
func (a *Agent) tree() []int {
	pids := []int{a.Process.Pid}
	for i := 0; i < len(pids); i++ {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			for field := range strings.FieldsSeq(string(text)) {
				var pid int
				if n, _ := fmt.Sscan(field, &pid); n == 1 {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}
