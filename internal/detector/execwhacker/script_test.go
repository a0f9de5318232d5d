package execwhacker

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// An allow pattern is of one program. A process that is older than the agent does not run it
// because one of its first arguments is the path of that program.
func TestAnArgumentThatNamesAnAllowedProgramSparesNoOlderProcess(t *testing.T) {
	const word = "execwhackerscriptargword"
	script := filepath.Join(t.TempDir(), "miner")
	if err := os.WriteFile(script, []byte("echo ready; read -r line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", script, "/usr/bin/execwhackerallowed", word)
	end := testutil.Answering(t, cmd, "")
	defer end()
	d := loadIn(t, detectortest.Env(t, detectortest.Options{}), detector.Policy{
		Matcher: mustCompile(t, rules.Set{
			Bans:    []rules.Ban{{Text: word, Action: rules.Kill}},
			Allowed: []rules.Pattern{{Expr: "/usr/bin/execwhackerallowed .*"}},
		}),
		ScanInterval: time.Hour,
	})
	detectortest.Run(t, d)
	testutil.Eventually(t, "the scan", func() bool { return d.metrics.scan.scans.Load() > 0 })
	time.Sleep(50 * time.Millisecond)
	if isAlive(cmd.Process.Pid) {
		t.Errorf("it lives: %v", d.metrics.scan.Counts())
	}
}
