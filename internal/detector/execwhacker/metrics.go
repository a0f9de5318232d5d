package execwhacker

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/verdict"
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
	verdict.Tally
	checked, noMatch, unreadable, forks, scans atomic.Uint64
}

// metrics hold the counters of a detector: the kernel's, which are exact
// whatever becomes of events, and those of what user space decides.
type metrics struct {
	kernel func() (kernelCounts, error)
	exec   tally // execs that the kernel left to user space
	scan   tally

	// Of execs in containers that were unknown.
	answers       *prometheus.CounterVec
	answerSeconds prometheus.Histogram

	checked, allowed, exempt, observed, limited, killed, missed      *prometheus.Desc
	unreadable, forks, scans, undecided, lost, lostRecords, unjudged *prometheus.Desc
	notDeferred                                                      *prometheus.Desc
}

// kernelCounts are what the kernel has counted.
type kernelCounts struct {
	verdict.Counters
	// lostRecords are verdicts that could not be kept with their process.
	lostRecords uint64
	// unjudged are execs at which the kernel did not run the program, because
	// it was running on that CPU already.
	unjudged uint64
}

// missed are those that could not be killed.
func (t *tally) missed() uint64 {
	c := t.Counts()
	return c[verdict.Missed] + c[verdict.Failed]
}

// The results of the first try to find out about an unknown container.
const (
	answerKnown   = "known"
	answerTimeout = "timeout"
)

func newMetrics(kernel func() (kernelCounts, error)) *metrics {
	const prefix = "cryptnono_execwhacker_"
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	m := &metrics{
		kernel: kernel,
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "container_verdicts_total",
			Help: "Execs of banned programs in containers that the kernel did not know yet, by whether it was found out in 50 ms if they are exempt.",
		}, []string{"result"}),
		answerSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    prefix + "container_verdict_seconds",
			Help:    "Time in which that was found out.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, 1, 10, 60},
		}),
		checked:     desc("processes_checked_total", "Processes whose command line was judged.", "source"),
		allowed:     desc("processes_allowed_total", "Processes that were let run, by what allowed them.", "source", "allowedby"),
		exempt:      desc("processes_exempt_total", "Processes that a ban matches and an exemption spared.", "source"),
		observed:    desc("processes_observed_total", "Processes that would have been killed but for the action observe.", "source"),
		limited:     desc("processes_limited_total", "Processes that were not killed because of the kill limit.", "source"),
		killed:      desc("processes_killed_total", "Processes that were killed.", "source"),
		missed:      desc("processes_missed_total", "Processes that ended before they could be killed, or that the kernel refused to kill.", "source"),
		unreadable:  desc("processes_unreadable_total", "Processes of which the command line or the container could not be found out.", "source"),
		forks:       desc("forks_killed_total", "Processes that the kernel killed as a banned program forked them, of which user space had the last word.", "source"),
		scans:       desc("scans_total", "Scans of the processes that run."),
		lostRecords: desc("records_lost_total", "Verdicts that could not be kept with their process; a scan judges it within a second."),
		undecided:   desc("execs_undecided_total", "Execs that the kernel left to user space to judge."),
		lost:        desc("events_lost_total", "Verdicts of the kernel that could not be logged because the ring buffer was full."),
		notDeferred: desc("execs_not_deferred_total", "Execs that the kernel judged with the CPU held although it defers such judgements, because none more could be under way. Always 0 before Linux 6.18."),
		unjudged:    desc("execs_unjudged_total", "Execs at which the kernel skipped the program; a scan judges them within a second."),
	}
	for _, result := range []string{answerKnown, answerTimeout} {
		m.answers.WithLabelValues(result)
	}
	return m
}

// answered counts a try to find out about an unknown container: the first is to
// succeed in 50 ms.
func (m *metrics) answered(try int, found bool, took time.Duration) {
	switch {
	case try == 0 && found:
		m.answers.WithLabelValues(answerKnown).Inc()
	case try == 0:
		m.answers.WithLabelValues(answerTimeout).Inc()
	}
	if found {
		m.answerSeconds.Observe(took.Seconds())
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.answers.Collect(ch)
	m.answerSeconds.Collect(ch)
	k, err := m.kernel()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.checked, err)
		return
	}
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	exec, scan := m.exec.Counts().Plus(k.Verdicts()), m.scan.Counts()
	exec.Collect(ch, Name, sourceExec)
	scan.Collect(ch, Name, sourceScan)
	both := func(d *prometheus.Desc, exec, scan uint64, labels ...string) {
		count(d, exec, append([]string{sourceExec}, labels...)...)
		count(d, scan, append([]string{sourceScan}, labels...)...)
	}
	both(m.checked, k.All(), m.scan.checked.Load())
	both(m.allowed, k.Of(verdict.OutcomeNoMatch)+m.exec.noMatch.Load(), m.scan.noMatch.Load(), byNoMatch)
	both(m.allowed, exec[verdict.Allowed], scan[verdict.Allowed], byPattern)
	for _, c := range []struct {
		desc   *prometheus.Desc
		action verdict.Action
	}{
		{m.exempt, verdict.Exempt}, {m.observed, verdict.Observed}, {m.limited, verdict.Limited}, {m.killed, verdict.Killed},
	} {
		both(c.desc, exec[c.action], scan[c.action])
	}
	// A kill that fails in the kernel is tried again by user space, and counted there.
	both(m.missed, m.exec.missed(), m.scan.missed())
	both(m.unreadable, m.exec.unreadable.Load(), m.scan.unreadable.Load())
	both(m.forks, m.exec.forks.Load(), m.scan.forks.Load())
	count(m.undecided, k.Of(verdict.OutcomeUndecided))
	count(m.lost, k.LostEvents())
	verdict.CollectLostEvents(ch, Name, k.LostEvents())
	count(m.scans, m.scan.scans.Load())
	count(m.lostRecords, k.lostRecords)
	count(m.unjudged, k.unjudged)
	count(m.notDeferred, k.Counters[bpfOwnCounterNOT_DEFERRED])
}
