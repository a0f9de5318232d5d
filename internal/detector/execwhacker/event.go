package execwhacker

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

// event is one exec that was found, as the kernel program tells it.
type event struct {
	process process.Event
	outcome bpfOutcome
	took    time.Duration // from the exec to the verdict
	ban     uint32        // 1 + the index of the ban, 0 for none
	pattern uint32        // 1 + the index of the allow pattern, 0 for none
	killed  bool
	program []byte // the first 1023 bytes
	args    []byte // the first 4096 bytes of the argument area
	omitted int    // bytes of the argument area that are not in args
}

func decodeEvent(record []byte) (event, error) {
	var raw bpfEvent
	n, err := binary.Decode(record, binary.NativeEndian, &raw)
	if err != nil {
		return event{}, fmt.Errorf("decoding %d bytes of an exec event: %w", len(record), err)
	}
	if int(raw.PathLen) > len(raw.Path) || int(raw.ArgsLen) > len(raw.Args) || uint64(raw.ArgsLen) > raw.ArgsTotal {
		return event{}, fmt.Errorf("decoding %d bytes of an exec event: lengths %d, %d and %d do not fit", n, raw.PathLen, raw.ArgsLen, raw.ArgsTotal)
	}
	p, err := process.Decode(record)
	if err != nil {
		return event{}, err
	}
	return event{
		process: p,
		outcome: bpfOutcome(raw.Outcome),
		took:    time.Duration(raw.TookNs),
		ban:     raw.Ban,
		pattern: raw.Pattern,
		killed:  raw.Outcome == uint32(bpfOutcomeBANNED) && raw.KillError == 0,
		program: raw.Path[:raw.PathLen],
		args:    raw.Args[:raw.ArgsLen],
		omitted: int(raw.ArgsTotal) - int(raw.ArgsLen),
	}, nil
}

// cmdline returns the arguments for the log.
func (e event) cmdline() string {
	text := process.Printable(e.args, logLimit)
	if e.omitted > 0 {
		text += fmt.Sprintf("…(+%d bytes)", e.omitted)
	}
	return text
}
