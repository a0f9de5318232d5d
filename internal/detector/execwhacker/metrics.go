package execwhacker

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// The sources of verdicts, in the log and as a label.
const (
	sourceExec = "exec" // a program that starts
	sourceScan = "scan" // a process that runs
)

// allowedby labels.
const (
	byPattern = "allowed-pattern"
	byNoMatch = "no-match"
)

// tally is what user space has counted for one source.
type tally struct {
	checked, noMatch, allowed, observed, killed, missed, unreadable atomic.Uint64
}

// metrics hold the counters of a detector: the kernel's, which are exact
// whatever becomes of events, and those of what user space decides.
type metrics struct {
	kernel func() (kernelCounts, error)
	exec   tally // execs that the kernel left to user space
	scan   tally

	checked, allowed, observed, killed, missed *prometheus.Desc
	unreadable, undecided, lost, unjudged      *prometheus.Desc
}

// kernelCounts are the sums of the kernel's counters over all CPUs.
type kernelCounts struct {
	noMatch, allowed, observed, banned, undecided uint64
	lostEvents, killFailed                        uint64
	// unjudged are execs at which the kernel did not run the program, because
	// it was running on that CPU already.
	unjudged uint64
}

func newMetrics(kernel func() (kernelCounts, error)) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("cryptnono_execwhacker_"+name, help, labels, nil)
	}
	return &metrics{
		kernel:     kernel,
		checked:    desc("processes_checked_total", "Processes whose command line was judged.", "source"),
		allowed:    desc("processes_allowed_total", "Processes that were let run, by what allowed them.", "source", "allowedby"),
		observed:   desc("processes_observed_total", "Processes that would have been killed but for the action observe.", "source"),
		killed:     desc("processes_killed_total", "Processes that were killed.", "source"),
		missed:     desc("processes_missed_total", "Processes that ended before they could be killed.", "source"),
		unreadable: desc("processes_unreadable_total", "Processes whose command line could not be read.", "source"),
		undecided:  desc("execs_undecided_total", "Execs that the kernel left to user space to judge."),
		lost:       desc("events_lost_total", "Verdicts of the kernel that could not be logged because the ring buffer was full."),
		unjudged:   desc("execs_unjudged_total", "Execs at which the kernel skipped the program; the scan judges them."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	k, err := m.kernel()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.checked, err)
		return
	}
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	e, s := &m.exec, &m.scan
	count(m.checked, k.noMatch+k.allowed+k.observed+k.banned+k.undecided, sourceExec)
	count(m.checked, s.checked.Load(), sourceScan)
	count(m.allowed, k.noMatch+e.noMatch.Load(), sourceExec, byNoMatch)
	count(m.allowed, s.noMatch.Load(), sourceScan, byNoMatch)
	count(m.allowed, k.allowed+e.allowed.Load(), sourceExec, byPattern)
	count(m.allowed, s.allowed.Load(), sourceScan, byPattern)
	count(m.observed, k.observed+e.observed.Load(), sourceExec)
	count(m.observed, s.observed.Load(), sourceScan)
	count(m.killed, k.banned-k.killFailed+e.killed.Load(), sourceExec)
	count(m.killed, s.killed.Load(), sourceScan)
	count(m.missed, e.missed.Load(), sourceExec)
	count(m.missed, s.missed.Load(), sourceScan)
	count(m.unreadable, e.unreadable.Load(), sourceExec)
	count(m.unreadable, s.unreadable.Load(), sourceScan)
	count(m.undecided, k.undecided)
	count(m.lost, k.lostEvents)
	count(m.unjudged, k.unjudged)
}
