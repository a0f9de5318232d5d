package hashwork

import (
	"context"
	"errors"
	"log/slog"
	"math"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// A rule is what a finding matches, in the order of the strength of evidence.
type rule uint32

const (
	noRule         rule = iota
	memoryHardRule      // the code of a memory-hard hash
	unmaskedRule        // memory accesses like those of CryptoNight
	scratchpadRule      // the memory accesses of CryptoNight
	programRule         // a file or an image with the words of a miner
)

// String returns the name in settings, log and metrics.
func (r rule) String() string {
	return [...]string{
		noRule: "none", memoryHardRule: "memoryHard", unmaskedRule: "unmasked", scratchpadRule: "scratchpad", programRule: "program",
	}[r]
}

// A finding is what an examination of a process has found.
type finding struct {
	rule     rule
	likely   verdict.SignKind // 0 if it is certain
	evidence slog.Value
	file     *foundFile // with the words, nil for memory and for another rule
	// What came closest to the rules, also if none matched.
	closest *hit               // nil if nothing was searched
	walk    scratchpad.Finding // without samples if no rule about them was applied
}

// strength orders findings, so that a process is reported again only for stronger evidence.
func (f finding) strength() uint32 {
	s := 2 * uint32(f.rule)
	if f.rule != noRule && f.likely == 0 {
		s++
	}
	return s
}

// acts reports whether to act on a finding after reported, the greatest strength before: on a stronger
// one, or again on a likely one, which another sign may have made certain since.
func (f finding) acts(reported uint32, kills bool) (act, again bool) {
	again = f.likely != 0 && f.strength() <= reported && kills
	return again || f.strength() > reported, again
}

// An examiner applies the rules to a process. It is safe for concurrent use.
type examiner struct {
	reader *procread.Reader
	known  known
}

// examine applies the rules to a process and its samples. An error says what could not be read;
// the finding is by the rest.
func (e *examiner) examine(ctx context.Context, h *process.Handle, j job) (finding, error) {
	s := j.policy.settings
	var f finding
	var errs [2]error
	var faults float64
	if s.MemoryHard.Enabled {
		var err error
		if faults, err = j.state.faultRate(j.key.PID); err != nil {
			faults = math.Inf(1) // unknown
		}
	}
	if s.Program.Enabled {
		in, err := e.space(ctx, h, j)
		if err == nil {
			f.closest, err = e.program(ctx, h, j, in, in.files(), false)
		}
		errs[0] = err
		if m := f.closest; m != nil && m.counts.Miner() {
			f.rule, f.evidence, f.file = programRule, m.evidence(j), m.found()
			return f, nil
		}
	}
	if (s.Scratchpad.Enabled || s.Unmasked.Enabled || s.MemoryHard.Enabled) && j.registers.Len() >= scratchpad.MinSamples {
		f.walk, errs[1] = e.scratchpad(ctx, h, j)
		f.evidence = f.walk.LogValue()
		switch v := f.walk.Verdict(); {
		case s.Scratchpad.Enabled && v == scratchpad.Kill:
			f.rule = scratchpadRule
			return f, nil
		case s.Scratchpad.Enabled && v != scratchpad.None:
			f.rule, f.likely = scratchpadRule, verdict.Computes
			return f, nil
		case s.Unmasked.Enabled && f.walk.Unmasked():
			f.rule, f.likely = unmaskedRule, verdict.MayCompute
			return f, nil
		case s.MemoryHard.Enabled && f.walk.MemoryHard(faults):
			f.rule, f.likely = memoryHardRule, verdict.MayCompute
			f.evidence = slog.GroupValue(append(f.evidence.Group(), slog.Float64("faults", math.Round(faults)))...)
			return f, nil
		}
	}
	return f, errors.Join(errs[:]...)
}

// scratchpad returns the evidence for the rules about samples.
func (e *examiner) scratchpad(ctx context.Context, h *process.Handle, j job) (scratchpad.Finding, error) {
	code := make(map[uint64][]byte)
	var ranges []procread.Range
	for _, line := range j.registers.Lines() {
		if line < scratchpad.CodeBefore {
			continue
		}
		code[line] = make([]byte, scratchpad.CodeBytes) // zero where it cannot be read
		start := line - scratchpad.CodeBefore
		ranges = append(ranges, procread.Range{Start: start, End: start + scratchpad.CodeBytes})
	}
	err := e.reader.Memory(ctx, h, j.owner, merge(ranges), func(at uint64, data []byte) error {
		for line, b := range code {
			start := line - scratchpad.CodeBefore
			if at < start {
				if skip := start - at; skip < uint64(len(data)) {
					copy(b, data[skip:])
				}
			} else if skip := at - start; skip < uint64(len(b)) {
				copy(b[skip:], data)
			}
		}
		return nil
	})
	if err != nil {
		return scratchpad.Finding{}, err
	}
	return j.registers.Judge(code), nil
}
