package monero

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

func TestTheMemoryOfAProcessIsParsed(t *testing.T) {
	groups := "Groups:\t" + strings.Repeat("4294967294 ", 65536) + "\n"
	for name, c := range map[string]struct {
		status string
		want   usage
		fails  bool
	}{
		"small pages":                      {"Name:\ta\nVmSize:\t 9 kB\nVmHWM:\t  9 kB\nVmRSS:\t  8 kB\nRssAnon:\t 4 kB\nHugetlbPages:\t       0 kB\n", usage{resident: 8 << 10}, false},
		"huge pages too":                   {"VmSize:\t 9999 kB\nVmRSS:\t  8 kB\nVmData:\t 5 kB\nHugetlbPages:\t  2048 kB\n", usage{2056 << 10, 5 << 10}, false},
		"after the longest list of groups": {groups + "VmSize:\t9 kB\nVmRSS:\t8 kB\n", usage{resident: 8 << 10}, false},
		"a name that looks like a line":    {"Name:\tVmRSS: 9 kB\\nVmRSS:\t9 kB\nVmSize:\t9 kB\nVmRSS:\t8 kB\n", usage{resident: 8 << 10}, false},
		"all of it swapped out":            {"VmSize:\t9 kB\nVmRSS:\t0 kB\nVmData:\t4 kB\n", usage{writable: 4 << 10}, false},
		"of a thread that has ended":       {"Name:\ta\nState:\tZ (zombie)\n", usage{}, true},
		"no number":                        {"VmSize:\t-1 kB\n", usage{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			if err := os.Mkdir(proc+"/7", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(proc+"/7/status", []byte(c.status), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := usageIn(proc, 7)
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestTheMemoryOfRandomX(t *testing.T) {
	for name, c := range map[string]struct {
		u    usage
		want bool
	}{
		"light mode":              {usage{260 * mib, 270 * mib}, true},
		"light mode, from a file": {usage{260 * mib, 10 * mib}, true},
		"fast mode":               {usage{2090 * mib, 2100 * mib}, true},
		"fast mode, with as much again beside it": {usage{2090 * mib, 9000 * mib}, true},
		"a dataset that is not filled yet":        {usage{8 * mib, 2100 * mib}, true},
		"a large program of which little is used": {usage{100 * mib, 9000 * mib}, false},
		"a small one": {usage{100 * mib, 1000 * mib}, false},
		"nothing":     {usage{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.u.enoughToMine() != c.want {
				t.Errorf("got %v", !c.want)
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
	resident := func() uint64 {
		u, err := readUsage(h, process.Execution{PID: os.Getpid()}, 0) // no such thread, so that of the process
		if err != nil {
			t.Fatal(err)
		}
		return u.resident
	}
	debug.FreeOSMemory() // now, so that the runtime does not do it between the two reads
	before := resident()
	const size = 64 * mib
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
	if grown := resident() - before; grown < size*7/8 {
		t.Errorf("%d MiB in %d mappings are reported as %d MiB", size/mib, size/page, grown/mib)
	}
}
