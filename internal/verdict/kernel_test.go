package verdict

import (
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
)

// If a failed kill were read without its outcome, the number of kills would be negative: about
// 2^64.
func TestCountersAreConsistentWhileTheyIncrease(t *testing.T) {
	var now [OwnCounters]uint64
	c, err := readCounters(OwnCounters, func(i uint32, perCPU *[]uint64) error {
		*perCPU = []uint64{now[i], 1}
		now[bpfOutcomeBANNED]++
		now[bpfCounterKILL_FAILED]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if banned, failed := c.Of(OutcomeBanned), c[bpfCounterKILL_FAILED]; banned < failed {
		t.Errorf("%d were killed, of which %d were not", banned, failed)
	}
	if n := c.Verdicts()[Killed]; n > 1<<63 {
		t.Errorf("%d were killed", n)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add(make([]byte, HeadSize+8), 8)
	f.Add([]byte("short"), 0)
	f.Add(encodeHead(bpfEventHead{Ancestors: 1, DirectoryLen: 4}, strings.Repeat("x", ancestorSize)+"b\x00a\x00"), 0)
	f.Fuzz(func(t *testing.T, b []byte, own int) {
		own &= 0xff
		e, rest, err := DecodeEvent(b, HeadSize+own, cgroup.Parser{})
		if err == nil && (len(rest)+ancestorSize*len(e.Ancestors) > len(b)-HeadSize-own || len(e.Directory.Path) > len(b)+len("(unreachable)/ (deleted)") || e.PID < 0 || e.Cgroup.Path == "") {
			t.Errorf("%+v, %d bytes of %d are left", e, len(rest), len(b))
		}
	})
}
