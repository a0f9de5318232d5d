package execwhacker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// banLater runs a detector that bans a word only when the returned function is called, which
// then waits for the scan.
func banLater(t *testing.T, env detector.Env, word string) (d *Detector, ban func()) {
	t.Helper()
	d = loadIn(t, env, banning(t, word+"other"))
	detectortest.Run(t, d)
	return d, func() {
		err := d.Apply(detector.Policy{
			Matcher:      mustCompile(t, rules.Set{Bans: []rules.Ban{{Text: word, Action: rules.Kill}}}),
			ScanInterval: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "the scan by the new rules", func() bool { return d.metrics.scan.scans.Load() > 0 })
	}
}

// isAlive reports whether a child of this process has not ended.
func isAlive(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo == 0
}

// A process is exempt by its cgroup. One that it has forked, and that has gone to another
// cgroup, is killed.
func TestAnExemptProcessLivesWhenAForkOfItIsKilled(t *testing.T) {
	const word = "execwhackerexemptforkword"
	env := detectortest.Env(t, detectortest.Options{Exemptions: exempt.Rules{Cgroups: []string{"/cryptnono-fork-exempt"}}})
	d, ban := banLater(t, env, word)
	home, other := testutil.MakeCgroup(t, "/cryptnono-fork-exempt"), testutil.MakeCgroup(t, "/cryptnono-fork-other")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `(echo 0 >"$1/cgroup.procs"; read -r line <"$2") &
echo ready; read -r line; (:); echo forked; read -r line`, word, other, fifo)
	f, err := os.Open(home)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	goOn, lines := startPiped(t, cmd)
	if got := lines(); got != "ready" {
		t.Fatalf("got %q", got)
	}
	testutil.Eventually(t, "the fork in its cgroup", func() bool { b, _ := os.ReadFile(other + "/cgroup.procs"); return len(b) > 0 })
	ban()
	testutil.Eventually(t, "the end of the fork", func() bool { b, _ := os.ReadFile(other + "/cgroup.procs"); return len(b) == 0 })
	if n := d.metrics.scan.Counts(); n[verdict.Killed] != 1 || n[verdict.Exempt] != 1 {
		t.Errorf("1 of 2 was to be killed, the other is exempt: %v", n)
	}
	if !isAlive(cmd.Process.Pid) {
		t.Fatal("the exempt process was killed at once")
	}
	goOn("")
	if got := lines(); got != "forked" {
		t.Errorf("the exempt process was killed when it forked again: %q", got)
	}
}

// The kill limit allows the kill of one of two processes of an exec. The other lives, also if it
// forks again.
func TestAProcessThatTheKillLimitSparesMayFork(t *testing.T) {
	const word = "execwhackerlimitforkword"
	env := detectortest.Env(t, detectortest.Options{})
	if err := env.Judge.Limit.Apply(killlimit.Limits{PerMinute: 1, Cooldown: time.Hour}); err != nil {
		t.Fatal(err)
	}
	d, ban := banLater(t, env, word)
	dir := t.TempDir()
	fifo, done := filepath.Join(dir, "fifo"), filepath.Join(dir, "done")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `(read -r line <"$1"; (:); echo forked >"$2") & echo ready; read -r line`, word, fifo, done)
	end := testutil.Answering(t, cmd, "")
	defer end()
	ban()
	testutil.Eventually(t, "the kill of the first", func() bool { return !isAlive(cmd.Process.Pid) })
	n := d.metrics.scan.Counts()
	scans := d.metrics.scan.scans.Load() + 1 // one may be going on
	if n[verdict.Killed] != 1 || n[verdict.Limited] == 0 || n[verdict.Limited] > scans {
		t.Errorf("1 of 2 was to be killed, the other spared by the limit: %v", n)
	}
	w, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("the other process has ended: %v", err)
	}
	defer unix.Close(w)
	if _, err := unix.Write(w, []byte("\n")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(testutil.Patience(5 * time.Second)); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(done); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the other process was killed when it forked")
		}
	}
}

// The kernel gives the forks of a killed process to another parent. Each is still counted once.
func TestEachForkOfAKilledProcessIsCountedOnce(t *testing.T) {
	const word, forks = "execwhackercountforkword", 30
	env := detectortest.Env(t, detectortest.Options{})
	if err := env.Judge.Limit.Apply(killlimit.Limits{PerMinute: 1, Cooldown: time.Hour}); err != nil {
		t.Fatal(err)
	}
	d, ban := banLater(t, env, word)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(`i=0; while [ $i -lt %d ]; do (read -r line <"$1") & i=$((i+1)); done; echo ready; read -r line`, forks), word, fifo)
	end := testutil.Answering(t, cmd, "")
	defer end()
	defer func() { // ends the forks
		if w, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			unix.Close(w)
		}
	}()
	ban()
	testutil.Eventually(t, "the kill", func() bool { return !isAlive(cmd.Process.Pid) })
	if n := d.metrics.scan.Counts(); n[verdict.Killed] != 1 || n[verdict.Limited] != forks {
		t.Errorf("1 of %d was to be killed, the others spared by the limit: %v (%s, %s)", forks+1, n, verdict.Killed, verdict.Limited)
	}
}
