package hashwork

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// likely has only the rules whose findings are always likely ones.
func likely(on bool) func(*Settings) {
	return func(s *Settings) {
		twiceAsSoon(s)
		s.Program.Enabled, s.Scratchpad.Enabled = false, false
		s.Unmasked.Enabled, s.MemoryHard.Enabled = on, on
	}
}

// The rules unmasked and memoryHard only observe what they find, and nothing where they are off.
// Passwords that are hashed in new memory are not observed.
func TestTheLikelyRulesOnlyObserve(t *testing.T) {
	testutil.Privileged(t)
	walk, hash := testutil.BuildC(t, "test/victims/scratchpad.c"), testutil.BuildC(t, "test/victims/memory_hard.c")
	b := newBed(t, likely(false))
	commands := map[*exec.Cmd]rule{
		exec.Command(walk, "register"):      unmaskedRule,
		exec.Command(hash, "scalar"):        memoryHardRule,
		exec.Command(hash, "vector"):        memoryHardRule,
		exec.Command(hash, "vector", "new"): noRule,
	}
	if !hasAES(t) {
		maps.DeleteFunc(commands, func(_ *exec.Cmd, r rule) bool { return r == unmaskedRule })
	}
	for cmd := range commands {
		testutil.Start(t, cmd)
	}
	for cmd := range commands {
		b.examined(t, cmd, false)
		if lines := b.lines(cmd.Process.Pid); len(lines) > 0 {
			t.Errorf("%v, rules off: %v", cmd.Args, lines)
		}
	}
	s := Defaults()
	likely(true)(s)
	if err := b.Apply(detector.Policy{Settings: s, Matcher: new(match.Matcher)}); err != nil {
		t.Fatal(err)
	}
	for cmd, want := range commands {
		t.Log(cmd.Args[1:], b.examined(t, cmd, true))
		var lines []map[string]any
		if want != noRule {
			testutil.Eventually(t, "the line", func() bool { lines = b.lines(cmd.Process.Pid); return len(lines) > 0 })
		} else if lines = b.lines(cmd.Process.Pid); len(lines) > 0 {
			t.Errorf("%v: %v", cmd.Args, lines)
		}
		for _, l := range lines {
			t.Log(l)
			if l["action"] != "observed" || l["rule"] != Name+" "+want.String() {
				t.Errorf("%v: %v", cmd.Args, l)
			}
		}
	}
}

// hasAES reports whether the CPU has instructions for AES.
func hasAES(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(text, []byte(" aes"))
}

// examinedAgain waits until a process is examined twice from now on, of which the second examination begins
// after the first has ended.
func (b *bed) examinedAgain(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	examinations := func() int {
		return strings.Count(b.log.String(), fmt.Sprintf(`"msg":"examined a process","detector":"%s","pid":%d,`, Name, cmd.Process.Pid))
	}
	before := examinations()
	testutil.Eventually(t, "two more examinations of "+strings.Join(cmd.Args, " "), func() bool { return examinations() >= before+2 })
}

// examined waits until a process was examined, with evidence or without, and returns that.
func (b *bed) examined(t *testing.T, cmd *exec.Cmd, evident bool) (evidence map[string]any) {
	t.Helper()
	testutil.Eventually(t, "the examination of "+strings.Join(cmd.Args, " "), func() bool {
		for text := range strings.Lines(b.log.String()) {
			var l struct {
				Msg        string
				PID        int
				Scratchpad map[string]any
			}
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if l.Msg == "examined a process" && l.PID == cmd.Process.Pid && (l.Scratchpad != nil) == evident {
				evidence = l.Scratchpad
				return true
			}
		}
		return false
	})
	return evidence
}
