package execwhacker

import "testing"

// Kills that fail while the counters are read must not make the number of those that
// did not fail negative, which a counter would show as 2^64.
func TestCountersThatAreReadWhileTheyRiseFitTogether(t *testing.T) {
	var now [bpfCounterCOUNTERS]uint64
	var k kernelCounts
	err := k.read(func(i uint32, perCPU *[]uint64) error {
		*perCPU = []uint64{now[i], 1}
		now[bpfOutcomeBANNED]++
		now[bpfCounterKILL_FAILED]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if banned, failed := k.by[bpfOutcomeBANNED], k.by[bpfCounterKILL_FAILED]; banned < failed {
		t.Errorf("%d were killed, of whom %d were not", banned, failed)
	}
}
