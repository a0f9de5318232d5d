package verdict

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/report"
)

// An Action is the action taken on a suspect. 0 is none.
type Action int

const (
	Killed   Action = iota + 1
	Observed        // only logged, because of the settings or the rule
	Limited         // only logged, because of the kill limit
	Allowed         // not killed because of an allow pattern
	Exempt          // not killed because of an exemption
	Missed          // ended before it could be killed
	Failed          // could not be killed
	Refused         // not killed, but what it wanted to do was refused
	actions  = iota + 1
)

func (a Action) String() string {
	names := [...]string{"none", "killed", "observed", "limited", "allowed", "exempt", "missed", "failed", "refused"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("Action(%d)", int(a))
	}
	return names[a]
}

// reported returns the action in the log, and whether the kill limit is its reason.
func (a Action) reported() (action report.Action, limited bool) {
	switch a {
	case Killed:
		return report.Killed, false
	case Observed:
		return report.Observed, false
	case Limited:
		return report.Observed, true
	case Allowed, Exempt:
		return report.Spared, false
	case Missed:
		return report.MissedKill, false
	case Refused:
		return report.Refused, false
	}
	return report.KillFailed, false
}

// Counts are numbers of verdicts by action.
type Counts [actions]uint64

// A Tally counts verdicts. It is safe for concurrent use.
type Tally struct{ n [actions]atomic.Uint64 }

func (t *Tally) add(a Action) { t.n[a].Add(1) }

// Counts returns the current counts.
func (t *Tally) Counts() (c Counts) {
	for i := range t.n {
		c[i] = t.n[i].Load()
	}
	return c
}

// Plus returns the sum of both.
func (c Counts) Plus(other Counts) Counts {
	for i := range c {
		c[i] += other[i]
	}
	return c
}

// Collect sends the counts of a source of a detector as metrics of a family that all detectors
// share.
func (c Counts) Collect(ch chan<- prometheus.Metric, detector, source string) {
	desc := prometheus.NewDesc("cryptnono_verdicts_total",
		"Verdicts on suspected processes, by detector, source of the suspicion and action.",
		[]string{"detector", "source", "action"}, nil)
	for a := Killed; a < actions; a++ {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(c[a]), detector, source, a.String())
	}
}
