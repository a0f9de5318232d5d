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

func TestAnAgentThatIsKilledIsStartedAgain(t *testing.T) {
	testutil.Privileged(t)
	word := agenttest.NewWord()
	settings := agenttest.WriteJSON(t, "settings.json", map[string]any{
		"rules":        []string{agenttest.WriteJSON(t, "rules.json", agenttest.Rules{Strings: []string{word}})},
		"builtinRules": false, "scanInterval": "0", "monero": map[string]any{"enabled": false},
		"tcpflowkiller": map[string]any{"enabled": false}, "hashwork": map[string]any{"enabled": false},
	})
	parent := exec.Command(agenttest.Program(t), "supervise", "run", "--config", settings)
	parent.Stderr = os.Stderr
	parent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			var l agenttest.Line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Errorf("%v: %s", err, lines.Text())
			}
			if l.Msg == "ready" {
				ready <- struct{}{}
			}
		}
	}()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		_ = parent.Process.Signal(syscall.SIGTERM)
		<-ended
		if err := parent.Wait(); err != nil {
			t.Errorf("the end: %v", err)
		}
	}
	defer stop()
	wait := func(what string) {
		t.Helper()
		select {
		case <-ready:
		case <-ended:
			t.Fatalf("%s: the log has ended", what)
		case <-time.After(agenttest.Patience()):
			t.Fatalf("%s: not ready", what)
		}
	}
	wait("the first agent")
	dies(t, exec.Command("/bin/echo", word))

	agent := children(t, parent.Process.Pid)[0]
	if err := syscall.Kill(agent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wait("the second agent")
	gap := time.Since(began)
	dies(t, exec.Command("/bin/echo", word))
	own := memory(t, parent.Process.Pid)
	t.Logf("protected again after %v; the parent has %d kB of memory of its own", gap, own)
	if gap > testutil.Patience(5*time.Second) || own > 16<<10 {
		t.Error("too late, or too much memory")
	}
	if now := children(t, parent.Process.Pid); len(now) != 1 || now[0] == agent {
		t.Errorf("children %v after %d", now, agent)
	}
	stop()
	lives(t, exec.Command("/bin/echo", word), word+"\n")
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
