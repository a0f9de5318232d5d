package acceptance

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// The exec of a server that was started before the agent was not seen. A user whose code runs in
// a fork of the server can forge arguments there. Only his own process is killed.
func TestForgedArgumentsKillNoProcessOfAnotherUser(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	word := agenttest.NewWord()
	server := exec.Command(testutil.BuildC(t, "test/victims/forge_argv.c"), strings.Repeat("x", len(word)))
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, server)
	agenttest.Eventually(t, "the exec", func() bool { return strings.HasPrefix(commOf(server.Process.Pid), "forge") })
	a := startWith(t, agenttest.Rules{Strings: []string{agenttest.NewWord()}}, map[string]any{"scanInterval": "1h"})
	scans := func() float64 { return a.Metrics(t)["scans_total"] }
	agenttest.Eventually(t, "a scan", func() bool { return scans() > 0 })
	if _, err := fmt.Fprintln(stdin, word); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	child := 0
	if _, err2 := fmt.Sscanf(line, "ready %d", &child); err != nil || err2 != nil {
		t.Fatal(line, err, err2)
	}
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
	before := scans()
	if err := os.WriteFile(a.Rules, []byte(`{"bannedCommandStrings":["`+word+`"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a.Verdict(t, "killed", child)
	agenttest.Eventually(t, "the scan after a reload", func() bool { return scans() > before })
	if lines := a.Lines(func(l agenttest.Line) bool { return l.PID == server.Process.Pid && l.Action != "" }); len(lines) > 0 {
		t.Errorf("the server: %s", lines[0].Raw)
	}
	if err := server.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the server has ended: %v", err)
	}
}

func commOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return string(text)
}
