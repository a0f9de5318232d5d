package execwhacker

import (
	"crypto/rand"
	"fmt"
	"os/exec"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// waiting starts a shell that executes sleep once execSleep is called.
func waiting(t *testing.T, d *Detector, word string) (pid int, execSleep func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "read -r line; exec sleep 600", "sh", word)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	pid = cmd.Process.Pid
	// The comm changes a little before the kernel program sees the exec, and until then the
	// process has the record of its parent.
	testutil.Eventually(t, "the exec", func() bool {
		r := record{exec: d.judge.list.executes(pid)}
		return r.seen() && commOf(t, pid) == "sh"
	})
	first := d.judge.list.executes(pid)
	return pid, func() {
		if _, err := fmt.Fprintln(stdin); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "the next exec", func() bool {
			next := record{exec: d.judge.list.executes(pid)}
			return next.seen() && next.exec != first && commOf(t, pid) == "sleep"
		})
	}
}

// lost deletes the record of a process, so that its exec counts as not seen, and returns it.
func lost(t *testing.T, d *Detector, pid int) suspect {
	t.Helper()
	if err := d.objs.Records.Delete(uint32(pid)); err != nil {
		t.Fatal(err)
	}
	return find(t, d, pid)
}

// unmatched reads a process and returns the result of matchesNothing.
func unmatched(t *testing.T, d *Detector, s suspect, m *match.Matcher) (unmatched, all bool) {
	t.Helper()
	want := procread.Want{PID: s.PID, Program: readsProgram(s)}
	read := false
	testutil.Eventually(t, "the read", func() bool { // repeated, because its limit is 20 ms
		if err := d.judge.Reader.ReadMany(t.Context(), rand.Text(), []procread.Want{want}, func(_ int, b procread.Brief) {
			unmatched, all = d.judge.matchesNothing(s, b, m)
			read = true
		}); err != nil {
			t.Log(err)
		}
		return read
	})
	return unmatched, all
}

func TestAResultIsValidForAGroupOnlyWithAProof(t *testing.T) {
	d := load(t, "execwhackerquicktestword")
	const word = "execwhackerquicktestother"
	m := mustCompile(t, rules.Set{Bans: []rules.Ban{{Text: word, Action: rules.Kill}}})
	for name, c := range map[string]struct {
		suspect        func() suspect
		unmatched, all bool
	}{
		"its exec was seen": {func() suspect {
			pid, _ := waiting(t, d, "legitimate")
			return find(t, d, pid)
		}, true, true},
		"its exec was seen, and a rule matches its arguments": {func() suspect {
			pid, _ := waiting(t, d, word)
			return find(t, d, pid)
		}, false, false},
		"its exec was not seen": {func() suspect {
			pid, _ := waiting(t, d, "legitimate")
			return lost(t, d, pid)
		}, true, false},
		"its exec was not seen, and a rule matches its arguments": {func() suspect {
			pid, _ := waiting(t, d, word)
			return lost(t, d, pid)
		}, false, false},
		"its exec was not seen, and it executes something else by now": {func() suspect {
			pid, execSleep := waiting(t, d, "legitimate")
			s := lost(t, d, pid)
			execSleep()
			return s
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if unmatched, all := unmatched(t, d, c.suspect(), m); unmatched != c.unmatched || all != c.all {
				t.Errorf("unmatched: %v, for all: %v", unmatched, all)
			}
		})
	}
}

// The result for one process of a group is not valid for its forks: it may have executed
// another program after the fork.
func TestAVerdictOnOneProcessIsNotValidForItsGroup(t *testing.T) {
	one, other := suspect{}, suspect{}
	one.exec, one.Who = 7, process.Who{PID: 1, Start: 1}
	other.exec, other.Who = 7, process.Who{PID: 2, Start: 1}
	s := scanner{judged: make(map[uint64]process.Instance)}
	s.markJudged(group{one}, &one)
	for name, c := range map[string]struct {
		group group
		want  bool
	}{
		"the one":   {group{one}, true},
		"the other": {group{other}, false},
		"both":      {group{one, other}, false},
	} {
		if got := s.isJudged(c.group); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.markJudged(group{other}, nil)
	if !s.isJudged(group{one, other}) || !s.isJudged(group{one}) {
		t.Error("a verdict on all holds for some of them alone")
	}
	s.dropEnded([]group{{suspect{}}})
	if len(s.judged) > 0 {
		t.Error("the verdict on an exec without processes is kept")
	}
}

func TestGroupsAreByExec(t *testing.T) {
	of := func(exec uint64, pid int) suspect {
		var s suspect
		s.exec, s.PID = exec, pid
		return s
	}
	got := grouped([]suspect{of(5, 1), of(0, 2), of(6, 3), of(5, 4), of(0, 5), of(5, 6)})
	want := [][]int{{1, 4, 6}, {2}, {3}, {5}}
	var pids [][]int
	for _, g := range got {
		var group []int
		for _, s := range g {
			group = append(group, s.PID)
		}
		pids = append(pids, group)
	}
	if fmt.Sprint(pids) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", pids, want)
	}
}
