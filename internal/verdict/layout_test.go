package verdict

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func TestCountersHaveNames(t *testing.T) {
	b, err := btf.NewBuilder([]btf.Type{&btf.Enum{Name: "own_counter", Size: 4, Values: []btf.EnumValue{
		{Name: "FIRST", Value: uint64(OwnCounters)}, {Name: "COUNTERS", Value: uint64(OwnCounters) + 1},
	}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := b.Spec()
	if err != nil {
		t.Fatal(err)
	}
	got, err := CounterNames(types, OwnCounters+1)
	want := []string{
		"NO_MATCH", "ALLOWED", "OBSERVED", "BANNED", "UNDECIDED", "EXEMPT", "UNKNOWN_CONTAINER", "LIMITED",
		"LOST_EVENT", "KILL_FAILED", "FIRST",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
