package execwhacker

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/cryptnono/cryptnono/internal/kernelbtf"
)

// maxLater is the number of judgements that can be deferred at a time. Each takes 13 KiB of
// kernel memory for its state and the path: 6.7 MB in all.
const maxLater = 512

// laterShare is how many of them one pod, session or service has at most.
const laterShare = maxLater / 4

// deferringPrograms returns the programs that defer judgements, each after the kernel function
// that it needs. The first one whose function the kernel has is used.
func deferringPrograms() [2][2]string {
	return [2][2]string{
		{"bpf_task_work_schedule_signal", bpfProgApplyOrDefer},
		{"bpf_task_work_schedule_signal_impl", bpfProgApplyOrDeferImpl},
	}
}

// isRealtime reports whether the kernel has PREEMPT_RT. There the callback is queued by a kernel
// thread, and the task may run before that.
func isRealtime() bool {
	content, err := os.ReadFile("/sys/kernel/realtime")
	return err == nil && strings.TrimSpace(string(content)) == "1"
}

// selectDeferral removes the programs that defer judgements from a spec, and returns the one
// that this kernel can load, nil if there is none.
func selectDeferral(spec *ebpf.CollectionSpec) (*ebpf.ProgramSpec, error) {
	kernel, err := kernelbtf.Cache.Kernel()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's types: %w", err)
	}
	var use *ebpf.ProgramSpec
	for _, d := range deferringPrograms() {
		var f *btf.Func
		err := kernel.TypeByName(d[0], &f)
		if err != nil && !errors.Is(err, btf.ErrNotFound) {
			return nil, fmt.Errorf("looking for %s: %w", d[0], err)
		}
		if err == nil && use == nil && !isRealtime() {
			use = spec.Programs[d[1]]
		}
		delete(spec.Programs, d[1])
	}
	return use, nil
}

// sizeLater sets the size of the map of deferred judgements in a spec.
func sizeLater(spec *ebpf.CollectionSpec) { spec.Maps[bpfMapLaters].MaxEntries = maxLater }
