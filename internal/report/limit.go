package report

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cryptnono/cryptnono/internal/cgroup"
)

const (
	// Of equal verdicts on one owner, burst are written in a window, the first
	// wholeLines of them with their whole command line. The window begins with the
	// first of them; at its end one line says how many more there were.
	window            = time.Minute
	burst, wholeLines = 10, 3
	// shortText is the length in bytes of programs and command lines after that.
	shortText = 1024
	// maxKinds is how many different verdicts on one owner are told apart in a
	// window. All others count as one kind for each action.
	maxKinds = 16
	// maxOwners is how many owners are told apart in a window. All others are one.
	maxOwners = 1024
)

// A kind is what equal verdicts have in common.
type kind struct {
	detector, source, rule, matched string
	action                          Action
	uid                             uint32
}

// A tally counts the equal verdicts of a window.
type tally struct {
	cgroup     cgroup.Cgroup // of the owner
	began      time.Time
	lines      int
	suppressed uint64
}

// limits bound the lines that one owner can cause, so that no owner's flood costs
// another his lines. Owners are those of cgroup.Cgroup. It is for one goroutine at a time.
type limits struct {
	owners map[string]map[kind]*tally
}

func newLimits() *limits { return &limits{make(map[string]map[kind]*tally)} }

// admit counts a verdict, and says whether it is written, and with its whole command
// line. If a window has ended by it, its summary is to be written before.
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
	if t == nil && len(kinds) >= maxKinds {
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

// expire forgets the windows that ended before a time, and returns the summaries of
// those that have suppressed lines.
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

// summary stands for the lines that were suppressed.
func (k kind) summary(t *tally) Verdict {
	return Verdict{
		Action: k.action, Detector: k.detector, Source: k.source, Rule: k.rule, Matched: k.matched, UID: k.uid,
		Cgroup: t.cgroup, suppressed: t.suppressed,
	}
}

// shorten returns a printable text of shortText bytes at most, which ends in an
// ellipsis if it was longer.
func shorten(text string) string {
	if len(text) <= shortText {
		return text
	}
	end := shortText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.Clone(text[:end]) + "…"
}
