package hashwork

import (
	"os/exec"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/match"
)

// benchExec starts a program that is not learned, while n others are.
func benchExec(b *testing.B, n int) {
	l, err := newLearner(detectortest.Env(b, detectortest.Options{}))
	if err != nil {
		b.Fatal(err)
	}
	defer l.close()

	p, err := policyOf(detector.Policy{Settings: Defaults(), Matcher: new(match.Matcher)})
	if err == nil {
		err = l.apply(p)
	}
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if err := l.files.add(fileOf(uint32(i), 1<<60+uint64(i))); err != nil {
			b.Fatal(err)
		}
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	runs := func() (uint64, time.Duration) {
		s, err := l.entry.Program.Stats() // with the program in its slot
		if err != nil {
			b.Fatal(err)
		}
		return s.RunCount, s.Runtime
	}
	count, took := runs()
	for b.Loop() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
	counted, total := runs()
	b.ReportMetric(float64(total-took)/float64(counted-count), "ns-in-kernel/exec")
}
