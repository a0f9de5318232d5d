package hashwork

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/procread"
)

// spaceOf returns a space with these mappings and samples.
func spaceOf(t *testing.T, mappings []procread.Mapping, instructions ...uint64) *space {
	t.Helper()
	s := new(space)
	for _, m := range mappings {
		if err := s.add(m); err != nil {
			t.Fatal(err)
		}
	}
	s.place(instructions)
	return s
}

func code(start, end, inode uint64, path string) procread.Mapping {
	return procread.Mapping{Start: start, End: end, Read: true, Execute: true, Inode: inode, Path: path}
}

func TestSamplesAreAssignedToFiles(t *testing.T) {
	data := code(0x3000, 0x4000, 7, "/bin/a")
	data.Execute, data.Write, data.Offset = false, true, 0x5000
	s := spaceOf(t, []procread.Mapping{
		code(0x2000, 0x3000, 7, "/bin/a"), data, code(0x1000, 0x2000, 8, "/lib/b"), code(0x9000, 0xa000, 0, ""),
		code(0xb000, 0xc000, 0, "[vdso]"),
	}, 0x2000, 0x2fff, 0x1fff, 0x9000, 0xd000, 0xb000, 0xfff, 0xffffffffffffffff, 0x8fff, 0xa000)
	files := s.files()
	if len(files) != 2 || files[0].mapping.Path != "/bin/a" || files[0].samples != 2 || files[1].samples != 1 {
		t.Fatalf("got %+v", files)
	}
	if s.anonymous != 1 || files[0].share != 0.3 || files[1].share != 0.2 {
		t.Errorf("%d samples in anonymous memory, shares %v and %v", s.anonymous, files[0].share, files[1].share)
	}
	if want := []procread.Range{{Start: 0, End: 0x1000}, {Start: 0x5000, End: 0x6000}}; !slices.Equal(files[0].ranges, want) {
		t.Errorf("ranges %x", files[0].ranges)
	}
}

func TestAMemfdIsAFileAndAnonymous(t *testing.T) {
	s := spaceOf(t, []procread.Mapping{code(0, 0x1000, 5, "/memfd:x (deleted)")}, 0, 1)
	if f := s.files(); len(f) != 1 || f[0].share != 1 {
		t.Errorf("got %+v", f)
	}
}

func TestTheImageHasNoHeap(t *testing.T) {
	heap, data, unpacked := code(0x1000, 0x2000, 0, "[heap]"), code(0x2000, 0x3000, 0, ""), code(0x3000, 0x4000, 0, "")
	heap.Execute, heap.Write = false, true
	data.Execute, data.Write = false, true
	constants := code(0x4000, 0x5000, 0, "")
	constants.Execute = false
	none := code(0x5000, 0x6000, 0, "")
	none.Read, none.Execute = false, false
	got := spaceOf(t, []procread.Mapping{heap, data, unpacked, constants, none}, 0x4000, 0x4001, 0x3000).image()
	if want := []procread.Range{{Start: 0x4000, End: 0x5000}, {Start: 0x3000, End: 0x4000}}; !slices.Equal(got, want) {
		t.Errorf("got %x", got)
	}
}

func TestWhatIsSearchedIsBounded(t *testing.T) {
	var mappings []procread.Mapping
	for i := range uint64(2 * procread.MaxRanges) {
		m := code(i<<41, i<<41+1<<40, 7, "/a")
		m.Offset = i << 41
		mappings = append(mappings, m)
	}
	s := spaceOf(t, mappings)
	if got := size(s.files()[0].ranges); got > maxFileBytes {
		t.Errorf("%d bytes of a file", got)
	}
	for i := range mappings {
		mappings[i].Inode, mappings[i].Path = 0, ""
	}
	if got := size(spaceOf(t, mappings).image()); got > maxImageBytes {
		t.Errorf("%d bytes of memory", got)
	}
	many := new(space)
	for range maxMappings {
		if err := many.add(procread.Mapping{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := many.add(procread.Mapping{}); err == nil {
		t.Error("one more mapping")
	}
}

// The file that computes is always considered, and the largest one; each other one at some time.
func TestOfManyFilesSomeAreConsideredAtATime(t *testing.T) {
	const many, computes, large = 1000, 700, 900
	var mappings []procread.Mapping
	for i := range uint64(many) {
		m := code(i<<20, i<<20+1<<12, i+1, "/a")
		if i == large {
			m.End += 1 << 12
		}
		mappings = append(mappings, m)
	}
	files := spaceOf(t, mappings, computes<<20).files()
	if files[0].mapping.Inode != computes+1 || files[1].mapping.Inode != large+1 {
		t.Errorf("the first are %+v and %+v", files[0].mapping, files[1].mapping)
	}
	seen, its := make(map[uint64]bool), new(state)
	for range (many + inTurn - 1) / inTurn {
		some := chosen(files, its)
		if len(some) != maxFiles || some[0] != files[0] || some[1] != files[1] {
			t.Fatalf("%d files", len(some))
		}
		now := make(map[uint64]bool)
		for _, f := range some {
			now[f.mapping.Inode], seen[f.mapping.Inode] = true, true
		}
		if len(now) != maxFiles {
			t.Errorf("%d different files", len(now))
		}
	}
	if len(seen) != many {
		t.Errorf("%d files were considered at some time", len(seen))
	}
	if few := files[:maxFiles]; len(chosen(few, its)) != maxFiles {
		t.Error("not all of few")
	}
}

// Any mappings and samples: the counts are those of a naive search.
func FuzzPlace(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		var mappings []procread.Mapping
		for start := r.Uint64N(4); start < 100; start += 1 + r.Uint64N(9) {
			end := start + r.Uint64N(9)
			mappings = append(mappings, code(start, end, r.Uint64N(3), ""))
			start = end
		}
		r.Shuffle(len(mappings), func(i, j int) { mappings[i], mappings[j] = mappings[j], mappings[i] })
		instructions := make([]uint64, r.IntN(50))
		want := make(map[uint64]int)
		for i := range instructions {
			instructions[i] = r.Uint64N(110)
			for _, m := range mappings {
				if m.Start <= instructions[i] && instructions[i] < m.End {
					want[m.Inode]++
				}
			}
		}
		s := spaceOf(t, mappings, instructions...)
		if s.anonymous != want[0] {
			t.Errorf("%d samples in anonymous memory, not %d", s.anonymous, want[0])
		}
		for _, file := range s.files() {
			if file.samples != want[file.mapping.Inode] {
				t.Errorf("%d samples in file %d, not %d", file.samples, file.mapping.Inode, want[file.mapping.Inode])
			}
			if !slices.IsSortedFunc(file.ranges, func(a, b procread.Range) int { return int(a.End) - int(b.Start) }) {
				t.Errorf("ranges %v overlap", file.ranges)
			}
		}
	})
}
