package execwhacker

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// occupy marks n slots for deferred judgements, from the first on, as busy or as free.
func occupy(t *testing.T, spec *ebpf.CollectionSpec, laters *ebpf.Map, n int, busy uint32) {
	t.Helper()
	members := spec.Maps[bpfMapLaters].Value.(*btf.Struct).Members
	i := slices.IndexFunc(members, func(m btf.Member) bool { return m.Name == "busy" })
	value := make([]byte, laters.ValueSize())
	binary.NativeEndian.PutUint32(value[members[i].Offset.Bytes():], busy)
	for i := range uint32(n) {
		if err := laters.Put(i, value); err != nil {
			t.Fatal(err)
		}
	}
}

// A deferred judgement takes milliseconds. Until its end, the process has the record of the program before.
func TestAnExecThatIsNotJudgedYetIsNoMissedOne(t *testing.T) {
	d := load(t, "execwhackernotdeferredword")
	again := exec.Command(testutil.BuildC(t, "test/victims/act.c", "-static"), slices.Repeat([]string{strings.Repeat("x ", 50_000)}, 15)...)
	again.Env = append(os.Environ(), "ACT=again 1", "QUIET=1")
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Process.Kill(); _ = again.Wait() })
	testutil.Eventually(t, "its record", func() bool { return d.judge.list.executes(again.Process.Pid) != 0 })
	for range testutil.Rounds(t, 300) {
		all, err := d.unjudged()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.PID == again.Process.Pid && !s.seen() {
				t.Fatalf("listed with the record %+v", s.record)
			}
		}
	}
}

// If no slot is free, the exec hook judges the exec itself and counts it.
func TestExecsThatCannotBeDeferredAreJudgedInTheHookAndCounted(t *testing.T) {
	const word, execs = "execwhackernotdeferredword", 10
	d := load(t, word)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	deferring, err := selectDeferral(spec)
	if err != nil {
		t.Fatal(err)
	}
	long := slices.Repeat([]string{strings.Repeat("x ", 40_000)}, 2)
	for _, c := range []struct {
		name string
		busy uint32
		want uint64
	}{
		{"all slots are free", 0, 0},
		{"no slot is free", 1, 2 * execs},
		{"all slots are free again", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			occupy(t, spec, d.objs.Laters, maxLater, c.busy)
			before, err := d.kernelCounts()
			if err != nil {
				t.Fatal(err)
			}
			for range execs {
				if out, err := exec.Command("/bin/echo", append(slices.Clone(long), word)...).Output(); err == nil || len(out) > 0 {
					t.Errorf("a banned program: %v, and it printed %.40q", err, out)
				}
				if err := exec.Command("/bin/true", long...).Run(); err != nil {
					t.Errorf("a legitimate program: %v", err)
				}
			}
			after, err := d.kernelCounts()
			if err != nil {
				t.Fatal(err)
			}
			if banned := after.Of(verdict.OutcomeBanned) - before.Of(verdict.OutcomeBanned); banned != execs {
				t.Errorf("%d of %d are counted as banned", banned, execs)
			}
			// Other programs on this machine may have long arguments too.
			n := after.Counters[bpfOwnCounterNOT_DEFERRED] - before.Counters[bpfOwnCounterNOT_DEFERRED]
			if deferring == nil && n != 0 || deferring != nil && (n < c.want || c.want == 0 && n > 0) {
				t.Errorf("%d of %d were not deferred, not %d", n, 2*execs, c.want)
			}
		})
	}
}

// A pod in whose share of the slots everything waits does not cost others theirs. With one fourth
// of the slots left free, the shares of most cgroups have a free one, and those of others have not.
func TestEachPodHasAShareOfTheSlots(t *testing.T) {
	d := load(t, "execwhackershareword")
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	if deferring, err := selectDeferral(spec); err != nil || deferring == nil {
		t.Skipf("this kernel has no BPF task work: %v", err)
	}
	occupy(t, spec, d.objs.Laters, maxLater-laterShare, 1)
	defer occupy(t, spec, d.objs.Laters, maxLater, 0)
	long := slices.Repeat([]string{strings.Repeat("x ", 40_000)}, 2)
	const cgroups = 32
	notDeferred := func() uint64 {
		k, err := d.kernelCounts()
		if err != nil {
			t.Fatal(err)
		}
		return k.Counters[bpfOwnCounterNOT_DEFERRED]
	}
	deferred := 0
	for i := range cgroups {
		path := testutil.MakeCgroup(t, fmt.Sprintf("cryptnono-%d/share/pod%d/container", os.Getpid(), i))
		before := notDeferred()
		for range 3 {
			if err := testutil.StartIn(t, path, exec.Command("/bin/true", long...)).Wait(); err != nil {
				t.Error(err)
			}
		}
		switch notDeferred() - before {
		case 0:
			deferred++
		case 3:
		default:
			t.Errorf("the execs of a pod have different shares")
		}
	}
	t.Logf("%d of %d pods have free slots", deferred, cgroups)
	if deferred < cgroups/8 || deferred > cgroups*7/8 {
		t.Errorf("%d of %d pods have free slots", deferred, cgroups)
	}
}

// The memory of a process that was killed before its deferred judgement cannot be read. It need
// not be judged, because it never runs.
func TestAProcessKilledBeforeItIsJudgedIsNotUndecided(t *testing.T) {
	words := []string{"execwhackerkilledfirstword", "execwhackerkilledsecondword"}
	detectors := []*Detector{load(t, words[0]), load(t, words[1])}
	long := slices.Repeat([]string{strings.Repeat("x ", 40_000)}, 2)
	// One detector kills, before or after the judgement of the other one.
	for _, word := range words {
		for range 10 {
			if err := exec.Command("/bin/echo", append(slices.Clone(long), word)...).Run(); err == nil {
				t.Error("a banned program lived")
			}
		}
	}
	for i, d := range detectors {
		counts, err := d.kernelCounts()
		if err != nil {
			t.Fatal(err)
		}
		if n := counts.Of(verdict.OutcomeUndecided); n != 0 {
			t.Errorf("detector %d left %d to user space", i, n)
		}
	}
}
