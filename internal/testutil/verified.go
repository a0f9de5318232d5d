package testutil

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/kernelbtf"
)

// processed matches the last line of the verifier's log: print_verification_stats in
// kernel/bpf/verifier.c.
var processed = regexp.MustCompile(`processed (\d+) insns`)

// maxVerified is below the kernel's limit of a million (BPF_COMPLEXITY_LIMIT_INSNS),
// because the number differs between kernels.
const maxVerified = 750_000

// LogVerified loads the programs of an object, and logs the number of instructions that
// the verifier has processed for each. More than maxVerified are an error. test/kernels
// records the numbers.
func LogVerified(t testing.TB, object string, spec *ebpf.CollectionSpec) {
	t.Helper()
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Cache:    kernelbtf.Cache,
		Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats},
	})
	if err != nil {
		if verifier, ok := errors.AsType[*ebpf.VerifierError](err); ok {
			t.Log(strings.Join(verifier.Log, "\n"))
		}
		t.Fatalf("loading %s: %+v", object, err)
	}
	defer loaded.Close()
	for _, name := range slices.Sorted(maps.Keys(loaded.Programs)) {
		m := processed.FindStringSubmatch(loaded.Programs[name].VerifierLog)
		if m == nil {
			t.Fatalf("no number of instructions in the verifier's log of %s: %q", name, loaded.Programs[name].VerifierLog)
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n > maxVerified {
			t.Errorf("%s: %s instructions verified, want at most %d", name, m[1], maxVerified)
		}
		t.Logf("verified instructions: %s/%s %s", object, name, m[1])
	}
}
