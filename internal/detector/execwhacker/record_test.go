package execwhacker

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// load loads a detector for a ban. Its Run is not called.
func load(t *testing.T, ban string) *Detector {
	t.Helper()
	return loadIn(t, detectortest.Env(t, detectortest.Options{}), banning(t, ban))
}

// loadSet is load for any rules.
func loadSet(t *testing.T, set rules.Set) (*Detector, *match.Matcher) {
	t.Helper()
	m := mustCompile(t, set)
	return loadIn(t, detectortest.Env(t, detectortest.Options{}), detector.Policy{Matcher: m}), m
}

// banning returns the policy of one ban.
func banning(t *testing.T, text string) detector.Policy {
	t.Helper()
	return detector.Policy{Matcher: mustCompile(t, rules.Set{Bans: []rules.Ban{{Text: text, Action: rules.Kill}}})}
}

func mustCompile(t testing.TB, set rules.Set) *match.Matcher {
	t.Helper()
	m, err := match.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// loadIn loads a detector until the test ends.
func loadIn(t *testing.T, env detector.Env, policy detector.Policy) *Detector {
	t.Helper()
	d, err := Load(env, policy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestTheKernelKeepsWhatAProcessWasExecutedWith(t *testing.T) {
	d := load(t, "execwhackerrecordtestword")
	for _, args := range [][]string{
		nil, {""}, {"x"}, {"1234567"}, {"12345678"}, {"", "", ""}, {strings.Repeat("x", 4096)},
		{strings.Repeat("y", 4000), "z"}, {strings.Repeat("z", 100_000), strings.Repeat("w", 100_001)},
	} {
		cmd := exec.Command("/bin/sh", append([]string{"-c", "echo; read -r line", "sh"}, args...)...)
		end := testutil.Answering(t, cmd, "")
		found := find(t, d, cmd.Process.Pid)
		area, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if found.path != "/bin/sh" || !found.proves(area, d.seed) {
			t.Errorf("%.50q: %+v does not prove %d bytes", args, found.record, len(area))
		}
		area[len(area)-1] ^= 1
		if found.proves(area, d.seed) || found.proves(area[1:], d.seed) {
			t.Errorf("%.50q: other arguments are proved", args)
		}
		end()
		if exec := d.judge.list.executes(cmd.Process.Pid); exec != 0 {
			t.Errorf("the record of an ended process was not deleted")
		}
	}
}

// The number of an exec is its time only if that was needed. In each case it names one exec.
func TestNoTwoExecsHaveTheSameNumber(t *testing.T) {
	const word = "execwhackerrecordtestword"
	set := rules.Set{Bans: []rules.Ban{{Text: word, Action: rules.Observe}}}
	d, m := loadSet(t, set)
	seen := make(map[uint64]string)
	for i := range 20 {
		if i == 10 {
			if err := d.Apply(detector.Policy{Matcher: m}); err != nil {
				t.Fatal(err)
			}
		}
		for _, arg := range []string{"x", word} {
			cmd := exec.Command("/bin/sh", "-c", "echo; read -r line", "sh", arg)
			end := testutil.Answering(t, cmd, "")
			r := record{exec: d.judge.list.executes(cmd.Process.Pid)}
			after, timed := r.seenAfter(process.Monotonic())
			if !r.seen() || timed != (arg == word) || after < 0 || after > time.Minute {
				t.Errorf("%s: exec %x, %v, timed %v", arg, r.exec, after, timed)
			}
			if other := seen[r.exec]; other != "" {
				t.Errorf("%s has the number of %s", arg, other)
			}
			seen[r.exec] = fmt.Sprint(arg, i)
			end()
		}
	}
}

// find returns a process from the list of processes without a verdict by new rules, which has
// all processes.
func find(t *testing.T, d *Detector, pid int) suspect {
	t.Helper()
	all, err := d.judge.list.unjudged(1 << 31)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.PID == pid {
			return s
		}
	}
	t.Fatalf("process %d is not among %d", pid, len(all))
	return suspect{}
}

// If the map of records is full, a process has no record, and a scan judges it.
func TestAProcessWithoutARecordIsJudged(t *testing.T) {
	d := load(t, "execwhackerrecordtestword")
	const word = "execwhackerrecordtestother"
	pid, _ := waiting(t, d, word)
	s := lost(t, d, pid) // which adds another record
	if err := d.objs.Records.Delete(uint32(pid)); err != nil {
		t.Fatal(err)
	}
	m := mustCompile(t, rules.Set{Bans: []rules.Ban{{Text: word, Action: rules.Kill}}})
	l, err := d.judge.openAndEvaluate(t.Context(), s, m)
	if err != nil || l.Ban == nil {
		t.Errorf("got %+v, %v", l.Verdict, err)
	}
}

func commOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
