package monero

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

func TestResidentMemoryIsParsed(t *testing.T) {
	groups := "Groups:\t" + strings.Repeat("4294967294 ", 65536) + "\n"
	for name, c := range map[string]struct {
		status string
		want   uint64
		fails  bool
	}{
		"small pages":                     {"Name:\ta\nVmHWM:\t  9 kB\nVmRSS:\t  8 kB\nRssAnon:\t 4 kB\nHugetlbPages:\t       0 kB\n", 8 << 10, false},
		"huge pages too":                  {"VmRSS:\t  8 kB\nHugetlbPages:\t  2048 kB\n", 2056 << 10, false},
		"behind as many groups as can be": {groups + "VmRSS:\t8 kB\n", 8 << 10, false},
		"a name that looks like a line":   {"Name:\tVmRSS: 9 kB\\nVmRSS:\t9 kB\nVmRSS:\t8 kB\n", 8 << 10, false},
		"of a thread that has ended":      {"Name:\ta\nState:\tZ (zombie)\n", 0, true},
		"no number":                       {"VmRSS:\t-1 kB\n", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseResident(strings.NewReader(c.status))
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

func TestMemoryCountsHoweverItIsMapped(t *testing.T) {
	h, err := process.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	of := func() uint64 {
		n, err := resident(h, key{pid: os.Getpid()}, 0) // no such thread: the process's
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := of()
	const size = 32 * mib
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	page := os.Getpagesize()
	for at := 0; at < size; at += 2 * page {
		if err := unix.Madvise(memory[at:at+page], unix.MADV_DONTDUMP); err != nil {
			t.Fatal(err)
		}
	}
	if grown := of() - before; grown < size*7/8 {
		t.Errorf("%d MiB in %d mappings are seen as %d MiB", size/mib, size/page, grown/mib)
	}
}

func FuzzResident(f *testing.F) {
	f.Add("VmRSS:\t8 kB\nHugetlbPages:\t1 kB\n")
	f.Fuzz(func(t *testing.T, status string) {
		if n, err := parseResident(strings.NewReader(status)); err != nil && n != 0 {
			t.Errorf("%d bytes with %v", n, err)
		}
	})
}
