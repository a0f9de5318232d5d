// Package bpfstats exports the run time of the BPF programs and the memory of the BPF maps
// of this process. It finds them through the process's file descriptors, so detectors do
// not register them.
package bpfstats

import (
	"fmt"
	"os"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// A Collector collects the metrics of all open programs and maps of this process. It adds
// up programs and maps with the same name: there are two of some while rules are replaced.
// It is safe for concurrent use.
type Collector struct{}

// Describe implements prometheus.Collector. It sends nothing, because the set of programs
// and maps changes.
func (Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. The kernel counts runs only while
// kernel.bpf_stats_enabled is 1; otherwise the metrics of programs are missing.
func (Collector) Collect(ch chan<- prometheus.Metric) {
	found, err := own()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("cryptnono_bpf_map_memory_bytes", "", nil, nil), err)
		return
	}
	send := func(name, help, label string, kind prometheus.ValueType, values map[string]float64) {
		desc := prometheus.NewDesc("cryptnono_bpf_"+name, help, []string{label}, nil)
		for of, v := range values {
			ch <- prometheus.MustNewConstMetric(desc, kind, v, of)
		}
	}
	send("map_memory_bytes", "Maximum memory of a BPF map of the agent, without the kernel's overhead for the map.",
		"map", prometheus.GaugeValue, found.bytes)
	send("program_run_seconds_total", "Run time of a BPF program of the agent, while kernel.bpf_stats_enabled is 1.",
		"program", prometheus.CounterValue, found.seconds)
	send("program_runs_total", "Runs of a BPF program of the agent, while kernel.bpf_stats_enabled is 1.",
		"program", prometheus.CounterValue, found.runs)
}

// totals are sums by the name of a map or a program.
type totals struct{ bytes, seconds, runs map[string]float64 }

// own returns the totals of all file descriptors of this process.
func own() (totals, error) {
	t := totals{make(map[string]float64), make(map[string]float64), make(map[string]float64)}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return t, fmt.Errorf("counting the CPUs: %w", err)
	}
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return t, fmt.Errorf("listing descriptors: %w", err)
	}
	seen := make(map[any]bool) // a map can have several descriptors
	for _, e := range entries {
		link, err := os.Readlink(dir + "/" + e.Name())
		fd, notNumber := strconv.Atoi(e.Name())
		if err != nil || notNumber != nil {
			continue // it was closed
		}
		switch link {
		case "anon_inode:bpf-map":
			err = t.addMap(fd, cpus, seen)
		case "anon_inode:bpf-prog":
			err = t.addProgram(fd, seen)
		}
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *totals) addMap(fd, cpus int, seen map[any]bool) error {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil // it was closed
	}
	m, err := ebpf.NewMapFromFD(own)
	if err != nil {
		return nil // it was closed, and its number was reused
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return fmt.Errorf("reading the info of a map: %w", err)
	}
	id, _ := info.ID()
	if !seen[id] {
		seen[id] = true
		t.bytes[info.Name] += float64(size(info.Type, info.KeySize, info.ValueSize, info.MaxEntries, cpus))
	}
	return nil
}

// size returns the size in bytes of the entries of a full map. The kernel's memlock value
// does not include entries that are not preallocated.
func size(of ebpf.MapType, key, value, entries uint32, cpus int) uint64 {
	const head = 48 // struct htab_elem in kernel/bpf/hashtab.c
	round := func(n uint32) uint64 { return (uint64(n) + 7) &^ 7 }
	n, k, v := uint64(entries), round(key), round(value)
	switch of {
	case ebpf.RingBuf:
		return n
	case ebpf.Hash, ebpf.LRUHash:
		return n * (head + k + v)
	case ebpf.PerCPUArray:
		return n * v * uint64(cpus)
	case ebpf.PerCPUHash, ebpf.LRUCPUHash:
		return n * (head + k + 8 + v*uint64(cpus))
	}
	return n * v
}

func (t *totals) addProgram(fd int, seen map[any]bool) error {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil // it was closed
	}
	p, err := ebpf.NewProgramFromFD(own)
	if err != nil {
		return nil // it was closed, and its number was reused
	}
	defer p.Close()
	stats, err := p.Stats()
	if err != nil || stats.RunCount == 0 {
		return nil // statistics are disabled, or it has not run
	}
	info, err := p.Info() // expensive: it copies all instructions
	if err != nil {
		return fmt.Errorf("reading the info of a program: %w", err)
	}
	id, _ := info.ID()
	if seen[id] {
		return nil
	}
	seen[id] = true
	t.seconds[info.Name] += stats.Runtime.Seconds()
	t.runs[info.Name] += float64(stats.RunCount)
	return nil
}
