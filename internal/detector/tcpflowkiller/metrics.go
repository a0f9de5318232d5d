package tcpflowkiller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Collector implements detector.Detector.
func (d *Detector) Collector() prometheus.Collector { return metrics{d} }

// Describe of prometheus.Collector has another signature than that of detector.Describer, so the
// metrics are a type of their own.
type metrics struct{ d *Detector }

// Describe implements prometheus.Collector.
func (m metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	counters, err := m.d.counters()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	fates := fatesOf(counters)
	const prefix = "cryptnono_flowkiller_"
	send := func(name, help string, n uint64, labels ...string) {
		var keys []string
		if len(labels) > 0 {
			keys = []string{"reason"}
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(prefix+name, help, keys, nil), prometheus.CounterValue, float64(n), labels...)
	}
	send("connects_checked_total", "Connects and datagrams whose address was checked.", counters[bpfOwnCounterCONNECTS_CHECKED])
	send("packets_checked_total", "Packets with the first bytes of a connection, or a DNS question, that were evaluated.", counters[bpfOwnCounterPACKETS_CHECKED])
	send("packets_dropped_total", "Packets of refused connections, with those that were sent again.", counters[bpfOwnCounterDROPPED])
	send("streams_followed_total", "Connections whose first packet left the verdict open.", counters[bpfOwnCounterSTREAMS_FOLLOWED])
	send("streams_truncated_total", "Connections that were followed for 16 KiB and then no longer evaluated.",
		counters[bpfOwnCounterSTREAMS_TRUNCATED])
	send("streams_unkept_total", "Packets that were refused because there was no memory to follow their connection.", counters[bpfOwnCounterSTREAMS_UNKEPT])
	send("packets_disturbed_total", "Packets that were not evaluated because four others were being evaluated on the same CPU. They were dropped, and are evaluated when they are sent again. DNS questions by UDP passed.",
		counters[bpfOwnCounterDISTURBED])
	send("processes_marked_total", "DNS questions for listed names. Their processes are marked for a minute.", counters[bpfOwnCounterMARKED])
	for r, reason := range reasons {
		f, tally := fates[r], m.d.tallies[r].Counts()
		send("processes_killed_total", "Processes that were killed.", f[bpfFateFATE_KILLED]-f[bpfFateFATE_LEFT]+tally[verdict.Killed], reason)
		send("processes_missed_total", "Processes that had ended before they could be killed.", tally[verdict.Missed]+tally[verdict.Failed], reason)
		send("processes_observed_total", "Processes that were only logged.", f[bpfFateFATE_OBSERVED]+tally[verdict.Observed], reason)
		send("processes_exempt_total", "Processes that an exemption spared.", f[bpfFateFATE_EXEMPT]+tally[verdict.Exempt], reason)
		send("processes_withheld_total", "Processes that were only logged because of the kill limit.", f[bpfFateFATE_LIMITED]+tally[verdict.Limited], reason)
		send("processes_forwarders_total", "Processes that were refused and not killed because they pass on what others send.", f[bpfFateFATE_FORWARDER], reason)
		send("refused_total", "Connections and datagrams that were refused.", f[bpfFateFATE_REFUSED], reason)
		kernel := verdict.Counts{
			verdict.Killed: f[bpfFateFATE_KILLED] - f[bpfFateFATE_LEFT], verdict.Observed: f[bpfFateFATE_OBSERVED],
			verdict.Exempt: f[bpfFateFATE_EXEMPT], verdict.Limited: f[bpfFateFATE_LIMITED],
			verdict.Refused: f[bpfFateFATE_FORWARDER] + f[bpfFateFATE_SPARED],
		}
		kernel.Plus(tally).Collect(ch, Name, reason)
	}
	send("events_lost_total", "Events that were lost because the ring buffer was full. The verdicts are carried out and counted nevertheless.", counters.LostEvents())
	verdict.CollectLostEvents(ch, Name, counters.LostEvents())
}

// counters reads the counters of the kernel, with what earlier agents have counted.
func (d *Detector) counters() (verdict.Counters, error) {
	return d.kept.Counters(d.shared[bpfMapCounters]) //nolint:wrapcheck // it says all
}

// fates returns what became of connections, by reason.
func (d *Detector) fates() (all [bpfReasonREASONS][bpfFateFATES]uint64, err error) {
	c, err := d.counters()
	if err != nil {
		return all, err
	}
	return fatesOf(c), nil
}

func fatesOf(c verdict.Counters) (all [bpfReasonREASONS][bpfFateFATES]uint64) {
	for i, n := range c[bpfOwnCounterCOUNTERS:] {
		all[i/len(all[0])][i%len(all[0])] = n
	}
	return all
}
