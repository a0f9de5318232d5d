package hashwork

import (
	"fmt"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// onlyScratchpad has the rule scratchpad without the rule program.
func onlyScratchpad(s *Settings) { s.Program.Enabled = false }

// Without the rule program, CryptoNight dies by its memory accesses.
func TestAWalkOverAScratchpadDies(t *testing.T) {
	testutil.Privileged(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("AES was not measured here")
	}
	walk := testutil.BuildC(t, "test/victims/scratchpad.c")
	b := newBed(t, func(s *Settings) { onlyScratchpad(s); twiceAsSoon(s) })
	for _, c := range []struct {
		name string
		cmd  func(t *testing.T) *exec.Cmd
	}{
		{"a program", func(*testing.T) *exec.Cmd { return exec.Command(walk, "aes") }},
		{"a program with two threads", func(*testing.T) *exec.Cmd { return exec.Command(walk, "aes", "2") }},
		{"a library in an interpreter", func(t *testing.T) *exec.Cmd {
			python := needed(t, "python3")
			library := testutil.BuildC(t, "test/victims/scratchpad.c", "-shared", "-fPIC")
			return exec.Command(python, "-c", fmt.Sprintf("import ctypes; ctypes.CDLL(%q).compute(b'aes')", library))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			used := b.in(t).dies(startApart(t, c.cmd(t)), scratchpadRule)
			t.Logf("CPU time %v", used)
			if used > 4*time.Second+drainInterval { // 8 s by default
				t.Errorf("it computed for %v", used)
			}
		})
	}
}

// Without AES instructions it is observed, and so is what only looks like it.
func TestAWalkWithoutAESIsObserved(t *testing.T) {
	testutil.Privileged(t)
	walk := testutil.BuildC(t, "test/victims/scratchpad.c")
	b := newBed(t, func(s *Settings) { onlyScratchpad(s); twiceAsSoon(s) })
	for _, how := range []string{"soft", "table"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			testOnlyObserved(t, b.in(t), exec.Command(walk, how))
		})
	}
	t.Run("WebAssembly", func(t *testing.T) {
		t.Parallel()
		testOnlyObserved(t, b.in(t), wasm(t))
	})
}

// testOnlyObserved tests that a process is observed once, and that it dies when another detector has
// found a likely sign of it.
func testOnlyObserved(t *testing.T, b *bed, cmd *exec.Cmd) {
	t.Helper()
	startApart(t, cmd)
	var lines []map[string]any
	testutil.Eventually(t, "the line", func() bool {
		lines = b.lines(cmd.Process.Pid)
		return len(lines) > 0
	})
	t.Log(lines[0]["evidence"])
	b.examinedAgain(t, cmd)
	if lines = b.lines(cmd.Process.Pid); len(lines) != 1 || lines[0]["action"] != "observed" {
		t.Errorf("the lines are %v", lines)
	}
	at, err := b.verdicts.Inventory.Locate(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	b.verdicts.Judge.Meet(at, verdict.Sign{Kind: verdict.TLSToPool, Text: "other: likely"})
	used := b.dies(cmd, scratchpadRule)
	t.Logf("CPU time %v", used)
	if l := b.lines(cmd.Process.Pid); l[len(l)-1]["with"] != "other: likely" {
		t.Errorf("the lines are %v", l)
	}
}
