package execwhacker

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// maxLater is how many judgements can be deferred at once. Each takes 13 KiB of the
// kernel's memory, its walk and the path: 6.7 MB in all.
const maxLater = 512

// deferring are the programs that defer judgements, by the function of the kernel that
// each needs. The first that there is serves.
func deferring() [2][2]string {
	return [2][2]string{
		{"bpf_task_work_schedule_signal", bpfProgApplyOrDefer},
		{"bpf_task_work_schedule_signal_impl", bpfProgApplyOrDeferImpl},
	}
}

// realtime reports whether the kernel is one of PREEMPT_RT. There a thread of the kernel
// arranges the callback, and the task may have run by then.
func realtime() bool {
	content, err := os.ReadFile("/sys/kernel/realtime")
	return err == nil && strings.TrimSpace(string(content)) == "1"
}

// useDeferral takes the programs that defer judgements out of a spec, and returns the
// one that this kernel can load, nil if it has none.
func useDeferral(spec *ebpf.CollectionSpec) (*ebpf.ProgramSpec, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's types: %w", err)
	}
	var use *ebpf.ProgramSpec
	for _, d := range deferring() {
		var f *btf.Func
		err := kernel.TypeByName(d[0], &f)
		if err != nil && !errors.Is(err, btf.ErrNotFound) {
			return nil, fmt.Errorf("looking for %s: %w", d[0], err)
		}
		if err == nil && use == nil && !realtime() {
			use = spec.Programs[d[1]]
		}
		delete(spec.Programs, d[1])
	}
	return use, nil
}

// sizeLater prepares a spec, before it is loaded, for deferred judgements.
func sizeLater(spec *ebpf.CollectionSpec) { spec.Maps[bpfMapLaters].MaxEntries = maxLater }
