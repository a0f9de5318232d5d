package acceptance

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestAnAgentThatStartsWithABadRuleFileProtectsByTheOthers(t *testing.T) {
	t.Parallel()
	inBad, inGood := agenttest.NewWord(), agenttest.NewWord()
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, bad, "bannedCommandStrings: ["+inBad+", '']\n")
	good := agenttest.WriteJSON(t, "good.json", agenttest.Rules{Strings: []string{inGood}})
	a := startWith(t, agenttest.Rules{}, map[string]any{"rules": []string{bad, good}})

	dies(t, exec.Command("/bin/echo", inGood))
	lives(t, exec.Command("/bin/echo", inBad), inBad+"\n")
	const problem = ":1: bannedCommandStrings[1]: empty string"
	l := a.Line(t, "of the bad file", func(l agenttest.Line) bool { return l.Msg == "rule file not in effect" })
	if l.Level != "ERROR" || l.Err != bad+problem || !strings.Contains(l.Raw, `"file":"`+bad+`"`) {
		t.Errorf("%s", l.Raw)
	}
	if status, body := get(t, a, "/readyz"); status != http.StatusServiceUnavailable || body != bad+problem+"\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, body := get(t, a, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d %s", status, body)
	}
	m := a.Metrics(t)
	if m["cryptnono_config_reload_success"] != 0 || m["cryptnono_rule_files_refused"] != 1 || m[`cryptnono_rules{kind="bans"}`] != 1 {
		t.Errorf("metrics %v", m)
	}

	began := time.Now()
	write(t, bad, "bannedCommandStrings: ["+inBad+"]\n")
	agenttest.Eventually(t, "the reload", func() bool { return reloads(a, "reloaded") == 1 })
	t.Logf("in effect %v after the file was mended", time.Since(began))
	dies(t, exec.Command("/bin/echo", inBad))
	dies(t, exec.Command("/bin/echo", inGood))
	if status, body := get(t, a, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	m = a.Metrics(t)
	if m["cryptnono_config_reload_success"] != 1 || m["cryptnono_rule_files_refused"] != 0 || m[`cryptnono_rules{kind="bans"}`] != 2 {
		t.Errorf("metrics %v", m)
	}
}
