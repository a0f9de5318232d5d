package bpfstats

import (
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

func TestSizesAreThoseOfFullMaps(t *testing.T) {
	for _, c := range []struct {
		of                  ebpf.MapType
		key, value, entries uint32
		want                uint64
	}{
		{ebpf.RingBuf, 0, 0, 1 << 20, 1 << 20},
		{ebpf.Array, 4, 10, 3, 3 * 16},
		{ebpf.Hash, 4, 12, 100, 100 * (48 + 8 + 16)},
		{ebpf.LRUHash, 16, 4, 100, 100 * (48 + 16 + 8)},
		{ebpf.PerCPUArray, 4, 8, 3, 3 * 8 * 4},
		{ebpf.PerCPUHash, 8, 8, 3, 3 * (48 + 8 + 8 + 32)},
	} {
		if got := size(c.of, c.key, c.value, c.entries, 4); got != c.want {
			t.Errorf("%v: got %d, want %d", c.of, got, c.want)
		}
	}
}

// value returns the value of a metric, and whether it exists.
func value(t *testing.T, name, of string) (float64, bool) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector{})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == of {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

func TestEachMapAndProgramIsCounted(t *testing.T) {
	testutil.Privileged(t)
	for range 2 { // of the same name
		m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "stats_test_map", Type: ebpf.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 10})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		again, err := m.Clone()
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
	}
	if got, _ := value(t, "cryptnono_bpf_map_memory_bytes", "stats_test_map"); got != 2*10*(48+8+8) {
		t.Errorf("two maps take %v bytes", got)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "stats_test_prog", Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	if n, ok := value(t, "cryptnono_bpf_program_runs_total", "stats_test_prog"); ok {
		t.Errorf("a program that has not run has %v runs", n)
	}
	if _, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 14), Repeat: 5}); err != nil {
		t.Fatal(err)
	}
	if n, _ := value(t, "cryptnono_bpf_program_runs_total", "stats_test_prog"); n != 5 {
		t.Errorf("%v runs, want 5", n)
	}
	if s, _ := value(t, "cryptnono_bpf_program_run_seconds_total", "stats_test_prog"); s <= 0 || s > 1 {
		t.Errorf("run time %v s", s)
	}
}
