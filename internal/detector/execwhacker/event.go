package execwhacker

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/process"
)

// event is one exec that was found, as the kernel program tells it.
type event struct {
	process    process.Event
	generation uint32
	outcome    bpfOutcome
	took       time.Duration // from the exec to the verdict
	ban        uint32        // 1 + the index of the ban, 0 for none
	pattern    uint32        // 1 + the index of the allow pattern, 0 for none
	killed     bool
	program    []byte // the first 1023 bytes
	args       []byte // the first 4096 bytes of the argument area
	omitted    int    // bytes of the argument area that are not in args
	env        []byte // the first 16 KiB of the environment area, if any of it is logged
}

func decodeEvent(record []byte) (event, error) {
	// Of the environment, only what is there is sent.
	var raw bpfEvent
	whole := binary.Size(raw)
	least := whole - len(raw.Env)
	if len(record) < least || len(record) > whole+7 { // rounded up
		return event{}, fmt.Errorf("decoding an exec event: %d bytes, %d to %d expected", len(record), least, whole)
	}
	padded := append(slices.Clip(record), make([]byte, max(whole-len(record), 0))...)
	if _, err := binary.Decode(padded, binary.NativeEndian, &raw); err != nil {
		return event{}, fmt.Errorf("decoding an exec event of %d bytes: %w", len(record), err)
	}
	if int(raw.PathLen) > len(raw.Path) || int(raw.ArgsLen) > len(raw.Args) || uint64(raw.ArgsLen) > raw.ArgsTotal ||
		int(raw.EnvLen) > len(record)-least {
		return event{}, fmt.Errorf("decoding an exec event of %d bytes: lengths %d, %d of %d and %d do not fit",
			len(record), raw.PathLen, raw.ArgsLen, raw.ArgsTotal, raw.EnvLen)
	}
	p, err := process.Decode(record)
	if err != nil {
		return event{}, err
	}
	return event{
		process:    p,
		generation: raw.Generation,
		outcome:    bpfOutcome(raw.Outcome),
		took:       time.Duration(raw.TookNs),
		ban:        raw.Ban,
		pattern:    raw.Pattern,
		killed:     raw.Outcome == uint32(bpfOutcomeBANNED) && raw.KillError == 0,
		program:    raw.Path[:raw.PathLen],
		args:       raw.Args[:raw.ArgsLen],
		omitted:    int(raw.ArgsTotal) - int(raw.ArgsLen),
		env:        raw.Env[:raw.EnvLen],
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
