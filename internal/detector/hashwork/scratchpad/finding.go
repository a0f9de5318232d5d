package scratchpad

import (
	"log/slog"
	"math"
)

// A Verdict is what a finding justifies by rule C, in the order of the strength of evidence.
type Verdict uint8

const (
	None    Verdict = iota // nothing
	Observe                // a report
	Kill                   // a kill
)

// String returns "none", "observe" or "kill".
func (v Verdict) String() string {
	switch v {
	case Observe:
		return "observe"
	case Kill:
		return "kill"
	}
	return "none"
}

// The thresholds, tested with the recordings in ../testdata. Of 127 recorded legitimate
// processes, Walks is 0.00 but for a wallet with 2,000 rounds of CryptoNight (0.44) and a
// table that was written to look like a scratchpad (0.79); AES is 0.00 for all. Of miners,
// Walks is 0.29 to 0.96 and AES is 0.02 to 0.96.
const (
	// MinSamples is the number of samples that all rules need: 2 s of CPU time at 49 Hz.
	MinSamples = 96
	// MinSamplesToKill is the number of samples that a kill needs.
	MinSamplesToKill = 256
	// MinWalks is the minimum of Walks for rule C, of Alone for a kill, and of EvenWalks for
	// rule C2.
	MinWalks = 0.25
	// MinAES is the minimum of AES for a kill.
	MinAES = 0.01
	// MinMultiplies is the minimum of Multiplies for rule K. Miners have 0.68 to 0.97.
	MinMultiplies = 0.60
	// MinArgon2 is the minimum of Argon2 for rule K. The libargon2 of Debian 12, which uses no
	// vectors, has 0.57 with 1 MiB, and 0.29 with 64 MiB of new memory. No recorded program that does not
	// compute argon2 has any.
	MinArgon2 = 0.25
	// MaxFaults is the maximum of page faults per second of CPU time for rule K. Miners have
	// 125 to 1,442, programs that hash passwords in new memory 131,000 to 364,000.
	MaxFaults = 5000
)

// A Finding is the evidence in the samples of a process. Shares are of all samples, from 0 to
// 1.
type Finding struct {
	Arch    Arch
	Samples int

	Masked float64 // share of samples in code with the mask of a scratchpad
	Walks  float64 // share in a window of the size of the mask, all over which a register points evenly
	Alone  float64 // share in such windows with next to no values near them
	AES    float64 // share in code with the mask and few AES rounds
	Window uint32  // bytes: the size with most Walks, 0 if there are none

	EvenWalks  float64 // rule C2: share in windows in code without their mask
	Multiplies float64 // rule K: share in code with vectors of products, as pmuludq computes
	Argon2     float64 // rule K: share in code with products and rotations as in argon2, without vectors
}

// Verdict returns what rule C justifies. On ARM64 that is no kill, since AES was not measured
// there.
func (f Finding) Verdict() Verdict {
	switch {
	case f.Samples < MinSamples || f.Walks < MinWalks:
		return None
	case f.Samples >= MinSamplesToKill && f.Alone >= MinWalks && f.AES >= MinAES && f.Arch == AMD64:
		return Kill
	}
	return Observe
}

// Unmasked reports whether rule C2 matches, which justifies no more than a report.
func (f Finding) Unmasked() bool {
	return f.Samples >= MinSamples && f.EvenWalks >= MinWalks
}

// MemoryHard reports whether rule K matches, which justifies no more than a report. faults is
// the number of page faults of the process per second of CPU time.
func (f Finding) MemoryHard(faults float64) bool {
	return f.Samples >= MinSamples && (f.Multiplies >= MinMultiplies || f.Argon2 >= MinArgon2) && faults < MaxFaults
}

// LogValue implements slog.LogValuer.
func (f Finding) LogValue() slog.Value {
	round := func(x float64) float64 { return math.Round(x*1000) / 1000 }
	return slog.GroupValue(
		slog.Int("samples", f.Samples),
		slog.Float64("masked", round(f.Masked)),
		slog.Float64("walks", round(f.Walks)),
		slog.Float64("alone", round(f.Alone)),
		slog.Float64("aes", round(f.AES)),
		slog.Uint64("window", uint64(f.Window)),
		slog.Float64("even_walks", round(f.EvenWalks)),
		slog.Float64("multiplies", round(f.Multiplies)),
		slog.Float64("argon2", round(f.Argon2)),
	)
}
