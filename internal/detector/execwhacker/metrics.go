package execwhacker

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/verdict"
)

// The sources of verdicts, in the log and as a label.
const (
	sourceExec = "exec" // an exec
	sourceScan = "scan" // a scan of running processes
)

// The values of the label allowedby.
const (
	byPattern = "allowed-pattern"
	byNoMatch = "no-match"
)

// A tally has the counters of user space for one source.
type tally struct {
	verdict.Tally
	checked, noMatch, unreadable, forks, scans atomic.Uint64
}

// metrics are the metrics of a detector: the counters of the kernel program, which include
// verdicts whose events were lost, and those of user space.
type metrics struct {
	kernel func() (kernelCounts, error)
	// droppedExecs returns the number of execs whose event was not logged.
	droppedExecs func() uint64
	exec         tally // execs that the kernel left to user space
	scan         tally

	// Execs in unknown containers.
	containerVerdicts *prometheus.CounterVec
	containerSeconds  prometheus.Histogram

	checked, allowed, exempt, observed, limited, killed, missed      *prometheus.Desc
	unreadable, forks, scans, undecided, lost, lostRecords, unjudged *prometheus.Desc
	notDeferred, notLogged                                           *prometheus.Desc
}

// kernelCounts are the counters of the kernel program.
type kernelCounts struct {
	verdict.Counters
	lostRecords uint64 // verdicts without a record, because the map was full
	unjudged    uint64 // see recursionMisses
}

// missed returns the number of processes that could not be killed.
func (t *tally) missed() uint64 {
	c := t.Counts()
	return c[verdict.Missed] + c[verdict.Failed]
}

// The results of the first lookup of an unknown container: within 50 ms or not.
const (
	resultKnown   = "known"
	resultTimeout = "timeout"
)

func newMetrics(kernel func() (kernelCounts, error), droppedExecs func() uint64) *metrics {
	const prefix = "cryptnono_execwhacker_"
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	m := &metrics{
		kernel: kernel, droppedExecs: droppedExecs,
		containerVerdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "container_verdicts_total",
			Help: "Execs of banned programs in unknown containers, by whether the container was resolved within 50 ms (known) or not (timeout).",
		}, []string{"result"}),
		containerSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    prefix + "container_verdict_seconds",
			Help:    "Time until the unknown container of a banned program was resolved.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, 1, 10, 60},
		}),
		checked:     desc("processes_checked_total", "Processes whose command line was matched against the rules.", "source"),
		allowed:     desc("processes_allowed_total", "Processes that were not killed because no ban or an allow pattern matches.", "source", "allowedby"),
		exempt:      desc("processes_exempt_total", "Banned processes that were not killed because they are exempt.", "source"),
		observed:    desc("processes_observed_total", "Banned processes that were not killed because the action is observe.", "source"),
		limited:     desc("processes_limited_total", "Banned processes that were not killed because of the kill limit.", "source"),
		killed:      desc("processes_killed_total", "Processes that were killed.", "source"),
		missed:      desc("processes_missed_total", "Processes that ended before the kill, or that the kernel refused to kill.", "source"),
		unreadable:  desc("processes_unreadable_total", "Processes whose command line could not be read or whose container could not be resolved.", "source"),
		forks:       desc("forks_killed_total", "Forks of a banned process that the kernel killed after user space had found it banned.", "source"),
		scans:       desc("scans_total", "Scans of the running processes."),
		lostRecords: desc("records_lost_total", "Verdicts that the kernel could not store with their process. A scan judges the process within a second."),
		undecided:   desc("execs_undecided_total", "Execs that the kernel left to user space because it could not read their arguments."),
		lost:        desc("events_lost_total", "Verdicts of the kernel that could not be logged because the ring buffer was full."),
		notDeferred: desc("execs_not_deferred_total", "Execs with long arguments whose judgement the kernel did not defer, because too many were deferred already. Always 0 before Linux 6.18."),
		notLogged:   desc("execs_not_logged_total", "Execs without a log line at log level debug, because there were too many."),
		unjudged:    desc("execs_unjudged_total", "Execs for which the kernel did not run the program. A scan judges them within a second."),
	}
	for _, result := range []string{resultKnown, resultTimeout} {
		m.containerVerdicts.WithLabelValues(result)
	}
	return m
}

// containerLookup counts an attempt to resolve an unknown container. The result label is that
// of the first attempt.
func (m *metrics) containerLookup(try int, found bool, took time.Duration) {
	switch {
	case try == 0 && found:
		m.containerVerdicts.WithLabelValues(resultKnown).Inc()
	case try == 0:
		m.containerVerdicts.WithLabelValues(resultTimeout).Inc()
	}
	if found {
		m.containerSeconds.Observe(took.Seconds())
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.containerVerdicts.Collect(ch)
	m.containerSeconds.Collect(ch)
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
	// User space retries the kills that failed in the kernel, and counts them.
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
	count(m.notLogged, k.Counters[bpfOwnCounterLOST_EXEC]+m.droppedExecs())
}
