package monero

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/cryptnono/cryptnono/internal/detector"
)

// threadSize is the size of a kernel stack, THREAD_SIZE in x86.bpf.h and arm64.bpf.h.
const threadSize = 16 << 10

// checkStackSize returns an error if the kernel program cannot find the saved registers of
// user mode: if there is no bpf_task_pt_regs, which is new in 5.15, and kernel stacks are not
// of threadSize. That is so with pages of 64 KiB, since a stack is at least a page, and with
// KASAN, which doubles the size.
func checkStackSize(kernel *btf.Spec, pageSize int) error {
	var helpers *btf.Enum
	if err := kernel.TypeByName("bpf_func_id", &helpers); err == nil &&
		slices.ContainsFunc(helpers.Values, func(v btf.EnumValue) bool { return v.Name == "BPF_FUNC_task_pt_regs" }) {
		return nil
	}
	var kasan *btf.Struct
	why := ""
	if pageSize > threadSize {
		why = fmt.Sprintf("pages of %d KiB", pageSize>>10)
	} else if err := kernel.TypeByName("kasan_cache", &kasan); err == nil {
		why = "KASAN"
	} else if !errors.Is(err, btf.ErrNotFound) {
		return fmt.Errorf("looking for KASAN: %w", err)
	}
	if why != "" {
		return fmt.Errorf("this kernel is older than 5.15 and has %s, so the size of its stacks is unknown: %w", why, detector.ErrUnsupported)
	}
	return nil
}
