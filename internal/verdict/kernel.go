package verdict

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/report"
)

// An Outcome is the decision of a kernel program: enum outcome in bpf/verdict.h.
type Outcome uint32

// The outcomes. All but OutcomeAwaited, which is none yet, are also indexes of counters.
const (
	OutcomeNoMatch          = Outcome(bpfOutcomeNO_MATCH)
	OutcomeAllowed          = Outcome(bpfOutcomeALLOWED)
	OutcomeObserved         = Outcome(bpfOutcomeOBSERVED)
	OutcomeBanned           = Outcome(bpfOutcomeBANNED)
	OutcomeUndecided        = Outcome(bpfOutcomeUNDECIDED)
	OutcomeExempt           = Outcome(bpfOutcomeEXEMPT)
	OutcomeUnknownContainer = Outcome(bpfOutcomeUNKNOWN_CONTAINER)
	OutcomeLimited          = Outcome(bpfOutcomeLIMITED)
	OutcomeAwaited          = Outcome(bpfOutcomeAWAITED)
)

// An Event is the common part of the events of kernel programs: struct event_head, and the first text,
// which is after the fields of the detector.
type Event struct {
	process.Event // without HostRoot and FileDeleted
	// SparesNodeRoot: the ban spares root on the node. The detector sets it.
	SparesNodeRoot bool
	Outcome        Outcome
	Killed         bool          // the outcome is BANNED and the kill succeeded
	Took           time.Duration // from the hook to the verdict
	// Ancestors and Directory are those of a process that was killed, for its evidence: see
	// evidence.Subject.
	Ancestors []evidence.Ancestor
	Directory evidence.Directory
}

// HeadSize is the size in bytes of struct event_head.
const HeadSize = int(unsafe.Sizeof(bpfEventHead{}))

var errShort = errors.New("decoding an event: it ends too early")

// DecodeEvent decodes an event that begins with a struct event_head and has its text at an
// offset. It returns the text after that of the head, as a slice of b.
func DecodeEvent(b []byte, textAt int, paths cgroup.Parser) (Event, []byte, error) {
	if len(b) < textAt || textAt < HeadSize {
		return Event{}, nil, errShort
	}
	var h bpfEventHead
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), HeadSize), b)
	var levels []cgroup.Level
	rest := b[textAt:]
	for _, id := range h.Cgroups {
		if id == 0 {
			break
		}
		name, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return Event{}, nil, errShort
		}
		levels = append(levels, cgroup.NewLevel(id, string(name)))
		rest = after
	}
	directoryAt := uint64(h.Ancestors) * uint64(ancestorSize)
	end := directoryAt + uint64(h.DirectoryLen)
	if end > uint64(len(rest)) {
		return Event{}, nil, errShort
	}
	return Event{
		Event: process.Event{
			Who:    process.DecodeWho(b[unsafe.Offsetof(h.Who):]),
			File:   process.DecodeFileID(b[unsafe.Offsetof(h.File):]),
			Cgroup: paths.New(h.Hierarchy, int(h.Depth), levels),
		},
		Outcome: Outcome(h.Outcome),
		Killed:  h.Outcome == uint32(bpfOutcomeBANNED) && h.KillError == 0,
		Took:    time.Duration(h.TookNs),

		Ancestors: decodeAncestors(rest[:directoryAt]),
		Directory: decodeDirectory(rest[directoryAt:end], h.DirectoryEnd, h.DirectoryRemoved != 0),
	}, rest[end:], nil
}

// action returns the action of the kernel, 0 if user space has to decide.
func (e *Event) action() Action {
	switch {
	case e.Killed:
		return Killed
	case e.Outcome == OutcomeObserved:
		return Observed
	case e.Outcome == OutcomeLimited:
		return Limited
	case e.Outcome == OutcomeAllowed:
		return Allowed
	case e.Outcome == OutcomeExempt:
		return Exempt
	}
	return 0
}

// ReportKernel logs a verdict that the kernel has carried out and counted. It returns false if
// user space has to decide. program is the path as executed; line has what
// allows it if the detector knows that.
func (j *Judge) ReportKernel(e Event, program string, line report.Verdict) bool {
	action := e.action()
	if action == 0 {
		return false
	}
	if action == Exempt && line.Allowed == "" {
		if line.Allowed = j.Exempt.Name(e.Event, program); line.Allowed == "" {
			line.Allowed = "an exemption that has been removed"
		}
	}
	j.report(action, e.Event, line, evidence.Subject{Program: program, Ancestors: e.Ancestors, Directory: e.Directory})
	return true
}

// ReportExec logs an exec that the kernel reports although it gave no verdict.
func (j *Judge) ReportExec(e Event, line report.Verdict) {
	line.PID, line.PPID, line.UID, line.Cgroup = e.PID, e.PPID, e.UID, e.Cgroup
	j.Report.Exec(line)
}

// LogKernel logs an action that a kernel program has taken and counted.
func (j *Judge) LogKernel(action Action, e Event, line report.Verdict) {
	j.report(action, e.Event, line, evidence.Subject{})
}

// Complete kills a process that a kernel program decided to kill and could not kill itself. The
// kernel program has applied the exemptions and the kill limit. Complete logs the action and
// counts it in t.
func (j *Judge) Complete(s Suspect, t *Tally) Action {
	action, about := Missed, evidence.Subject{}
	if s.Handle != nil {
		about.Opened = j.Evidence.Before(s.Event)
		action = j.signal(s.Handle.Kill, s.Line.Detector)
	}
	t.add(action)
	j.report(action, s.Event, s.Line, about)
	return action
}

// Counters are the counters of a kernel program (bpf/counters.h), summed over all CPUs: first
// the outcomes, then the other common ones, and from OwnCounters on those of the detector.
type Counters []uint64

// OwnCounters is the index of the first counter of a detector that kills in the kernel.
const OwnCounters = int(bpfCounterOWN_COUNTERS)

// ReadCounters reads the first n counters. It reads them from the last to the first: a failed
// kill is counted after its outcome, and must not be read without it.
func ReadCounters(m *ebpf.Map, n int) (Counters, error) {
	return readCounters(n, func(i uint32, perCPU *[]uint64) error { return m.Lookup(i, perCPU) })
}

func readCounters(n int, lookup func(i uint32, perCPU *[]uint64) error) (Counters, error) {
	c := make(Counters, n)
	for i := n - 1; i >= 0; i-- {
		var perCPU []uint64
		if err := lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("reading counter %d of the kernel program: %w", i, err)
		}
		for _, on := range perCPU {
			c[i] += on
		}
	}
	return c, nil
}

// Of returns the count of an outcome.
func (c Counters) Of(o Outcome) uint64 { return c[o] }

// All returns the count of all outcomes.
func (c Counters) All() (sum uint64) {
	for _, n := range c[:bpfOutcomeOUTCOMES] {
		sum += n
	}
	return sum
}

// CollectLostEvents sends the number of lost events of a kernel program as a metric of a family
// that all detectors share.
func CollectLostEvents(ch chan<- prometheus.Metric, detector string, n uint64) {
	desc := prometheus.NewDesc("cryptnono_events_lost_total", "Events of a detector's kernel program that were lost because the ring buffer was full. "+
		"The verdicts of the kernel are still carried out and counted.", []string{"detector"}, nil)
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), detector)
}

// LostEvents returns the number of events that were lost because the ring buffer was full.
func (c Counters) LostEvents() uint64 { return c[bpfCounterLOST_EVENT] }

// Verdicts returns the verdicts that the kernel carried out. User space handles and counts
// the kills that failed there.
func (c Counters) Verdicts() (v Counts) {
	v[Killed] = c[bpfOutcomeBANNED] - c[bpfCounterKILL_FAILED]
	v[Observed] = c[bpfOutcomeOBSERVED]
	v[Limited] = c[bpfOutcomeLIMITED]
	v[Allowed] = c[bpfOutcomeALLOWED]
	v[Exempt] = c[bpfOutcomeEXEMPT]
	return v
}
