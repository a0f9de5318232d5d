// Package bpfstats exports what the BPF programs and maps of this process cost: their run
// time and their memory. It finds them by the process's own descriptors, so that a detector
// need not register anything.
package bpfstats

import (
	"fmt"
	"os"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// A Collector collects the metrics of all programs and maps that this process has open.
// Programs of one name, and maps of one name, are summed up: while rules are replaced there
// are two of some. It may be used by many goroutines at once.
type Collector struct{}

// Describe implements prometheus.Collector. It sends nothing, because programs and maps come
// and go.
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
	send("map_memory_bytes", "Memory that a map of the agent takes in the kernel at most, without what the kernel needs to manage it.",
		"map", prometheus.GaugeValue, found.bytes)
	send("program_run_seconds_total", "Run time of a program of the agent in the kernel, while kernel.bpf_stats_enabled is 1.",
		"program", prometheus.CounterValue, found.seconds)
	send("program_runs_total", "Runs of a program of the agent in the kernel, while kernel.bpf_stats_enabled is 1.",
		"program", prometheus.CounterValue, found.runs)
}

// totals are sums by the name of a map or a program.
type totals struct{ bytes, seconds, runs map[string]float64 }

// own looks at all descriptors of this process.
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
	seen := make(map[any]bool) // a map may have several descriptors
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
		return nil // it was closed, and its number is in use again
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return fmt.Errorf("asking for a map: %w", err)
	}
	id, _ := info.ID()
	if !seen[id] {
		seen[id] = true
		t.bytes[info.Name] += float64(size(info.Type, info.KeySize, info.ValueSize, info.MaxEntries, cpus))
	}
	return nil
}

// size returns how many bytes the entries of a map take when it is full: the kernel's
// memlock leaves out those of maps that it does not allocate in advance.
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
		return nil // it was closed, and its number is in use again
	}
	defer p.Close()
	stats, err := p.Stats()
	if err != nil || stats.RunCount == 0 {
		return nil // the kernel does not count, or it has not run
	}
	info, err := p.Info() // expensive: it copies all instructions
	if err != nil {
		return fmt.Errorf("asking for a program: %w", err)
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
