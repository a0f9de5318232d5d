package verdict

import (
	"bytes"
	"slices"
	"time"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/process"
)

// This file decodes what bpf/lineage.h notes of a process that the kernel kills.

// ancestorSize is the size in bytes of struct ancestor.
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

// decodeDirectory returns the working directory whose names, from it up, are in b, each ended by a NUL. As
// of getcwd(2) and in /proc, "(unreachable)" is before the path of one that is not below the root directory
// of the process, and " (deleted)" behind that of one that was removed.
func decodeDirectory(b []byte, end uint8, removed bool) (d evidence.Directory) {
	var path []byte
	switch bpfWayUp(end) {
	case bpfWayUpWAY_TO_ROOT:
	case bpfWayUpWAY_OUTSIDE:
		path = []byte("(unreachable)")
	default:
		if len(b) == 0 {
			return d // not known
		}
		d.Cut = true
	}
	names := bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0})
	slices.Reverse(names)
	for _, name := range names {
		path = append(append(path, '/'), name...)
	}
	if removed {
		path = append(path, " (deleted)"...)
	}
	d.Path = string(path)
	return d
}
