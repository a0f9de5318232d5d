package monero

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// threadSize is THREAD_SIZE in x86.bpf.h and arm64.bpf.h: the size of a kernel stack.
const threadSize = 16 << 10

// knownStack returns an error if the kernel does not tell where on the stack the
// registers of user mode are (bpf_task_pt_regs, from 5.15 on), and has stacks of
// another size than the program takes for granted: those with pages of 64 KiB, whose
// stacks have a page at least, and those with KASAN, which doubles them.
func knownStack(kernel *btf.Spec, pageSize int) error {
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
		return fmt.Errorf("this kernel is older than 5.15 and has %s, and so stacks of a size that is not known: %w", why, errors.ErrUnsupported)
	}
	return nil
}
