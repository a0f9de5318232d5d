package execwhacker

import (
	"encoding/binary"
	"time"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/process"
)

// A record is the verdict that the kernel keeps with a process: see bpf/record.h.
type record struct {
	// exec names the exec whose program the process runs: that of the process itself,
	// or of one that it was forked from. 0 is none: the record was lost.
	exec         uint64
	generation   uint32 // of the rules by which it was judged; 0 for none
	open         bool   // there is no verdict by the current rules
	named        bool   // whether that path leads to a file of another name
	path         string // as it was executed; "" if that was not seen or is too long
	arguments    uint64 // their fingerprint; 0 if there is none
	argumentsLen uint64
}

// A suspect is a process that may have to be judged.
type suspect struct {
	process.Event
	record
}

// recordSize is the size in bytes of a struct record.
const recordSize = int(unsafe.Sizeof(bpfRecord{}))

// decodeRecord decodes the first recordSize bytes of b; what is missing is zero.
func decodeRecord(b []byte) record {
	var raw bpfRecord
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&raw)), recordSize), b)
	return record{
		exec: raw.ExecNs, generation: raw.Generation, open: raw.Open != 0, named: raw.Named != 0,
		path:      string(raw.Path[:min(raw.PathLen, uint32(len(raw.Path)))]),
		arguments: raw.Arguments, argumentsLen: raw.ArgumentsLen,
	}
}

// proves reports whether an argument area is the one of the exec.
func (r *record) proves(area []byte, seed uint64) bool {
	return r.arguments != 0 && uint64(len(area)) == r.argumentsLen && fingerprint(area, seed) == r.arguments
}

// fingerprint corresponds to fingerprint_of in fingerprint.bpf.h.
func fingerprint(area []byte, seed uint64) uint64 {
	const most = 64 * 4096          // FINGERPRINT_CHUNKS there
	const step = 0x9e3779b97f4a7c15 // FINGERPRINT_STEP
	hash, key := seed^uint64(len(area)), seed
	area = area[:min(len(area), most)]
	for len(area) > 0 {
		var pair [16]byte
		area = area[copy(pair[:], area):]
		for _, half := range [][]byte{pair[:8], pair[8:]} {
			word := binary.NativeEndian.Uint64(half) + key
			hash += (word & 0xffffffff) * (word >> 32)
			key += seed*step | 1
		}
	}
	return hash
}

// What an exec's number has instead of its time: UNSEEN and UNTIMED in bpf/record.h.
const (
	unseen  = 1 << 63
	untimed = 1 << 62
)

// seen reports whether the exec was seen.
func (r *record) seen() bool { return r.exec != 0 && r.exec&unseen == 0 }

// seenAfter returns the time from the exec to now; false if the exec was not seen, or not timed.
func (r *record) seenAfter(now time.Duration) (time.Duration, bool) {
	if !r.seen() || r.exec&untimed != 0 {
		return 0, false
	}
	return now - time.Duration(r.exec), true
}
