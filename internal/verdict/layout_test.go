package verdict

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// The format of a program with struct event, whose text has ancestors of a size in bytes; none if it is 0.
func formatWithAncestors(t *testing.T, size uint32) string {
	t.Helper()
	all := []btf.Type{&btf.Struct{Name: "event", Size: 8}}
	if size > 0 {
		all = append(all, &btf.Struct{Name: "ancestor", Size: size})
	}
	b, err := btf.NewBuilder(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := b.Spec()
	if err != nil {
		t.Fatal(err)
	}
	format, err := EventFormat(types)
	if err != nil {
		t.Fatal(err)
	}
	return format
}

func TestTheFormatOfEventsHasWhatIsInTheirText(t *testing.T) {
	a, b, none := formatWithAncestors(t, 64), formatWithAncestors(t, 72), formatWithAncestors(t, 0)
	if a == b || a == none {
		t.Errorf("%s and %s, %s without ancestors", a, b, none)
	}
	if again := formatWithAncestors(t, 64); a != again {
		t.Errorf("a format is %s and %s", a, again)
	}
}

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
