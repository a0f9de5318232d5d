package execwhacker

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// An event is an exec that the kernel program reports.
type event struct {
	verdict.Event
	exec       uint64 // identifies the exec, see record
	generation uint32
	ban        uint32 // 1 + the index of the ban, 0 for none; with match.InEnvironment if it matches there
	pattern    uint32 // 1 + the index of the allow pattern, byShell or byNodeRoot; 0 for none
	program    []byte // the first 1023 bytes
	args       []byte // the first 4096 bytes of the argument area
	omitted    int    // number of bytes of the argument area that are not in args
	env        []byte // the first 16 KiB of the environment area, if variables are logged
}

// What spares a process, in the place of an allow pattern: see match.bpf.h.
const (
	byShell    = ^uint32(0)
	byNodeRoot = ^uint32(0) - 1
)

const textAt = int(unsafe.Offsetof(bpfEvent{}.Text))

// decodeEvent decodes a record of the ring buffer. The texts of the event are slices of it.
func decodeEvent(record []byte, paths cgroup.Parser) (event, error) {
	if len(record) > int(unsafe.Sizeof(bpfEvent{}))+7 { // rounded up
		return event{}, fmt.Errorf("decoding an exec event: %d bytes", len(record))
	}
	head, rest, err := verdict.DecodeEvent(record, textAt, paths)
	if err != nil {
		return event{}, err
	}
	var raw bpfEvent // its text stays zero
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&raw)), textAt), record)
	take := func(n uint32) []byte {
		if uint64(n) > uint64(len(rest)) {
			return nil
		}
		text := rest[:n:n]
		rest = rest[n:]
		return text
	}
	e := event{
		Event: head, exec: raw.ExecNs, generation: raw.Generation, ban: raw.Ban, pattern: raw.Pattern,
		program: bytes.TrimSuffix(take(raw.PathLen), []byte{0}),
		args:    take(raw.ArgsLen),
	}
	e.env = take(raw.EnvLen)
	if len(e.args) != int(raw.ArgsLen) || len(e.env) != int(raw.EnvLen) || raw.ArgsTotal < uint64(raw.ArgsLen) {
		return event{}, fmt.Errorf("decoding an exec event of %d bytes: inconsistent lengths %d, %d of %d and %d",
			len(record), raw.PathLen, raw.ArgsLen, raw.ArgsTotal, raw.EnvLen)
	}
	e.omitted = int(raw.ArgsTotal) - len(e.args)
	return e, nil
}

// clone returns a copy that does not share memory with the record.
func (e event) clone() event {
	e.program, e.args, e.env = bytes.Clone(e.program), bytes.Clone(e.args), bytes.Clone(e.env)
	return e
}
