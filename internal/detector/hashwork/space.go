package hashwork

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/procread"
)

const (
	// maxMappings bounds the mappings of a process that are considered. The others count as
	// unknown. The kernel allows 65,530 (vm.max_map_count).
	maxMappings = 1 << 16
	// maxFileBytes bounds what is searched of one file, and maxImageBytes what is searched of
	// the anonymous memory of a process.
	maxFileBytes, maxImageBytes = 256 << 20, 64 << 20
)

// A space is the address space of a process, with the number of samples in each part.
type space struct {
	mappings  []procread.Mapping // by address
	samples   []int              // by mapping
	total     int
	anonymous int // samples in memory without a file
}

// errTooMany ends a list of mappings.
var errTooMany = errors.New("too many mappings")

func (s *space) add(m procread.Mapping) error {
	if len(s.mappings) >= maxMappings {
		return errTooMany
	}
	s.mappings = append(s.mappings, m)
	return nil
}

// place counts samples by the address of their instruction.
func (s *space) place(instructions []uint64) {
	slices.SortFunc(s.mappings, func(a, b procread.Mapping) int { return cmp.Compare(a.Start, b.Start) })
	s.samples = make([]int, len(s.mappings))
	s.total = len(instructions)
	for _, at := range instructions {
		i, exact := slices.BinarySearchFunc(s.mappings, at, func(m procread.Mapping, at uint64) int { return cmp.Compare(m.Start, at) })
		if !exact {
			i--
		}
		if i < 0 || at >= s.mappings[i].End {
			continue
		}
		s.samples[i]++
		if isAnonymous(s.mappings[i]) {
			s.anonymous++
		}
	}
}

// share returns n samples as a share of all.
func (s *space) share(n int) float64 { return float64(n) / float64(max(s.total, 1)) }

// isAnonymous reports whether a mapping has no file in any directory: anonymous memory, also
// shared or of huge pages, or a memfd. The kernel's own, such as [vdso], are not meant.
func isAnonymous(m procread.Mapping) bool {
	for _, name := range []string{"/memfd:", "/dev/zero (deleted)", "/anon_hugepage", "/SYSV", "[heap]", "[stack", "[anon"} {
		if strings.HasPrefix(m.Path, name) {
			return true
		}
	}
	return m.Inode == 0 && !strings.HasPrefix(m.Path, "[")
}

// A mappedFile is a file that a process executes.
type mappedFile struct {
	mapping procread.Mapping // one that is executable
	ranges  []procread.Range // what is mapped of the file, in bytes from its start
	memory  []procread.Range // where it is mapped
	samples int
	// share is that of all samples that lie in it or in anonymous memory, where it may
	// have written code.
	share float64
}

// files returns the executed files, those with the most samples first, and of these the largest: what a
// process maps beside its program to hide it is most likely small.
func (s *space) files() []*mappedFile {
	type id struct{ device, inode uint64 }
	byID := make(map[id]*mappedFile)
	var all []*mappedFile
	for i, m := range s.mappings {
		if m.Inode == 0 || !m.Execute {
			continue
		}
		f := byID[id{m.Device, m.Inode}]
		if f == nil {
			f = &mappedFile{mapping: m}
			byID[id{m.Device, m.Inode}] = f
			all = append(all, f)
		}
		f.samples += s.samples[i]
	}
	for _, m := range s.mappings {
		if f := byID[id{m.Device, m.Inode}]; f != nil && m.Inode != 0 {
			f.ranges = append(f.ranges, procread.Range{Start: m.Offset, End: m.Offset + (m.End - m.Start)})
			f.memory = append(f.memory, procread.Range{Start: m.Start, End: m.End})
		}
	}
	for _, f := range all {
		f.ranges, f.memory = limit(merge(f.ranges), maxFileBytes), limit(merge(f.memory), maxFileBytes)
		in := s.anonymous
		if !isAnonymous(f.mapping) {
			in += f.samples
		}
		f.share = s.share(in)
	}
	slices.SortStableFunc(all, func(a, b *mappedFile) int {
		return cmp.Or(cmp.Compare(b.samples, a.samples), cmp.Compare(size(b.ranges), size(a.ranges)))
	})
	return all
}

// image returns the anonymous memory that can hold a program which was unpacked there: what is
// executable or cannot be written, that with the most samples first. It has no heap.
func (s *space) image() []procread.Range {
	type part struct {
		r       procread.Range
		samples int
	}
	var parts []part
	for i, m := range s.mappings {
		if isAnonymous(m) && m.Read && (m.Execute || !m.Write) {
			parts = append(parts, part{procread.Range{Start: m.Start, End: m.End}, s.samples[i]})
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.samples, a.samples) })
	ranges := make([]procread.Range, len(parts))
	for i, p := range parts {
		ranges[i] = p.r
	}
	return limit(ranges, maxImageBytes)
}

// merge returns the union of ranges, in order.
func merge(ranges []procread.Range) []procread.Range {
	slices.SortFunc(ranges, func(a, b procread.Range) int { return cmp.Compare(a.Start, b.Start) })
	var all []procread.Range
	for _, r := range ranges {
		if n := len(all); n > 0 && r.Start <= all[n-1].End {
			all[n-1].End = max(all[n-1].End, r.End)
			continue
		}
		all = append(all, r)
	}
	return all
}

// limit returns the ranges up to a number of bytes, and at most procread.MaxRanges.
func limit(ranges []procread.Range, bytes uint64) []procread.Range {
	var all []procread.Range
	for _, r := range ranges {
		if r.End < r.Start || len(all) == procread.MaxRanges {
			continue
		}
		r.End = min(r.End, r.Start+bytes)
		if bytes -= r.End - r.Start; r.End > r.Start {
			all = append(all, r)
		}
	}
	return all
}
