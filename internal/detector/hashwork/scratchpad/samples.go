package scratchpad

import (
	"cmp"
	"slices"
)

// An Arch is the architecture of the code and the registers of a process.
type Arch uint8

const (
	AMD64 Arch = iota
	ARM64
)

// Registers returns the number of general registers in a sample: on AMD64 all but the stack
// pointer, on ARM64 x0 to x30.
func (a Arch) Registers() int {
	if a == ARM64 {
		return 31
	}
	return 15
}

// Capacity is the number of samples of a process that are kept, the newest ones.
const Capacity = 512

// Samples are the newest samples of one process, of the few threads that are followed
// (follow.go). They are not safe for concurrent use.
type Samples struct {
	arch      Arch
	followed  followed
	threads   []int32
	ips       []uint64
	registers []uint32 // arch.Registers() for each sample
	next      int      // the oldest, once there are Capacity
}

// New returns Samples without samples.
func New(a Arch) *Samples { return &Samples{arch: a} }

// Len returns the number of samples that are kept.
func (s *Samples) Len() int { return len(s.ips) }

// Clone returns a copy, which is independent.
func (s *Samples) Clone() *Samples {
	c := *s
	c.threads, c.ips, c.registers = slices.Clone(s.threads), slices.Clone(s.ips), slices.Clone(s.registers)
	return &c
}

// Add adds a sample, if its thread is followed: a thread, the address of its next
// instruction, and the values of its registers, in an order that is the same for all
// samples. Values in excess of Arch.Registers are ignored, missing ones are 0.
//
// Only the lower half of a register is kept, to halve the memory. Differences of up to 4 GiB
// remain exact; other values fall into a window of 4 MiB in one of a thousand cases.
func (s *Samples) Add(thread int32, ip uint64, registers []uint64) {
	if !s.followed.next(thread) {
		return
	}
	per, at := s.arch.Registers(), s.next
	if len(s.ips) < Capacity {
		at = len(s.ips)
		s.threads = append(s.threads, 0)
		s.ips = append(s.ips, 0)
		s.registers = slices.Grow(s.registers, per)[:(at+1)*per]
	} else {
		s.next = (s.next + 1) % Capacity
	}
	s.threads[at], s.ips[at] = thread, ip
	own := s.registers[at*per : (at+1)*per]
	clear(own)
	for i, value := range registers[:min(len(registers), per)] {
		own[i] = uint32(value)
	}
}

// These describe the code that Judge looks at: that of a line of LineBytes, and some of what
// is before and after it.
const (
	LineBytes  = 64
	CodeBefore = LineBytes // the code begins at line - CodeBefore
	CodeBytes  = 256
	MaxLines   = 64 // the number of lines whose code Judge uses
)

// A line is the samples with an instruction in 64 bytes of code.
type line struct {
	at     uint64 // address
	places []place
}

// A place is where a sample was taken.
type place struct {
	line   uint64
	thread int32
	sample int32
}

// Lines returns the addresses of the code lines with the most samples, in that order, at
// most MaxLines.
func (s *Samples) Lines() []uint64 {
	var at []uint64
	for _, l := range s.lines() {
		at = append(at, l.at)
	}
	return at
}

// lines returns the lines that Lines names. The places in a line are ordered by thread.
func (s *Samples) lines() []line {
	places := make([]place, s.Len())
	for i, ip := range s.ips {
		places[i] = place{ip &^ (LineBytes - 1), s.threads[i], int32(i)}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.thread, b.thread))
	})
	var all []line
	for same := range runs(places, func(a, b place) bool { return a.line == b.line }) {
		all = append(all, line{same[0].line, same})
	}
	slices.SortFunc(all, func(a, b line) int {
		return cmp.Or(cmp.Compare(len(b.places), len(a.places)), cmp.Compare(a.at, b.at))
	})
	return all[:min(len(all), MaxLines)]
}

// runs yields the runs of equal places.
func runs(places []place, equal func(a, b place) bool) func(yield func([]place) bool) {
	return func(yield func([]place) bool) {
		for len(places) > 0 {
			n := 1
			for n < len(places) && equal(places[0], places[n]) {
				n++
			}
			if !yield(places[:n]) {
				return
			}
			places = places[n:]
		}
	}
}
