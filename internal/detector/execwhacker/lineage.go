package execwhacker

import (
	"bytes"
	"time"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/process"
)

// ancestorSize is the size in bytes of struct ancestor in lineage.bpf.h.
const ancestorSize = int(unsafe.Sizeof(bpfAncestor{}))

// decodeAncestors decodes the ancestors of a process, and copies their text.
func decodeAncestors(b []byte) (all []evidence.Ancestor) {
	for ; len(b) >= ancestorSize; b = b[ancestorSize:] {
		var raw bpfAncestor
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&raw)), ancestorSize), b)
		name, _, _ := bytes.Cut(b[unsafe.Offsetof(raw.Program):ancestorSize], []byte{0})
		all = append(all, evidence.Ancestor{
			PID: int(raw.Pid), Start: time.Duration(raw.StartNs).Truncate(process.ClockTick), UID: raw.Uid,
			Cgroup: raw.Cgroup, Program: string(name),
		})
	}
	return all
}
