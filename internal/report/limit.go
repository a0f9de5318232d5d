package report

import (
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
)

const (
	// burst equal verdicts for one owner are written in a window, the first wholeLines of
	// them with the whole command line. The window begins with the first verdict. At its
	// end, one line has the number of the others.
	window            = time.Minute
	burst, wholeLines = 10, 3
	// shortText is the maximum length of other programs and command lines, in bytes.
	shortText = 1024
	// maxKinds is the number of kinds of an owner in a window, and as many again for verdicts about a
	// container or session. All others count as one kind for each action.
	maxKinds = 16
	// maxOwners is the number of owners in a window. All others count as one owner.
	maxOwners = 1024
)

// A kind identifies equal verdicts.
type kind struct {
	detector, source, rule, matched string
	action                          Action
	uid                             uint32
}

// A tally counts equal verdicts in a window.
type tally struct {
	cgroup     cgroup.Cgroup // of the owner
	began      time.Time
	lines      int
	suppressed uint64
}

// limits limit the lines for each owner (see cgroup.Cgroup), so that many verdicts for one
// owner do not suppress those for others. It is not safe for concurrent use.
type limits struct {
	owners map[string]map[kind]*tally
}

func newLimits() *limits { return &limits{make(map[string]map[kind]*tally)} }

// admit counts a verdict. It returns whether the verdict is written, and whether with its
// whole command line. If summary is not empty, it must be written before: it is that of
// the previous window.
func (l *limits) admit(now time.Time, v *Verdict) (written, whole bool, summary Verdict) {
	of := v.Cgroup.OfOwner()
	owner := of.Owner
	kinds := l.owners[owner]
	if kinds == nil && len(l.owners) >= maxOwners {
		of, owner = cgroup.Cgroup{}, ""
		kinds = l.owners[owner]
	}
	if kinds == nil {
		kinds = make(map[kind]*tally)
		l.owners[owner] = kinds
	}
	k := kind{v.Detector, v.Source, v.Rule, v.Matched, v.Action, v.UID}
	t := kinds[k]
	most := maxKinds
	if v.About != "" { // one about more than a process comes after many of these, and must be seen
		most = 2 * maxKinds
	}
	if t == nil && len(kinds) >= most {
		k = kind{action: v.Action}
		t = kinds[k]
	}
	switch {
	case t == nil:
		t = &tally{cgroup: of, began: now}
		kinds[k] = t
	case now.Sub(t.began) >= window:
		summary = k.summary(t)
		*t = tally{cgroup: of, began: now}
	}
	if t.lines == burst {
		t.suppressed++
		return false, false, summary
	}
	t.lines++
	return true, t.lines <= wholeLines, summary
}

// expire removes the windows that have ended, and returns the summaries of those with
// suppressed lines.
func (l *limits) expire(now time.Time) []Verdict {
	var summaries []Verdict
	for owner, kinds := range l.owners {
		for k, t := range kinds {
			if now.Sub(t.began) < window {
				continue
			}
			if t.suppressed > 0 {
				summaries = append(summaries, k.summary(t))
			}
			delete(kinds, k)
		}
		if len(kinds) == 0 {
			delete(l.owners, owner)
		}
	}
	return summaries
}

// summary returns the summary of suppressed lines.
func (k kind) summary(t *tally) Verdict {
	return Verdict{
		Action: k.action, Detector: k.detector, Source: k.source, Rule: k.rule, Matched: k.matched, UID: k.uid,
		Cgroup: t.cgroup, suppressed: t.suppressed,
	}
}
