package report

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// owners has all containers in its cache.
type owners struct{}

func (owners) Cached(cgroup.ContainerRef) (*container.Container, bool) {
	return &container.Container{ID: "c1"}, true
}
func (owners) Lookup(context.Context, cgroup.ContainerRef) (*container.Container, error) {
	panic("all are cached")
}

func limited(out *testutil.Buffer) *Reporter {
	r := New(logging(out), "", owners{})
	r.Limit(NewLines(logging(out)))
	return r
}

// end stops a reporter, which writes the remaining lines.
func end(t *testing.T, r *Reporter) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx, nil); err != nil {
		t.Error(err)
	}
}

func lines(out *testutil.Buffer, parts ...string) (n int) {
	for l := range strings.Lines(out.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(l, p)
		}
		if all {
			n++
		}
	}
	return n
}

func TestManyVerdictsForOneOwnerAreSummarisedAndDoNotAffectOthers(t *testing.T) {
	var out testutil.Buffer
	r := limited(&out)
	long := strings.Repeat("x", 4000)
	flood := Verdict{
		Action: Killed, Detector: "execwhacker", Source: "exec", UID: 1000, Program: "/bin/a", Cmdline: "a " + long,
		Matched: "a", Rule: "r.yaml:1 x[0]",
	}
	paths := new(cgroup.Parser)
	for i := range 10_000 {
		v := flood
		v.PID = i
		v.Cgroup = paths.At(fmt.Sprint("/user.slice/user-1000.slice/user@1000.service/app", i)) // a new one each time
		r.Report(v)
		if i%100 == 0 {
			other := flood
			other.PID, other.Cgroup = 1_000_000+i, paths.At(fmt.Sprintf("/user.slice/user-%d.slice/session", 2000+i/1000))
			r.Report(other)
			other.Rule, other.Cgroup = "another", v.Cgroup
			if i < 1000 {
				r.Report(other)
			}
		}
	}
	end(t, r)
	if n := lines(&out, `"pid":`, `user-1000.slice`, "r.yaml:1"); n != burst {
		t.Errorf("%d lines of the flood", n)
	}
	if n := lines(&out, `user-1000.slice`, "r.yaml:1", long); n != wholeLines {
		t.Errorf("%d of them are whole", n)
	}
	if n := lines(&out, `user-20`, `"pid":`); n != 100 {
		t.Errorf("%d lines of others, want all 100", n)
	}
	if n := lines(&out, `"rule":"another"`); n != 10 {
		t.Errorf("%d lines of another rule, want all 10", n)
	}
	const summary = `{"level":"INFO","msg":"equal verdicts suppressed","action":"killed","suppressed":9990,"detector":"execwhacker","source":"exec",` +
		`"uid":1000,"cgroup":"/user.slice/user-1000.slice","matched":"a","rule":"r.yaml:1 x[0]"}` + "\n"
	if n := lines(&out, summary); n != 1 {
		t.Errorf("%d summaries in %s", n, out.String()[max(0, len(out.String())-500):])
	}
}

func TestAWindowLastsAMinute(t *testing.T) {
	l := newLimits()
	v := &Verdict{Action: Killed, Rule: "r", Cgroup: in("o")}
	now := time.Now()
	written := func(n int) (w int, s []Verdict) {
		for range n {
			ok, _, summary := l.admit(now, v)
			if ok {
				w++
			}
			if summary.suppressed > 0 {
				s = append(s, summary)
			}
		}
		return w, s
	}
	if w, s := written(burst + 5); w != burst || s != nil {
		t.Errorf("first %d, %v", w, s)
	}
	now = now.Add(window - 1)
	if w, s := written(5); w != 0 || s != nil {
		t.Errorf("before its end %d, %v", w, s)
	}
	if s := l.expire(now); s != nil {
		t.Errorf("expired before its end: %v", s)
	}
	now = now.Add(1)
	if w, s := written(burst + 1); w != burst || len(s) != 1 || s[0].suppressed != 10 || s[0].Cgroup.Path != "/default/o" {
		t.Errorf("after its end %d, %v", w, s)
	}
	if s := l.expire(now.Add(window)); len(s) != 1 || s[0].suppressed != 1 || len(l.owners) != 0 {
		t.Errorf("at the end %v, %v", s, l.owners)
	}
}

// Each verdict is written or counted in one summary, and both are bounded.
func TestAnOwnerCannotMultiplyHisShareOfLines(t *testing.T) {
	for name, c := range map[string]struct {
		owner func(i int) string
		kind  func(i int) kind
		most  int
	}{
		"by user ids":          {func(int) string { return "o" }, func(i int) kind { return kind{uid: uint32(i)} }, maxKinds + 1},
		"by rules":             {func(int) string { return "o" }, func(i int) kind { return kind{rule: fmt.Sprint(i)} }, maxKinds + 1},
		"by owners":            {func(i int) string { return fmt.Sprint("o", i) }, func(int) kind { return kind{} }, maxOwners + 1},
		"by owners and by ids": {func(i int) string { return fmt.Sprint("o", i) }, func(i int) kind { return kind{uid: uint32(i)} }, maxOwners + maxKinds + 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimits()
			n := 300_000
			if testing.Short() {
				n /= 10 // still more owners and ids than are kept
			}
			written, suppressed := 0, uint64(0)
			now := time.Now()
			for i := range n {
				k := c.kind(i % (n / 20))
				ok, _, _ := l.admit(now, &Verdict{Action: Killed, UID: k.uid, Rule: k.rule, Cgroup: in(c.owner(i % (n / 20)))})
				if ok {
					written++
				}
			}
			summaries := l.expire(now.Add(window))
			for _, s := range summaries {
				suppressed += s.suppressed
			}
			if uint64(written)+suppressed != uint64(n) || written > burst*c.most || len(summaries) > c.most {
				t.Errorf("%d written and %d in %d summaries of %d", written, suppressed, len(summaries), n)
			}
		})
	}
}

// An owner who has many different kills cannot hide that his container was ended for them.
func TestAVerdictAboutAContainerIsWrittenAfterManyKills(t *testing.T) {
	l, now := newLimits(), time.Now()
	for i := range 1000 {
		l.admit(now, &Verdict{Action: Killed, UID: uint32(i), Cgroup: in("o")})
	}
	if ok, whole, _ := l.admit(now, &Verdict{Action: Killed, Detector: "escalation", About: "a container", Cgroup: in("o")}); !ok || !whole {
		t.Errorf("written: %v, %v", ok, whole)
	}
}

func TestEqualLogLinesAreLimited(t *testing.T) {
	var out testutil.Buffer
	bounds := NewLines(logging(&out))
	r := New(logging(&out), "", nil)
	r.Limit(bounds)
	l := bounds.Logger()
	for i := range 100 {
		l.With("detector", "d").Warn("process not judged", "pid", i)
	}
	l.Warn("something else")
	l.Info("process not judged")
	end(t, r)
	const summary = `{"level":"WARN","msg":"equal log lines suppressed","of":"process not judged","suppressed":70}`
	if lines(&out, `"detector":"d","pid":`) != lineBurst || lines(&out, summary) != 1 || lines(&out, "") != lineBurst+3 {
		t.Errorf("got %s", out.String())
	}
}

func TestTextIsNotFormattedForSuppressedLines(t *testing.T) {
	var out testutil.Buffer
	r := limited(&out)
	calls := 0
	for range burst + 5 {
		r.Report(Verdict{Action: Killed, Rule: "r", Text: func(v *Verdict) {
			calls++
			v.Program, v.Cmdline, v.Env = "/p", strings.Repeat("x", 2*shortText), map[string]string{"A": "b"}
		}})
	}
	end(t, r)
	if n := lines(&out, `"program":"/p"`, `"env":{"A":"b"}`); calls != burst || n != burst || lines(&out, "…") != burst-wholeLines {
		t.Errorf("formatted %d times, in %d lines", calls, n)
	}
}
