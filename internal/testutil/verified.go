package testutil

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
)

// processed is what the verifier says last: print_verification_stats in
// kernel/bpf/verifier.c.
var processed = regexp.MustCompile(`processed (\d+) insns`)

// LogVerified loads the programs of an object as it would be used, and logs how many
// instructions the verifier walked through for each: half of the million that the kernel
// allows fails, since another kernel may need more. The tests on many kernels keep a
// record of them.
func LogVerified(t testing.TB, object string, spec *ebpf.CollectionSpec) {
	t.Helper()
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats},
	})
	if err != nil {
		t.Fatalf("loading %s: %+v", object, err)
	}
	defer loaded.Close()
	for _, name := range slices.Sorted(maps.Keys(loaded.Programs)) {
		m := processed.FindStringSubmatch(loaded.Programs[name].VerifierLog)
		if m == nil {
			t.Fatalf("the verifier's log of %s does not say how far it went: %q", name, loaded.Programs[name].VerifierLog)
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n >= 500_000 {
			t.Errorf("%s: %s instructions verified", name, m[1])
		}
		t.Logf("verified instructions: %s/%s %s", object, name, m[1])
	}
}
