package hashwork

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

func TestWhichFindingsAreActedOn(t *testing.T) {
	likely := func(r rule) finding { return finding{rule: r, likely: verdict.MayCompute} }
	for _, c := range []struct {
		name       string
		f          finding
		before     finding
		kills      bool
		act, again bool
	}{
		{"the first", likely(unmaskedRule), finding{}, true, true, false},
		{"a stronger one", likely(scratchpadRule), likely(unmaskedRule), true, true, false},
		{"the same", likely(unmaskedRule), likely(unmaskedRule), true, true, true},
		{"a weaker one", likely(memoryHardRule), likely(scratchpadRule), true, true, true},
		{"the same, observed", likely(unmaskedRule), likely(unmaskedRule), false, false, false},
		{"the same, certain", finding{rule: scratchpadRule}, finding{rule: scratchpadRule}, true, false, false},
		{"none", finding{}, likely(unmaskedRule), true, false, false},
	} {
		if act, again := c.f.acts(c.before.strength(), c.kills); act != c.act || again != c.again {
			t.Errorf("%s: %v, again %v", c.name, act, again)
		}
	}
}

// A process that executes another program after the search is not killed for the one before.
func TestAProgramThatIsExecutedMeanwhileLives(t *testing.T) {
	testutil.Privileged(t)
	e := detectortest.Env(t, detectortest.Options{})
	v := newVerdicts(e, newMetrics(nil), nil)
	detectortest.ExecutedMeanwhile(t, e, func(x process.Execution) error {
		t.Helper()
		h, err := x.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		p := &policy{detector.Policy{Matcher: new(match.Matcher)}, Defaults()}
		return v.decide(t.Context(), h, job{key: x, state: new(state), policy: p}, finding{rule: scratchpadRule}, false)
	})
}

// opened returns what the detector has of a process. The handle is closed at the end of the test.
func opened(t *testing.T, e detector.Env, cmd *exec.Cmd) (process.Execution, process.Event, *process.Handle) {
	t.Helper()
	x, err := e.Inventory.Execution(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	at, err := e.Inventory.Locate(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	h, err := x.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return x, at, h
}

// Without its arguments it is not known whether an allow pattern, or the exemption of a script, spares a
// process: it is decided later, after a few tries at most, and not at all when the agent stops.
func TestAVerdictWaitsForTheArgumentsThatMaySpare(t *testing.T) {
	testutil.Privileged(t)
	e := detectortest.Env(t, detectortest.Options{})
	v := newVerdicts(e, newMetrics(nil), nil)
	cmd := testutil.Start(t, exec.Command("/bin/sleep", "1000"))
	x, at, h := opened(t, e, cmd)
	its := learnPolicy(t, nil, "/bin/sleep .*")
	j := job{key: x, missed: new(atomic.Bool), state: new(state), policy: &policy{its, its.Settings.(*Settings)}}
	files := make([]*mappedFile, 200) // what is found is found by turns, or in the memory
	for i := range files {
		files[i] = new(mappedFile)
	}
	for !slices.Contains(chosen(files, j.state), files[150]) {
	}
	decide := func(ctx context.Context) error { return v.decide(ctx, h, j, finding{rule: programRule}, false) }
	l := &learner{Env: e, policy: j.policy}
	started := learnedExec{Event: verdict.Event{Event: at}}

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), 0) // nothing is read
	defer cancel()
	stops := func() {
		t.Helper()
		if err := errors.Join(decide(stopped), l.decide(stopped, started, report.Verdict{})); !isEach(err, context.Canceled) {
			t.Errorf("decided while the agent stops: %v", err)
		}
	}
	stops()
	for range maxWaits {
		j.state.imageSearched(100)
		if err := errors.Join(decide(expired), l.decide(expired, started, report.Verdict{})); !isEach(err, procread.ErrStuck) {
			t.Errorf("decided without the arguments: %v", err)
		}
		if !j.state.imageDue(100) {
			t.Error("its memory will not be searched again")
		}
		if !slices.Contains(chosen(files, j.state), files[150]) {
			t.Error("the file will not be searched again")
		}
		if !j.missed.Swap(false) {
			t.Error("a successor is not examined soon")
		}
	}
	stops() // though it need not wait any more
	if h.Alive() != nil {
		t.Fatal("it was killed")
	}
	if err := decide(expired); err != nil || testutil.DiedOf(cmd) != syscall.SIGKILL {
		t.Errorf("never decided: %v", err)
	}
}

// What holds its arguments back can start a successor before it is decided, again and again. So the waits of
// all processes of an owner are bounded, and their places in a Pending are free soon.
func TestASuccessorDoesNotWaitAnew(t *testing.T) {
	testutil.Privileged(t)
	e := detectortest.Env(t, detectortest.Options{})
	v := newVerdicts(e, newMetrics(nil), nil)
	l, err := newLearner(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	its := learnPolicy(t, nil, "/bin/sleep .*")
	l.policy = &policy{its, its.Settings.(*Settings)}
	expired, cancel := context.WithTimeout(t.Context(), 0) // nothing is read
	defer cancel()
	decide := func(cmd *exec.Cmd) (sampled, started error) {
		t.Helper()
		x, at, h := opened(t, e, cmd)
		started = l.decide(expired, learnedExec{Event: verdict.Event{Event: at}}, report.Verdict{})
		j := job{key: x, missed: new(atomic.Bool), state: new(state), policy: l.policy}
		return v.decide(expired, h, j, finding{rule: scratchpadRule}, false), started
	}
	for range maxWaits {
		first := testutil.Start(t, exec.Command("/bin/sleep", "1000"))
		if sampled, started := decide(first); !errors.Is(sampled, procread.ErrStuck) || !errors.Is(started, procread.ErrStuck) {
			t.Errorf("decided without the arguments: %v, %v", sampled, started)
		}
		testutil.End(first)
	}
	successor := testutil.Start(t, exec.Command("/bin/sleep", "1000"))
	sampled, started := decide(successor)
	if sampled != nil || testutil.DiedOf(successor) != syscall.SIGKILL {
		t.Errorf("the successor was not killed at once: %v", sampled)
	}
	if !errors.Is(started, errOther) {
		t.Errorf("the exec of the successor was not decided at once: %v", started)
	}
}

// isEach reports whether both of two joined errors are a target.
func isEach(joined error, target error) bool {
	all, ok := joined.(interface{ Unwrap() []error })
	return ok && len(all.Unwrap()) == 2 && errors.Is(all.Unwrap()[0], target) && errors.Is(all.Unwrap()[1], target)
}
