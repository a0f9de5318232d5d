package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
)

// patience is the time limit for the start of an agent.
const patience = time.Minute

// An agent is a running agent with the action observe.
type agent struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	last   string         // line of its log, once it has ended
	drain  chan struct{}  // closed when its output has ended
	ready  time.Duration  // from its start to protection
	reload chan time.Time // when it had reloaded

	mu    sync.Mutex
	found []verdict
}

// A verdict is a verdict line of the agent's log.
type verdict struct {
	Action string
	Source string  // exec or scan
	After  float64 `json:"after_seconds"` // from the exec to the verdict
}

// start starts an agent and waits until it is ready.
func (b *bench) start(ctx context.Context, flags ...string) (*agent, error) {
	return startAgent(ctx, b.agent, flags...)
}

func startAgent(ctx context.Context, program string, flags ...string) (*agent, error) {
	a := &agent{drain: make(chan struct{}), reload: make(chan time.Time, 1)}
	a.cmd = exec.CommandContext(ctx, program, append([]string{"run", "--action", "observe"}, flags...)...)
	a.cmd.Stderr = &a.stderr
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the agent: %w", err)
	}
	ready := make(chan time.Duration, 1)
	go func() {
		defer close(a.drain)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			a.last = lines.Text()
			switch {
			case strings.Contains(lines.Text(), `"msg":"ready"`):
				ready <- time.Since(begin)
			case strings.Contains(lines.Text(), `"msg":"reloaded"`):
				select {
				case a.reload <- time.Now():
				default: // not requested by reloads
				}
			case strings.Contains(lines.Text(), `"source":"exec"`), strings.Contains(lines.Text(), `"source":"scan"`):
				var v verdict
				if json.Unmarshal(lines.Bytes(), &v) == nil && v.Action != "" {
					a.mu.Lock()
					a.found = append(a.found, v)
					a.mu.Unlock()
				}
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
	}()
	select {
	case a.ready = <-ready:
		return a, nil
	case <-a.drain:
		err = errors.New("the agent ended early")
	case <-time.After(patience):
		err = fmt.Errorf("the agent was not ready within %v", patience)
	}
	return nil, errors.Join(err, a.stop())
}

// reloads makes the agent reload its rules, and returns how long that takes.
func (a *agent) reloads() (time.Duration, error) {
	begin := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return 0, err
	}
	select {
	case end := <-a.reload:
		return end.Sub(begin), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("the agent did not reload within %v", patience)
	}
}

// verdicts waits for n verdict lines, returns them and removes them.
func (a *agent) verdicts(n int) ([]verdict, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		a.mu.Lock()
		found := a.found
		if len(found) >= n {
			a.found = nil
		}
		a.mu.Unlock()
		if len(found) >= n {
			return found, nil
		}
	}
	return nil, fmt.Errorf("the agent did not log %d verdicts within %v", n, patience)
}

// stop ends the agent.
func (a *agent) stop() error {
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	<-a.drain
	if err := a.cmd.Wait(); err != nil {
		return fmt.Errorf("running the agent: %w\n%s%s", err, a.stderr.Bytes(), a.last)
	}
	return nil
}

// program opens a BPF program of the agent by its name.
func (a *agent) program(name string) (*ebpf.Program, error) {
	for id := range fdinfo(a.cmd.Process.Pid, "prog_id") {
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
		if err != nil {
			return nil, fmt.Errorf("opening program %d: %w", id, err)
		}
		info, err := p.Info()
		if err == nil && info.Name == name {
			return p, nil
		}
		_ = p.Close()
	}
	return nil, fmt.Errorf("the agent has no program %s", name)
}

// fdinfo returns the values of a field of /proc/PID/fdinfo over all
// descriptors of a process, each with the file's memory in the kernel in bytes.
func fdinfo(pid int, field string) map[uint64]uint64 {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	values := make(map[uint64]uint64)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		if value, ok := number(content, field); ok {
			values[value], _ = number(content, "memlock")
		}
	}
	return values
}

// number returns the value of a line "FIELD: NUMBER".
func number(content []byte, field string) (uint64, bool) {
	for line := range strings.Lines(string(content)) {
		if key, rest, ok := strings.Cut(line, ":"); ok && key == field {
			n, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
