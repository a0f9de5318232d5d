package acceptance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// A supervised agent is the child of a parent that starts it again.
type supervised struct {
	word   string // is banned
	parent *exec.Cmd
	ready  chan struct{} // receives a value for each agent that is ready
	died   chan struct{} // and for each one that has ended and is started again
	ended  chan struct{} // is closed when the log has ended
}

// supervise starts one, by a command that executes another one if wrap is not empty.
func supervise(t *testing.T, wrap ...string) *supervised {
	t.Helper()
	testutil.Privileged(t)
	s := &supervised{word: agenttest.NewWord(), ready: make(chan struct{}, 10), died: make(chan struct{}, 10), ended: make(chan struct{})}
	settings := agenttest.WriteJSON(t, "settings.json", map[string]any{
		"rules":        []string{agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{s.word}})},
		"builtinRules": false, "scanInterval": "0", "monero": map[string]any{"enabled": false},
		"tcpflowkiller": map[string]any{"enabled": false}, "hashwork": map[string]any{"enabled": false},
	})
	args := append(wrap, agenttest.Program(t), "supervise", "run", "--config", settings)
	s.parent = exec.Command(args[0], args[1:]...)
	s.parent.Stderr = os.Stderr
	s.parent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := s.parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if len(lines.Bytes()) == 0 { // ends a line that a crash may have torn
				continue
			}
			var l agenttest.Line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Errorf("%v: %s", err, lines.Text())
			}
			switch l.Msg {
			case "ready":
				s.ready <- struct{}{}
			case "agent ended, starting it again":
				s.died <- struct{}{}
			}
		}
	}()
	s.wait(t, "the first agent")
	dies(t, exec.Command("/bin/echo", s.word))
	return s
}

// wait waits until an agent is ready.
func (s *supervised) wait(t *testing.T, what string) {
	t.Helper()
	select {
	case <-s.ready:
	case <-s.ended:
		t.Fatalf("%s: the log has ended", what)
	case <-time.After(agenttest.Patience()):
		t.Fatalf("%s: not ready", what)
	}
}

// end sends a signal to the parent, waits for its end and returns its state. It can be called twice.
func (s *supervised) end(signal os.Signal) *os.ProcessState {
	_ = s.parent.Process.Signal(signal)
	<-s.ended
	_ = s.parent.Wait()
	return s.parent.ProcessState
}

func TestAnAgentThatIsKilledIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := supervise(t)
	agent := children(t, s.parent.Process.Pid)[0]
	if err := syscall.Kill(agent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.wait(t, "the second agent")
	gap := time.Since(began)
	dies(t, exec.Command("/bin/echo", s.word))
	own := memory(t, s.parent.Process.Pid)
	t.Logf("protected again after %v; the parent has %d kB of memory of its own", gap, own)
	if gap > testutil.Patience(5*time.Second) || own > 16<<10 {
		t.Error("too late, or too much memory")
	}
	if now := children(t, s.parent.Process.Pid); len(now) != 1 || now[0] == agent {
		t.Errorf("children %v after %d", now, agent)
	}
	if state := s.end(syscall.SIGTERM); !state.Success() {
		t.Errorf("the end: %v", state)
	}
	lives(t, exec.Command("/bin/echo", s.word), s.word+"\n")
}

// A cgroup without memory: the kernel ends its largest process, which is the agent, and the parent starts
// another one. With memory.oom.group, which Kubernetes sets on cgroup v2, it ends all of them.
func TestWithoutMemory(t *testing.T) {
	testutil.Privileged(t)
	t.Run("the agent is started again", func(t *testing.T) {
		s := withoutMemory(t, "0")
		began := time.Now()
		select {
		case <-s.ended:
			t.Skip("the kernel has ended the parent, which is nearly as large")
		case <-s.ready:
		case <-time.After(agenttest.Patience()):
			t.Fatal("no second agent")
		}
		t.Logf("protected again after %v", time.Since(began))
		dies(t, exec.Command("/bin/echo", s.word))
	})
	t.Run("its parent ends as well", func(t *testing.T) {
		s := withoutMemory(t, "1")
		state := s.end(syscall.SIGTERM)
		if status := state.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Errorf("the parent: %v", state)
		}
	})
}

// withoutMemory starts an agent and its parent in a cgroup, fills its memory until one of them ends, and
// then leaves room again.
func withoutMemory(t *testing.T, group string) *supervised {
	t.Helper()
	const plenty = 1 << 30
	cgroup := agenttest.MemoryLimit(t, "cryptnono-full-"+group, plenty)
	if err := os.WriteFile(cgroup+"/memory.oom.group", []byte(group), 0); err != nil && group == "1" {
		t.Skip("memory is under cgroup v1 here, which has no memory.oom.group")
	}
	s := supervise(t, agenttest.Entering(cgroup)...)
	files := t.TempDir()
	if err := syscall.Mount("none", files, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(files, syscall.MNT_DETACH) })
	leave(t, cgroup, 16<<20)
	// Slowly, since first the pages of programs are given up, and less than the end of the agent
	// leaves: the parent would be next.
	enter := agenttest.Entering(cgroup)
	fill := testutil.Start(t, exec.Command(enter[0], append(enter[1:], "/bin/sh", "-c", "while head -c 4M /dev/zero; do sleep 0.2; done >"+files+"/zeros")...))
	select {
	case <-s.died:
		if group == "1" {
			t.Error("the parent has started another agent")
		}
	case <-s.ended:
	case <-time.After(agenttest.Patience()):
		t.Error("memory never ran out")
	}
	testutil.End(fill)
	if err := os.Remove(files + "/zeros"); err != nil {
		t.Fatal(err)
	}
	leave(t, cgroup, plenty)
	return s
}

// leave lowers the memory limit of a cgroup to this much more than it uses.
func leave(t *testing.T, cgroup string, bytes int) {
	t.Helper()
	for use, limit := range map[string]string{"memory.current": "memory.max", "memory.usage_in_bytes": "memory.limit_in_bytes"} {
		text, err := os.ReadFile(cgroup + "/" + use)
		if err != nil {
			continue // the other version of cgroups
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil {
			err = os.WriteFile(cgroup+"/"+limit, []byte(strconv.Itoa(n+bytes)), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// children returns the pids of a process's children.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	text, err := exec.Command("sh", "-c", fmt.Sprintf("cat /proc/%d/task/*/children", pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, n)
	}
	return pids
}

// memory returns the anonymous resident memory of a process in kB.
func memory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no RssAnon in %s", text)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
