package procread

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// addressOf returns the address of memory that was mapped.
func addressOf(memory []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
}

// mapMemory maps anonymous memory until the end of the test.
func mapMemory(t testing.TB, length int) []byte {
	t.Helper()
	memory, err := unix.Mmap(-1, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Madvise(memory, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	return memory
}

// readMemory returns the pieces of ranges of this process's memory, joined where they
// adjoin, by address.
func readMemory(t testing.TB, r *Reader, ranges ...Range) map[uint64][]byte {
	t.Helper()
	got, j := map[uint64][]byte{}, joiner{}
	err := r.Memory(t.Context(), self(t), "", ranges, func(at uint64, data []byte) error {
		got[j.start(at, data)] = append(got[j.at], data...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A joiner finds pieces that adjoin.
type joiner struct {
	at, end uint64
}

// start returns the start of the pieces that adjoin, up to this one.
func (j *joiner) start(at uint64, data []byte) uint64 {
	if at != j.end {
		j.at = at
	}
	j.end = at + uint64(len(data))
	return j.at
}

func TestMemoryIsReadWithoutThePagesThatDoNotExist(t *testing.T) {
	size := os.Getpagesize()
	memory := mapMemory(t, 64*size)
	start := addressOf(memory)
	page := func(i int) uint64 { return start + uint64(i*size) }
	for _, i := range []int{1, 2, 3, 5, 40, 41} {
		for j := range size {
			memory[i*size+j] = byte(i + j)
		}
	}
	// From Linux 6.13 on, a page can be marked so that every access to it fails.
	const madvGuardInstall = 102
	if err := unix.Madvise(memory[4*size:5*size], madvGuardInstall); err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
	protected := memory[2*size : 3*size]
	if err := unix.Mprotect(protected, unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	got := readMemory(t, r, Range{page(0), page(64)}, Range{page(3) + 10, page(3) + 266}, Range{page(1) + 7, page(1) + 7}, Range{1 << 63, 1<<63 + 4<<20}, Range{0, 100_000})
	err := unix.Mprotect(protected, unix.PROT_READ)
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64][]byte{
		page(1): memory[size : 4*size], page(5): memory[5*size : 6*size], page(40): memory[40*size : 42*size],
		page(3) + 10: memory[3*size+10:][:256],
	}
	if !maps.EqualFunc(got, want, bytes.Equal) {
		for at, data := range got {
			t.Errorf("at page %d, %d bytes", int(at-start)/size, len(data))
		}
	}
	var present [64]byte
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(start), uintptr(len(memory)), uintptr(unsafe.Pointer(&present)))
	if errno != 0 || present[0] != 0 || present[20] != 0 {
		t.Errorf("the read has created pages: %v, %v", present, errno)
	}
}

func TestALongMemoryIsReadWhole(t *testing.T) {
	memory := mapMemory(t, 9<<20)
	for i := range memory {
		memory[i] = byte(i >> 12 * 7)
	}
	start := addressOf(memory) + 5
	got := readMemory(t, newReader(t), Range{start, start + 9<<20 - 10})
	if data := got[start]; len(got) != 1 || !bytes.Equal(data, memory[5:len(memory)-5]) {
		t.Errorf("%d pieces, %d bytes of the first", len(got), len(data))
	}
}

func TestPagesOfFilesThatNobodyHasTouchedAreNotRead(t *testing.T) {
	testutil.Privileged(t)
	f := fuseProgram(t, "/bin/sleep").open(t)
	r := newReader(t)
	m, _ := mapFile(t, r, f, 1<<14, unix.PROT_READ, unix.MAP_PRIVATE)
	if got := readMemory(t, r, Range{m.Start, m.End}); len(got) != 0 {
		t.Errorf("read %v", got)
	}
}

func TestRangesAreLimited(t *testing.T) {
	r, h := newReader(t), self(t)
	for name, ranges := range map[string][]Range{
		"too many":            make([]Range, MaxRanges+1),
		"too long":            {{0, MaxBytes + 1}},
		"too long in all":     {{0, MaxBytes}, {5, 6}},
		"an end before start": {{2, 1}},
		"all":                 {{1, 1<<64 - 1}, {0, 1<<64 - 1}},
	} {
		visit := func(uint64, []byte) error { t.Errorf("%s: visited", name); return nil }
		if err := r.Memory(t.Context(), h, "", ranges, visit); err == nil {
			t.Errorf("%s: memory is read", name)
		}
		if _, err := r.MappedFile(t.Context(), h, "", Mapping{}, ranges, visit); err == nil {
			t.Errorf("%s: a file is read", name)
		}
	}
}

func TestPartsAreTheRanges(t *testing.T) {
	ranges := []Range{{10, 20}, {20, 20}, {1, maxPart + 5}, {0, 3 * maxPart}}
	for i := range uint64(1000) {
		ranges = append(ranges, Range{i, i + 2*i})
	}
	left := slices.Clone(ranges)
	for part := range parts(ranges) {
		if err := checkRanges(part, maxPartRanges, maxPart); err != nil {
			t.Fatal(err)
		}
		for _, r := range part {
			for len(left) > 0 && left[0].Start == left[0].End {
				left = left[1:]
			}
			if len(left) == 0 || r.Start != left[0].Start || r.End > left[0].End || r.End <= r.Start {
				t.Fatalf("%+v is a part of %+v", r, left)
			}
			left[0].Start = r.End
		}
	}
	if len(left) != 1 || left[0].Start != left[0].End {
		t.Errorf("%+v are left", left)
	}
}
