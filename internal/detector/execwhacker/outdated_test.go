package execwhacker

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The rules may change while a long command line is judged, and the scan by the new rules may
// end before the verdict by the old ones. Then another scan judges the process.
func TestAProcessJudgedDuringAReloadIsJudgedByTheNewRules(t *testing.T) {
	const word = "execwhackeroutdatedtestword"
	d := load(t, "execwhackeroutdatedtestother")
	old, err := d.rules.ApplyRules.Clone()
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	err = d.Apply(detector.Policy{
		Matcher:      mustCompile(t, rules.Set{Bans: []rules.Ban{{Text: word, Action: rules.Kill}}}),
		ScanInterval: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	detectortest.Run(t, d)
	testutil.Eventually(t, "the scan by the new rules", func() bool { return d.metrics.scan.scans.Load() > 0 })

	// A judgement by the old rules that ends only now.
	if err := d.entry.Slot.Put(uint32(0), old); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "read -r line", "sh", word)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(testutil.Patience(20*time.Second), func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer late.Stop()
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it lives: %v", err)
	}
}
